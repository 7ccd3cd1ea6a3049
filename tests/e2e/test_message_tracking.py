"""Message tracking of a gateway that runs: real mail of different fates is found; processes are killed."""

from __future__ import annotations

import os
import signal
import smtplib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from lab.ca import Authority, self_signed
from lab.client import Client, s_client, send
from lab.gateway import Gateway
from lab.hostile import Hostile
from lab.place import free_port
from lab.process import until
from lab.sink import Sink
from mxseal.storage.tracking.file import TrackingFile, TrackingMissing
from mxseal.storage.tracking.values import Happened, Query
from tests.e2e.estate import HOSTNAME, Starter, at, document, envelope, events, hop, put_to_use
from tests.e2e.test_workers import below, called

DOMAINS = ("good.test", "secure.test", "gone.test", "later.test", "masked.test")


class Site:
    def __init__(self, gateway: Gateway, port: int) -> None:
        self.gateway, self.address = gateway, at(port)
        self._file = TrackingFile(gateway.home)

    def sent(self, subject: str, *to: str, tls: bool = True) -> None:
        message = envelope(subject, *to)
        if tls:
            send(self.address, message)
        else:
            send(self.address, message, None)

    def found(self, *words: str) -> list[dict[str, Any]]:
        answer = self.gateway.command("findevent", "--limit", "1000", *words)
        messages: list[dict[str, Any]] = answer["messages"]
        return messages

    def subjects(self, *words: str) -> set[str]:
        return {each["subject"] for each in self.found(*words)}

    def wait(self, count: int, happened: Happened | None = None) -> None:
        """Until so many messages are found and all of the log is read; past the command, which takes long."""
        query = Query(happened=(happened,) if happened else ())

        def there() -> bool:
            try:
                status = self._file.status()
                return not status.unread_bytes and len(self._file.search(query, 1000).messages) == count
            except TrackingMissing:
                return False

        until(there, self.gateway.output, 90)


def indexers(gateway: Gateway) -> list[int]:
    """Process ids."""
    return [pid for pid in below(gateway.pid) if called(pid) == "mxseal-tracking"]


@pytest.fixture(scope="module")
def site(lasting: Starter, authority: Authority, ground: Path) -> Site:
    good = lasting(lambda: Sink(hostname="mx.good.test"))
    secure = lasting(lambda: Sink(certificate=self_signed("mx.secure.test"), hostname="mx.secure.test"))
    gone, later = lasting(lambda: Hostile("rcpt-550")), lasting(lambda: Hostile("rcpt-450"))
    masked = lasting(lambda: Hostile("starttls-masked"))
    servers = zip(DOMAINS, (good, secure, gone, later, masked), strict=True)
    port = free_port()
    text = document(
        port,
        recipient_access={"domains": list(DOMAINS)},
        smtp_routes={domain: [hop(server)] for domain, server in servers},
        destinations=[
            {"domain": "default", "tls": "preferred"},
            {"domain": "masked.test", "tls": "required"},
        ],
    )
    gateway = lasting(lambda: Gateway(text))
    put_to_use(gateway, "Main", authority.intermediate().issue(HOSTNAME), ground)
    here = Site(gateway, port)
    for number in range(4):
        for domain in DOMAINS:
            here.sent(f"{domain} {number}", f"user{number}@{domain}", tls=number % 2 == 0)
    here.sent("several", "x@good.test", "y@secure.test", "z@gone.test")
    with suppress(smtplib.SMTPRecipientsRefused):
        here.sent("nobody", "nobody@elsewhere.test")
    with Client(here.address) as client:  # goes away in the middle of a message
        client.secure()
        client.mail("a@sender.test")
        client.rcpt("user@good.test")
    s_client(here.address, "-tls1_2", "-cipher", "AES256-SHA")
    gateway.wait_log("no shared cipher")
    here.wait(8, "delayed")
    here.wait(9, "delivered")
    here.wait(10, "bounced")
    return here


def test_messages_of_each_fate_are_found_and_no_others(site: Site) -> None:
    each = {domain: {f"{domain} {number}" for number in range(4)} for domain in DOMAINS}
    assert site.subjects("--event", "delivered") == each["good.test"] | each["secure.test"] | {"several"}
    assert site.subjects("--event", "bounced", "--from", "a@sender.test") == each["gone.test"] | {"several"}
    assert site.subjects("--event", "delayed") == each["later.test"] | each["masked.test"]
    assert site.subjects("--event", "waiting") >= each["later.test"] | each["masked.test"]
    assert site.subjects("--event", "tls-failed") == each["masked.test"]
    assert site.subjects("--event", "in-clear") == each["good.test"] | {"several"}
    assert site.subjects("--tls", "clear", "--side", "in") == {
        f"{domain} {number}" for domain in DOMAINS for number in (1, 3)
    }
    secure = each["secure.test"] | {"several"}
    assert site.subjects("--tls", "unverified", "--side", "out", "--event", "delivered") == secure
    assert site.subjects("--protocol", "TLSv1.3", "--side", "out", "--event", "delivered") == secure
    assert site.subjects("--subject", "masked", "--to", "user2@") == {"masked.test 2"}
    assert site.subjects("--cause", "starttls-masked") == each["masked.test"]
    assert site.subjects("--message-id", "several@sender.test") == {"several"}


def test_a_message_with_several_fates_is_told_whole(site: Site) -> None:
    (several,) = site.found("--subject", "several")
    told = site.gateway.command("trackmessage", str(several["mid"]))
    assert told["message"]["state"] == "partly-delivered"
    states = {each["recipient"]: each["state"] for each in told["recipients"]}
    assert states == {"x@good.test": "delivered", "y@secure.test": "delivered", "z@gone.test": "bounced"}
    outcomes = {each["domain"]: each["outcome"] for each in told["connections"] if each["kind"] == "dcid"}
    assert outcomes["good.test"] == "clear"
    assert outcomes["secure.test"] == "unverified"
    bounced = next(step for step in told["steps"] if step["kind"] == "bounced")
    assert (bounced["code"], bounced["status"]) == ("550", "5.1.1")
    (notice,) = told["notices"]
    about = site.gateway.command("trackmessage", str(notice))
    assert about["message"]["about"] == several["mid"]


def test_what_was_refused_is_found_with_its_reason(site: Site) -> None:
    refused = site.gateway.command("findevent", "--refused", "any")["refused"]
    kinds = [each["kind"] for each in refused]
    assert sorted(kinds) == ["message", "recipient", "tls"]
    by_kind = {each["kind"]: each for each in refused}
    assert by_kind["recipient"]["recipient"] == "nobody@elsewhere.test"
    assert by_kind["message"]["recipient"] == "user@good.test"
    assert by_kind["tls"]["cause"] == "only-rsa-key-exchange"


def test_the_counts_are_those_of_the_events(site: Site) -> None:
    report = site.gateway.command("tlsreport")
    by_domain = {(each["direction"], each["domain"]): each for each in report["partners"]}
    for (side, domain), counted in by_domain.items():
        if side == "out":
            secure = events(site.gateway, "OutboundTlsSucceeded", domain=domain)
            failed = events(site.gateway, "OutboundTlsFailed", domain=domain)
            assert counted["required_ok"] == sum(each["level"].startswith("required") for each in secure)
            assert counted["required_ok"] + counted["preferred_ok"] == len(secure)
            assert counted["required_failed"] == sum(each["required"] for each in failed)
            assert counted["required_failed"] + counted["preferred_failed"] == len(failed)
            assert counted["clear"] == len(events(site.gateway, "DeliveryInClear", domain=domain))
    assert by_domain["out", "masked.test"]["required_failed"] > 0
    assert by_domain["out", "secure.test"]["messages_tls"] == 5
    assert by_domain["out", "good.test"]["messages_clear"] == 5
    totals = report["totals"]["in"]
    assert sum(totals["messages"].values()) == len(events(site.gateway, "MessageReceived")) == 21
    assert sum(totals["recipients"].values()) == len(events(site.gateway, "RecipientAccepted")) - 1
    assert totals["rejected"] == {"RAT": 1}
    assert totals["tls"]["failed"] == len(events(site.gateway, "InboundTlsFailed")) == 1
    assert totals["tls"]["clear"] == 10
    assert totals["connections"][""] == len(events(site.gateway, "ConnectionOpened"))


# --- killed -----------------------------------------------------------------------------------------------


def test_an_indexer_that_is_killed_again_and_again_loses_nothing_and_doubles_nothing(
    running: Callable[..., Any],
) -> None:
    sink = running(Sink)
    port = free_port()
    text = document(
        port,
        smtp_routes={"all": [hop(sink)]},
        destinations=[{"domain": "default", "tls": "off"}],
        logs={"rotate_bytes": 30_000, "keep_files": 100},
    )
    gateway = running(lambda: Gateway(text))
    here = Site(gateway, port)
    for number in range(24):
        here.sent(f"number {number}", "user@example.test", tls=False)
        if number in {5, 15}:
            until(lambda: len(indexers(gateway)) == 1, gateway.output)
            os.kill(indexers(gateway)[0], signal.SIGKILL)
        if number == 20:
            gateway.kill9()
            gateway.start()
    sink.wait(24)
    here.wait(24, "delivered")
    found = here.found("--subject", "number")
    assert sorted(each["subject"] for each in found) == sorted(f"number {number}" for number in range(24))
    assert {each["state"] for each in found} == {"delivered"}
    totals = gateway.command("tlsreport")["totals"]
    assert totals["in"]["messages"] == {"clear": 24}
    # A gateway that is killed between the answer and the line about it does not tell of the delivery.
    assert totals["out"]["recipients"]["clear"] in {24, 25}
    assert gateway.command("trackingconfig", "show")["status"]["gaps"] == []


def test_mail_goes_on_whatever_has_become_of_tracking(
    running: Callable[..., Any],
) -> None:
    sink = running(Sink)
    port = free_port()
    text = document(
        port, smtp_routes={"all": [hop(sink)]}, destinations=[{"domain": "default", "tls": "off"}]
    )
    gateway = running(lambda: Gateway(text))
    here = Site(gateway, port)
    here.sent("before", "user@example.test")
    here.wait(1, "delivered")
    gateway.stop()
    for path in gateway.home.glob("tracking.db*"):
        path.unlink()
    (gateway.home / "tracking.db").write_bytes(b"\0" * 50_000)
    gateway.start()
    here.sent("behind", "user@example.test")
    sink.wait(2)
    gateway.wait_log("The database of message tracking was damaged")
    here.wait(2, "delivered")
    gateway.text("trackingconfig", "setup", "--enabled", "no")
    gateway.text("commit", "off")
    until(lambda: not indexers(gateway), gateway.output)
    here.sent("unseen", "user@example.test")
    sink.wait(3)
    assert here.subjects() == {"before", "behind"}
    gateway.text("trackingconfig", "setup", "--enabled", "yes")
    gateway.text("commit", "on")
    here.wait(3, "delivered")
    assert here.subjects() == {"before", "behind", "unseen"}
