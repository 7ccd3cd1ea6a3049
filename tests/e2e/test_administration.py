"""Configuration and queue through the command line of a running gateway."""

from __future__ import annotations

import re
import socket
import subprocess
from pathlib import Path

import pytest
import tomli_w

from lab import Trouble
from lab.ca import Authority, self_signed
from lab.client import Client, send
from lab.gateway import Gateway
from lab.hostile import BEHAVIOURS, Hostile
from lab.place import LOOPBACK, free_port
from lab.process import answers, until
from lab.script import POLITE
from lab.sink import Sink
from tests.e2e.estate import (
    LISTENER,
    Starter,
    at,
    delivered,
    document,
    envelope,
    hop,
    mid_of,
    plain_document,
)
from tests.faces.terminal import run


class Site:
    """The gateway with a next hop that takes everything, one that is busy, and one that is closed."""

    def __init__(self, gateway: Gateway, port: int, sink: Sink, busy: Hostile) -> None:
        self.gateway, self.port, self.sink, self.busy = gateway, port, sink, busy
        routes = {
            "example.test": [hop(sink)],
            "busy.test": [hop(busy)],
            "closed.test": [f"{LOOPBACK}:{free_port()}"],
        }
        self.parts = {"smtp_routes": routes, "recipient_access": {"domains": list(routes)}}

    def document(self, **parts: object) -> str:
        return document(self.port, **self.parts, **parts)

    def revision(self) -> int:
        return int(self.gateway.command("version")["revision"])

    def failing(self, *words: str) -> str:
        """What a command says that is refused with status 1."""
        done: subprocess.CompletedProcess[bytes] = run(self.gateway.home, *words)
        assert done.returncode == 1
        return done.stderr.decode()


@pytest.fixture(scope="module")
def site(lasting: Starter, authority: Authority) -> Site:
    sink = lasting(lambda: Sink(certificate=authority.issue("sink.lab.test")))
    busy = lasting(lambda: Hostile("rcpt-450"))
    site = Site(Gateway(), free_port(), sink, busy)
    lasting(lambda: site.gateway)
    return site


@pytest.fixture(autouse=True)
def as_it_was(site: Site) -> None:
    """Every test begins with the same document in force and no changes."""
    site.busy.behaviour = BEHAVIOURS["rcpt-450"]
    for session in ("", "--session=a", "--session=b"):
        site.gateway.text(*[session] if session else [], "clearchanges", "--yes")
    try:
        site.gateway.load(site.document())
    except Trouble as trouble:
        pytest.fail(str(trouble))


def load(site: Site, folder: Path, session: str, text: str) -> None:
    path = folder / f"{session}.toml"
    path.write_text(text)
    site.gateway.text(f"--session={session}", "loadconfig", str(path))


# --- configuration ------------------------------------------------------------------------------------------


def test_the_second_of_two_administrators_is_told_what_changed_under_them(site: Site, place: Path) -> None:
    load(site, place, "a", site.document(hostname="a.lab.test"))
    load(site, place, "b", site.document(hostname="b.lab.test", delivery={"longest_retry": 1234.0}))
    site.gateway.text("--session=a", "commit", "the first")
    revision = site.revision()
    said = site.failing("--session=b", "commit", "the second")
    assert "Nothing was committed" in said
    assert f'revision {revision} by root "the first"' in said
    assert "hostname" in said
    assert "you changed this too" in said
    assert site.revision() == revision
    assert 'hostname = "a.lab.test"' in site.gateway.text("showconfig")

    site.failing("--session=b", "rebasechanges")
    site.gateway.text("--session=b", "rebasechanges", "--overlap", "theirs")
    changes = site.gateway.command("--session=b", "showchanges")
    assert [change["path"] for change in changes] == ["delivery.longest_retry"]
    site.gateway.text("--session=b", "commit", "the second")
    now = site.gateway.text("showconfig")
    assert 'hostname = "a.lab.test"' in now
    assert "longest_retry = 1234" in now


def test_a_commit_whose_port_is_taken_changes_nothing(site: Site, place: Path) -> None:
    before, revision = site.gateway.text("showconfig"), site.revision()
    with socket.create_server((LOOPBACK, free_port())) as taken:
        ports = [site.port, free_port(), taken.getsockname()[1]]
        listeners = [
            {"name": name, "port": port}
            for name, port in zip((LISTENER, "Free", "Taken"), ports, strict=True)
        ]
        load(site, place, "a", site.document(listeners=listeners, hostname="new.lab.test"))
        said = site.failing("--session=a", "commit", "too much")
    assert "Nothing was committed" in said
    assert f"listeners.Taken.port: {LOOPBACK} port {ports[2]} can't be opened" in said
    assert (site.gateway.text("showconfig"), site.revision()) == (before, revision)
    assert not answers(ports[1])
    assert send(at(site.port), envelope("taken-1")).reply.startswith("250")
    site.gateway.text("--session=a", "commit", "the port is free now")
    assert all(send(at(port), envelope(f"taken-{port}")).reply.startswith("250") for port in ports)


def test_a_commit_whose_certificate_has_no_key_changes_nothing(site: Site, place: Path) -> None:
    before, revision = site.gateway.text("showconfig"), site.revision()
    foreign = self_signed("foreign.lab.test").cert_pem.decode()
    parts = {"listeners": [{"name": LISTENER, "port": site.port, "certificate": "Foreign"}]}
    text = document(
        site.port, **site.parts | parts, certificates=[{"name": "Foreign", "certificate": foreign}]
    )
    load(site, place, "a", text)
    said = site.failing("--session=a", "commit")
    assert "no key that fits the certificate Foreign" in said
    assert (site.gateway.text("showconfig"), site.revision()) == (before, revision)


def test_all_mistakes_of_a_document_are_told_at_once_with_their_paths(site: Site, place: Path) -> None:
    tables = plain_document(site.port, hostnme="x", destinations=[{"domain": "default", "tls": "sometimes"}])
    path = place / "wrong.toml"
    path.write_text(tomli_w.dumps(tables))
    said = site.failing("loadconfig", str(path))
    assert "hostnme" in said
    assert "destinations" in said
    assert site.gateway.command("showchanges") == []


def test_a_rollback_brings_back_an_older_revision_as_a_candidate(site: Site, place: Path) -> None:
    old, revision = site.gateway.text("showconfig"), site.revision()
    load(site, place, "a", site.document(hostname="newer.lab.test"))
    site.gateway.text("--session=a", "commit", "newer")
    site.gateway.text("rollbackconfig", str(revision))
    assert 'hostname = "newer.lab.test"' in site.gateway.text("showconfig")
    assert [change["path"] for change in site.gateway.command("showchanges")] == ["hostname"]
    site.gateway.text("commit", "as before")
    assert site.gateway.text("showconfig") == old
    comments = [entry["comment"] for entry in site.gateway.command("rollbackconfig")]
    assert comments[:2] == ["as before", "newer"]


def test_a_saved_configuration_can_be_loaded_again(site: Site, place: Path) -> None:
    path = place / "saved.toml"
    before = site.gateway.text("showconfig")
    site.gateway.text("saveconfig", str(path))
    assert "PRIVATE KEY" not in path.read_text()
    assert "exists already" in site.failing("saveconfig", str(path))
    load(site, place, "a", site.document(hostname="other.lab.test", logs={"level": "Debug"}))
    site.gateway.text("--session=a", "commit")
    site.gateway.text("loadconfig", str(path))
    site.gateway.text("commit", "as saved")
    assert site.gateway.text("showconfig") == before
    assert "in force already" in site.gateway.text("loadconfig", str(path))


def test_a_listener_that_is_taken_out_lets_its_connections_end(site: Site, place: Path) -> None:
    extra = free_port()
    listeners = [{"name": LISTENER, "port": site.port}, {"name": "Extra", "port": extra}]
    load(site, place, "a", site.document(listeners=listeners))
    site.gateway.text("--session=a", "commit")
    with Client(at(extra)) as client:
        client.secure()
        load(site, place, "a", site.document())
        site.gateway.text("--session=a", "commit")
        assert not answers(extra)
        client.mail("a@sender.test")
        client.rcpt("b@example.test")
        assert client.data(envelope("at-the-end").content)[0] == 250
    delivered(site.gateway, "at-the-end")


# --- queue --------------------------------------------------------------------------------------------------


def waiting(site: Site, match: str) -> list[dict[str, object]]:
    found = site.gateway.command("showrecipients", match)
    assert isinstance(found, list)
    return found


def test_suspended_deliveries_wait_and_resumed_ones_go_out(site: Site) -> None:
    site.gateway.text("suspenddel")
    assert site.gateway.command("status")["gateway"]["deliveries"] == "suspended"
    for number in range(3):
        send(at(site.port), envelope(f"held-{number}", f"held{number}@example.test"))
    rows = waiting(site, "held")
    assert [row["to"] for row in rows] == [f"held{number}@example.test" for number in range(3)]
    assert all(row["attempts"] == 0 for row in rows)
    assert site.gateway.command("status")["queue"]["messages"] >= 3
    assert "Mail delivery resumed." in site.gateway.text("resumedel")
    for number in range(3):
        delivered(site.gateway, f"held-{number}")
    assert waiting(site, "held") == []


def test_delayed_recipients_are_shown_and_delivered_now_on_demand(site: Site) -> None:
    send(at(site.port), envelope("busy", "b@busy.test"))
    mid = mid_of(site.gateway, "busy")
    site.gateway.wait_log(
        rf"Delayed: DCID \d+ MID {mid} From: <a@sender\.test> To: <b@busy\.test> RID 0 - 4\.2\.1"
    )
    until(lambda: waiting(site, "busy")[0]["attempts"] == 1, lambda: str(waiting(site, "busy")))
    (row,) = waiting(site, "busy")
    assert (row["mid"], row["last_result"]) == (mid, "450 4.2.1 mailbox busy")
    status, hops = site.gateway.command("hoststatus", "busy.test")
    assert (status["waiting_recipients"], status["tls_level"]) == (1, "required")
    assert status["way"].startswith("SMTP route")
    assert hops == [{"next_hop": LOOPBACK, "port": site.busy.port, "addresses": LOOPBACK}]
    assert any(row["active"] >= 1 and row["soft"] >= 1 for row in site.gateway.command("tophosts"))

    site.busy.wait_sessions(len(site.busy.sessions))
    site.busy.behaviour = POLITE
    assert site.gateway.command("delivernow", "busy.test")["recipients"] == 1
    delivered(site.gateway, "busy")
    assert "busy" in [message.subject for message in site.busy.messages()]
    assert waiting(site, "busy") == []


def test_a_message_with_a_level_of_its_own_goes_at_that_level(site: Site) -> None:
    site.busy.behaviour = BEHAVIOURS["no-starttls"]
    send(at(site.port), envelope("urgent", "urgent@busy.test"))
    mid = mid_of(site.gateway, "urgent")
    site.gateway.wait_log(r"DCID \d+ TLS failed: TLS required, STARTTLS unavailable")
    until(lambda: waiting(site, "urgent")[0]["attempts"] == 1, lambda: str(waiting(site, "urgent")))
    (row,) = site.gateway.command("settls", str(mid))
    assert (row["level"], row["level_from"]) == ("required", "default")
    site.gateway.command("settls", str(mid), "off")
    site.gateway.command("delivernow", str(mid))
    delivered(site.gateway, "urgent")
    assert site.busy.taken[-1].tls is None


def test_a_closed_next_hop_is_down_and_its_recipients_can_be_deleted(site: Site) -> None:
    send(at(site.port), envelope("closed", "b@closed.test", "c@closed.test"))
    mid = mid_of(site.gateway, "closed")
    site.gateway.wait_log(rf"Delayed: DCID \d+ MID {mid} .* RID 1 ")
    until(
        lambda: [row["attempts"] for row in waiting(site, "closed")] == [1, 1],
        lambda: str(waiting(site, "closed")),
    )
    status, _ = site.gateway.command("hoststatus", "closed.test")
    assert status["status"] == "down"
    assert "Connection refused" in status["last_error"]
    assert any(row["host"].startswith("*") for row in site.gateway.command("tophosts"))
    assert site.gateway.command("deleterecipients", "c@closed.test")["recipients"] == 1
    assert [row["to"] for row in waiting(site, "closed")] == ["b@closed.test"]
    assert site.gateway.command("deleterecipients", str(mid))["recipients"] == 1
    site.gateway.wait_log(rf"Deleted: MID {mid} to \[0\]")
    assert waiting(site, "closed") == []
    assert not re.search(rf"was generated for bounce of MID {mid}\b", site.gateway.log())
