"""What a gateway records of its peers: real deliveries and clients, read through the command's own file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from lab.ca import Authority, self_signed
from lab.hostile import Hostile
from lab.place import free_port
from mxseal.config.model import Document
from mxseal.events.types import ConnectionClosed, DeliveryClosed, OutboundTlsFailed, PeerRecordTrouble
from mxseal.storage.peers import Peer
from tests.relay.harness import Running, greeted, listening, route, running

START = Callable[..., Hostile]


async def recorded(relay: Running) -> dict[tuple[str, str], Peer]:
    await relay.gateway.worker.peers.flush()
    return {(peer.direction, peer.domain): peer for peer in relay.gateway.peers.read()}


async def test_a_delivery_at_preferred_leaves_what_stricter_levels_would_have_done(
    hostile: START, tmp_path: Path
) -> None:
    authority = Authority()
    good = hostile("tls-1.3-only", certificate=authority.issue("bank.example"))
    document = route(good.port)
    document["trust"] = {
        "custom": True,
        "authorities": [{"name": "Lab", "certificate": authority.pem.decode()}],
    }
    async with running(tmp_path / "home", free_port(), document) as relay:
        await relay.submit("to@bank.example")
        await relay.told.until(DeliveryClosed)
        await relay.submit("to@other.example")
        await relay.told.until(DeliveryClosed, 2)
        found = await recorded(relay)
    named, other = found["out", "bank.example"], found["out", "other.example"]
    assert (named.host, named.tls, named.messages_tls) == ("127.0.0.1", 1, 1)
    assert all(named.passes(level) for level in named.passed)
    assert named.facts is not None
    assert (named.facts.protocol, named.facts.trusted, named.facts.name) == ("TLSv1.3", True, "bank.example")
    assert [level for level in other.passed if other.passes(level)] == [
        "preferred",
        "required",
        "preferred-verify",
    ]
    assert other.facts is not None
    assert (other.facts.names_hosted, other.facts.expected) == ("differs", "other.example")


async def test_mail_in_clear_and_failed_tls_are_what_required_would_break(
    hostile: START, tmp_path: Path
) -> None:
    plain = hostile("no-starttls")
    async with running(tmp_path / "home", free_port(), route(plain.port)) as relay:
        await relay.submit("to@plain.example")
        await relay.told.until(DeliveryClosed)
        await relay.commit(**_plain(route(plain.port, tls="required")))
        await relay.submit("to@plain.example")
        await relay.told.until(OutboundTlsFailed)
        peer = (await recorded(relay))["out", "plain.example"]
    assert (peer.clear, peer.failed, peer.messages_clear, peer.messages_tls) == (1, 1, 1, 0)
    assert peer.refused["required"] == 2
    assert peer.passed["preferred"] == 2
    assert peer.facts is not None
    assert (peer.facts.outcome, peer.facts.level) == ("failed", "required")


def _plain(keys: dict[str, object]) -> dict[str, object]:
    document = Document.model_validate({"hostname": "mx.lab.test", **keys}).model_dump()
    return {key: document[key] for key in keys}


async def test_the_reason_of_a_certificate_that_is_not_believed_is_kept(
    hostile: START, tmp_path: Path
) -> None:
    hop = hostile("tls-1.2-only", certificate=self_signed("bank.example"))
    async with running(tmp_path / "home", free_port(), route(hop.port)) as relay:
        await relay.submit("to@bank.example")
        await relay.told.until(DeliveryClosed)
        peer = (await recorded(relay))["out", "bank.example"]
    assert peer.facts is not None
    assert peer.facts.trusted is False
    assert "self-signed" in peer.facts.chain_error
    assert peer.facts.reason
    assert (peer.refused["required"], peer.refused["required-verify"]) == (0, 1)


async def test_clients_are_recorded_with_and_without_tls(tmp_path: Path) -> None:
    port = free_port()
    async with running(tmp_path / "home", port, listening(port)) as relay:
        async with greeted(port) as client:
            await client.say("EHLO client.lab.test")
            await client.secure()
            assert (await client.message()).startswith("250")
            await client.say("QUIT")
        async with greeted(port) as client:
            assert (await client.message()).startswith("250")
            await client.say("QUIT")
        await relay.told.until(ConnectionClosed, 2)
        peer = (await recorded(relay))["in", "127.0.0.1"]
    assert (peer.tls, peer.clear, peer.messages_tls, peer.messages_clear) == (1, 1, 1, 1)
    assert (peer.passed["required"], peer.refused["required"]) == (1, 1)


async def test_a_stop_writes_what_was_noted_and_a_start_goes_on_from_there(
    hostile: START, tmp_path: Path
) -> None:
    hop = hostile("tls-1.3-only")
    home, port = tmp_path / "home", free_port()
    for turn in (1, 2):
        async with running(home, port, route(hop.port)) as relay:
            await relay.submit("to@bank.example")
            await relay.told.until(DeliveryClosed)
            await relay.stop()
            (peer,) = [each for each in relay.gateway.peers.read() if each.direction == "out"]
        assert peer.tls == turn


async def test_mail_goes_on_where_the_record_cannot_be_written(hostile: START, tmp_path: Path) -> None:
    hop = hostile("tls-1.3-only")
    async with running(tmp_path / "home", free_port(), route(hop.port)) as relay:
        relay.gateway.home.peers_file.unlink()
        await relay.submit("to@bank.example")
        await relay.told.until(DeliveryClosed)
        assert await recorded(relay) == {}
        assert len(relay.told.of(PeerRecordTrouble)) == 1
        assert any("record of TLS by peer can't be written" in line for line in relay.lines())
    assert len(hop.taken) == 1
