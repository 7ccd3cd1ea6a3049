"""A commit and a reload while connections are open: they go on as they began, the next one is new."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from lab.ca import Issued
from lab.place import free_port, free_ports
from mxseal.config.history import BuildFailed, Rejected
from mxseal.events.types import CertificateServed, ConfigurationCommitted, ConnectionClosed, ConnectionOpened
from mxseal.storage.ports import StorageRefused
from tests.relay.harness import HOSTNAME, Running, Talker, greeted, keeping, listening, running

ISSUE = Callable[..., Issued]


def der(issued: Issued) -> bytes:
    return issued.certificate.public_bytes(Encoding.DER)


def renewed(relay: Running, issued: Issued, port: int, **changes: Any) -> dict[str, Any]:
    """Changes that assign the certificate, called New, to the listener."""
    known = [entry.model_dump() for entry in relay.gateway.history.current().document.certificates]
    return listening(port, certificate="New", **changes) | {
        "certificates": [*known, relay.certificate("New", issued)]
    }


async def secured(client: Talker) -> bytes:
    """The certificate of the listener."""
    await client.say("EHLO client.lab.test")
    await client.secure()
    return client.certificate()


async def test_an_open_session_keeps_its_certificate_and_policy_and_the_next_one_gets_the_new(
    issue: ISSUE, tmp_path: Path
) -> None:
    port = free_port()
    new = issue(HOSTNAME)
    async with (
        running(tmp_path / "home", port, listening(port), prepare=keeping) as relay,
        greeted(port) as within,
        greeted(port) as before,
        greeted(port) as amid,
    ):
        old = await secured(within)
        assert (await amid.offer()).startswith("354 ")
        changes = renewed(
            relay, new, port, tls="required", limits={"message_size": 4096, "header_size": 1024}
        )
        changes["recipient_access"] = {"domains": ["elsewhere.test"]}
        await relay.commit(**changes)
        # within TLS, in the middle of a message, and before STARTTLS: all as they began
        assert (await within.message()).startswith("250 ok:  Message ")
        amid.send(b"Subject: x\r\n\r\n" + b"y" * 5000 + b"\r\n.\r\n")
        assert (await amid.reply()).startswith("250 ok:  Message ")
        assert await secured(before) == old
        async with greeted(port) as after:
            assert await after.say("RSET") == "530 #5.7.0 Must issue a STARTTLS command first"
            assert await secured(after) == der(new)
            assert "250-SIZE 4096\n" in await after.say("EHLO client.lab.test")
            await after.say("MAIL FROM:<from@lab.test>")
            assert await after.say("RCPT TO:<to@example.com>") == "550 #5.1.0 Address rejected."


async def test_a_commit_reports_the_certificate_that_is_really_served(issue: ISSUE, tmp_path: Path) -> None:
    port = free_port()
    new = issue(HOSTNAME)
    async with running(tmp_path / "home", port, listening(port)) as relay:
        told = await relay.commit(**renewed(relay, new, port))
        (event,) = relay.told.of(CertificateServed)
        assert (event.certificate, event.expected) == ("New", True)
        assert event.sha256.replace(":", "").lower() == new.sha256
        assert list(told) == [f"Listener IncomingMail serves the certificate New: SHA-256 {event.sha256}."]
        (committed,) = relay.told.of(ConfigurationCommitted)
        assert (
            f"Info: User test commit changes: a change (configuration {committed.revision})" in relay.lines()
        )


async def test_a_commit_that_leaves_the_certificate_keeps_its_context(tmp_path: Path) -> None:
    port = free_port()
    async with running(tmp_path / "home", port, listening(port)) as relay:
        before = relay.gateway.served.server_context("IncomingMail")
        await relay.commit(recipient_access={"domains": ["elsewhere.test"]})
        assert relay.gateway.served.server_context("IncomingMail") is before


async def refused(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except ConnectionRefusedError:
        return True
    writer.close()
    return False


async def test_ports_are_added_and_removed_and_who_is_connected_stays(tmp_path: Path) -> None:
    first, second = free_ports(2)
    async with (
        running(tmp_path / "home", first, listening(first), prepare=keeping) as relay,
        greeted(first) as client,
    ):
        assert await refused(second)
        document = listening(first)["listeners"] + [listening(second)["listeners"][0] | {"name": "Second"}]
        await relay.commit(listeners=document)
        async with greeted(first), greeted(second):
            pass
        await relay.commit(listeners=document[1:])
        assert await refused(first)
        assert (await client.message()).startswith("250 ok:  Message ")
        assert relay.gateway.listeners.connections() >= 1
        async with greeted(second) as other:
            assert (await other.message()).startswith("250 ok:  Message ")
        await relay.commit(listeners=document)
        async with greeted(first):
            pass


@pytest.mark.parametrize("fault", ["port", "key"])
async def test_a_commit_that_can_not_be_built_changes_nothing(
    fault: str, issue: ISSUE, tmp_path: Path
) -> None:
    port, free, taken = free_ports(3)
    async with (
        running(tmp_path / "home", port, listening(port), prepare=keeping) as relay,
        greeted(port) as client,
    ):
        before = relay.gateway.history.current()
        listeners = [
            listening(free)["listeners"][0] | {"name": "Free"},
            listening(taken)["listeners"][0] | {"name": "Taken"},
        ]
        changes: dict[str, Any] = {"listeners": listeners}
        with socket.create_server(("127.0.0.1", taken if fault == "port" else free_port())):
            if fault == "key":
                issued = issue(HOSTNAME)
                changes = renewed(relay, issued, free)
                for name in relay.gateway.keys.names():
                    relay.gateway.keys.delete(name)
            outcome = await relay.try_commit(**changes)
        assert isinstance(outcome, Rejected)
        path = "listeners.Taken.port" if fault == "port" else "certificates.New.certificate"
        assert path in {problem.path for problem in outcome.problems}
        assert relay.gateway.history.current() == before
        assert await refused(free)
        assert not relay.told.of(ConfigurationCommitted)
        assert (await client.message()).startswith("250 ok:  Message ")
        async with greeted(port) as other:
            await secured(other)


async def test_a_reload_builds_all_anew_and_drops_nobody(tmp_path: Path) -> None:
    port = free_port()
    async with (
        running(tmp_path / "home", port, listening(port), prepare=keeping) as relay,
        greeted(port) as client,
    ):
        await secured(client)
        before = relay.gateway.served.server_context("IncomingMail")
        await relay.gateway.reload()
        assert relay.gateway.served.server_context("IncomingMail") is not before
        assert (await client.message()).startswith("250 ok:  Message ")
        async with greeted(port) as other:
            await secured(other)
            assert (await other.message()).startswith("250 ok:  Message ")
        assert len(relay.told.of(ConnectionOpened)) == 2


async def test_a_reload_writes_on_in_a_log_that_was_moved_away(tmp_path: Path) -> None:
    port = free_port()
    async with running(tmp_path / "home", port, listening(port)) as relay:
        relay.gateway.logs.flush()
        folder = relay.gateway.home.logs / "mail_logs"
        for path in folder.glob("*.@*"):
            path.rename(tmp_path / path.name)
        await relay.gateway.reload()
        async with greeted(port):
            pass
        await relay.told.until(ConnectionClosed)
        assert any("New SMTP ICID 1" in line for line in relay.lines())


async def test_a_reload_that_fails_leaves_all_in_force(tmp_path: Path) -> None:
    port = free_port()
    async with running(tmp_path / "home", port, listening(port), prepare=keeping) as relay:
        kept = [relay.gateway.keys.load(name) for name in relay.gateway.keys.names()]
        for name in relay.gateway.keys.names():
            relay.gateway.keys.delete(name)
        with pytest.raises(BuildFailed):
            await relay.gateway.reload()
        async with greeted(port) as client:
            await secured(client)
            assert (await client.message()).startswith("250 ok:  Message ")
        for key in kept:
            assert key is not None
            relay.gateway.keys.put(key)
        await relay.gateway.reload()


async def test_a_store_that_fails_during_a_reload_leaves_all_in_force(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()
    async with running(tmp_path / "home", port, listening(port)) as relay:

        def sick(_certificate: object) -> None:
            raise StorageRefused("sick", "disk I/O error")

        with monkeypatch.context() as patch:
            patch.setattr(relay.gateway.keys, "key_of", sick)
            with pytest.raises(StorageRefused):
                await relay.gateway.reload()
        assert relay.gateway.served.server_context("IncomingMail")
        async with greeted(port) as client:
            await secured(client)
