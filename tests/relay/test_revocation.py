"""Revoked certificates of next hops and of clients: lists fetched from a real web server decide on mail."""

from __future__ import annotations

import asyncio
import json
import smtplib
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from lab.ca import Authority, Issued
from lab.hostile import Hostile
from lab.place import free_port
from lab.script import Behaviour
from mxseal.events.types import (
    InboundTlsFailed,
    InboundTlsSucceeded,
    OutboundTlsFailed,
    OutboundTlsSucceeded,
    RecipientDelayed,
    RecipientsDelivered,
    RevocationListFailed,
    RevocationListFetched,
)
from mxseal.relay.revocation import REVOKED
from mxseal.sinks.jsonlog import encode
from mxseal.tls.policy import LEVELS
from tests.certs.publisher import Publisher, crl, der
from tests.relay.harness import Running, listening, running

STRICT = ("required-verify", "required-verify-hosted")
NOW = datetime.now(UTC).timestamp()
NAME = "*.partner.example"


class Estate:
    """An authority, what it publishes, and a next hop or client that it has disowned."""

    def __init__(self, web: Publisher) -> None:
        self.web = web
        self.authority = Authority("Partner Root")
        self.withdrawn = self.authority.issue(NAME)
        self.sound = self.authority.issue(NAME)

    def publish(self, *revoked: Issued, **values: Any) -> None:
        found = crl(self.authority, *(each.certificate for each in revoked), at=NOW, **values)
        self.web.pages["/ca.crl"] = der(found)

    def trust(self, **switches: bool) -> dict[str, Any]:
        entry = {"name": "Partner", "certificate": self.authority.pem.decode()}
        source = {"name": "partner", "url": self.web.url()}
        return {"system": False, "custom": True, "authorities": [entry], "crl_sources": [source], **switches}


@pytest.fixture
def estate() -> Iterator[Estate]:
    with Publisher() as web:
        yield Estate(web)


# --- next hops --------------------------------------------------------------------------------------------


def domain_of(level: str) -> str:
    return f"{level}.partner.example"


def delivering(estate: Estate, hop: Hostile, *, checks: bool = True) -> dict[str, Any]:
    return {
        "listeners": [],
        "trust": estate.trust(crl_outbound=checks),
        "smtp_routes": {".partner.example": [f"127.0.0.1:{hop.port}"]},
        "destinations": [
            *({"domain": domain_of(level), "tls": level} for level in LEVELS),
            {"domain": domain_of("later"), "tls": "required-verify"},
        ],
        "delivery": {"idle_time": 0.05, "command_time": 5.0, "handshake_time": 5.0, "certificate": None},
    }


async def sent(relay: Running) -> dict[str, str]:
    """What became of one message for each level."""
    mids: dict[int, str] = {await relay.submit(f"to@{domain_of(level)}"): level for level in LEVELS}
    await relay.quiet()
    told = relay.told
    became = {mids[event.mid]: "delivered" for event in told.of(RecipientsDelivered) if event.mid in mids}
    return became | {mids[event.mid]: "waits" for event in told.of(RecipientDelayed) if event.mid in mids}


async def test_each_level_does_with_a_revoked_next_hop_what_the_table_says(
    estate: Estate, tmp_path: Path
) -> None:
    estate.publish(estate.withdrawn)
    with Hostile(Behaviour(), certificate=estate.withdrawn) as hop:
        async with running(tmp_path, free_port(), delivering(estate, hop)) as relay:
            await relay.told.until(RevocationListFetched)
            await relay.gateway.worker.revoked.reread()
            became = await sent(relay)
            assert became == {level: "waits" if level in STRICT else "delivered" for level in LEVELS}
            for failed in relay.told.of(OutboundTlsFailed):
                assert failed.verify_error == REVOKED
                assert failed.diagnosis is not None
                assert failed.diagnosis.cause == "certificate-revoked"
            found = {event.verification.revocation for event in _verified(relay)}
            assert found == {"revoked"}
            assert any("TLS failed: verify error: certificate revoked" in line for line in relay.lines())
            assert any(line.startswith("Info: CRL partner: list of Partner Root") for line in relay.lines())


def _verified(relay: Running) -> list[Any]:
    return [event for event in relay.told.of(OutboundTlsSucceeded) if event.verification is not None]


async def test_a_list_that_cant_be_had_stops_no_mail_and_is_recorded_as_no_list(
    estate: Estate, tmp_path: Path
) -> None:
    with Hostile(Behaviour(), certificate=estate.withdrawn) as hop:
        async with running(tmp_path, free_port(), delivering(estate, hop)) as relay:
            (failed,) = await relay.told.until(RevocationListFailed)
            assert failed.kept == "none"
            assert set((await sent(relay)).values()) == {"delivered"}
            assert {event.verification.revocation for event in _verified(relay)} == {"no-list"}


async def test_a_change_of_the_list_counts_for_the_next_connection_without_a_commit(
    estate: Estate, tmp_path: Path
) -> None:
    estate.publish(made=-2.0)
    with Hostile(Behaviour(), certificate=estate.withdrawn) as hop:
        async with running(tmp_path, free_port(), delivering(estate, hop)) as relay:
            await relay.told.until(RevocationListFetched)
            await relay.gateway.worker.revoked.reread()
            assert set((await sent(relay)).values()) == {"delivered"}
            assert {event.verification.revocation for event in _verified(relay)} == {"good"}
            estate.publish(estate.withdrawn)
            await relay.gateway.crls.update("partner")
            await relay.gateway.crew.reread_lists()
            mid = await relay.submit(f"to@{domain_of('later')}")
            await relay.quiet()
            assert mid in {event.mid for event in relay.told.of(RecipientDelayed)}


async def test_without_the_switch_no_list_is_looked_into(estate: Estate, tmp_path: Path) -> None:
    estate.publish(estate.withdrawn)
    with Hostile(Behaviour(), certificate=estate.withdrawn) as hop:
        async with running(tmp_path, free_port(), delivering(estate, hop, checks=False)) as relay:
            await relay.told.until(RevocationListFetched)
            assert set((await sent(relay)).values()) == {"delivered"}
            assert {event.verification.revocation for event in _verified(relay)} == {"not-checked"}
            await relay.commit(trust=estate.trust(crl_outbound=True))
            mid = await relay.submit(f"to@{domain_of('later')}")
            await relay.quiet()
            assert mid in {event.mid for event in relay.told.of(RecipientDelayed)}


async def test_a_source_is_fetched_as_soon_as_it_is_committed(estate: Estate, tmp_path: Path) -> None:
    estate.publish()
    with Hostile(Behaviour(), certificate=estate.sound) as hop:
        document = delivering(estate, hop)
        before = document | {"trust": estate.trust(crl_outbound=True) | {"crl_sources": []}}
        async with running(tmp_path, free_port(), before) as relay:
            assert estate.web.asked == []
            await relay.commit(trust=document["trust"])
            (fetched,) = await relay.told.until(RevocationListFetched)
            assert fetched.source == "partner"
            await relay.gateway.worker.revoked.reread()
            await sent(relay)
            assert {event.verification.revocation for event in _verified(relay)} == {"good"}


async def test_a_worker_that_is_hired_later_reads_the_lists_that_are_there(
    estate: Estate, tmp_path: Path
) -> None:
    estate.publish(estate.withdrawn)
    with Hostile(Behaviour(), certificate=estate.withdrawn) as hop:
        document = delivering(estate, hop)
        async with running(tmp_path, free_port(), document) as relay:
            await relay.told.until(RevocationListFetched)
        async with running(tmp_path, free_port()) as relay:
            assert (await sent(relay))[STRICT[0]] == "waits"
            assert estate.web.asked == ["/ca.crl"]


# --- clients ----------------------------------------------------------------------------------------------


async def test_a_client_whose_certificate_was_revoked_is_turned_away(estate: Estate, tmp_path: Path) -> None:
    estate.publish(estate.withdrawn)
    port = free_port()
    document = listening(port, tls="required-verify") | {"trust": estate.trust(crl_inbound=True)}
    async with running(tmp_path / "home", port, document) as relay:
        await relay.told.until(RevocationListFetched)
        await relay.gateway.worker.revoked.reread()
        refused = await _greeting(port, estate.withdrawn, tmp_path)
        assert refused == "554 #5.7.0 Client certificate not accepted: certificate revoked"
        (failed,) = relay.told.of(InboundTlsFailed)
        assert failed.fault.verify_error == REVOKED
        assert failed.diagnosis is not None
        assert failed.diagnosis.cause == "certificate-revoked"
        assert failed.check is not None
        assert failed.check.revocation == "revoked"
        assert (await _greeting(port, estate.sound, tmp_path)).startswith("250")
        (taken,) = relay.told.of(InboundTlsSucceeded)
        assert taken.facts.verified
        assert taken.check is not None
        assert taken.check.revocation == "good"


async def test_a_client_without_a_list_for_its_issuer_is_taken_and_recorded_so(
    estate: Estate, tmp_path: Path
) -> None:
    port = free_port()
    document = listening(port, tls="required-verify") | {"trust": estate.trust(crl_inbound=True)}
    async with running(tmp_path / "home", port, document) as relay:
        await relay.told.until(RevocationListFailed)  # nothing was published
        assert (await _greeting(port, estate.withdrawn, tmp_path)).startswith("250")
        (taken,) = relay.told.of(InboundTlsSucceeded)
        assert taken.facts.verified
        assert taken.check is not None
        assert taken.check.revocation == "no-list"
        assert json.loads(encode(taken))["check"]["revocation"] == "no-list"


async def _greeting(port: int, shown: Issued, folder: Path) -> str:
    """The last line of the reply to EHLO over TLS, with this client certificate."""
    files = shown.write(folder, "client")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.load_cert_chain(files.chain, files.key)

    def talk() -> str:
        with smtplib.SMTP("127.0.0.1", port, timeout=20) as client:
            client.ehlo()
            client.starttls(context=context)
            code, text = client.docmd("EHLO", "client.lab.test")
            return f"{code} {text.decode().splitlines()[-1]}"

    return await asyncio.to_thread(talk)
