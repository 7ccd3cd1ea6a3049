"""What the relay takes from a name server's answers, and what it leaves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial

import dns.message
import dns.rdatatype
import dns.rrset
import pytest

from mxseal.clock import SystemClock
from mxseal.config.model import Dns
from mxseal.relay.resolver import ClientName, DnsFault, DnsResolver, Host

Records = Mapping[tuple[str, str], Sequence[str]]
LOCAL = ["127.0.0.1", "0.0.0.0", "224.0.0.9", "169.254.0.1", "::1", "fe80::1", "::ffff:127.0.0.1", "ff02::1"]


class NameServer(asyncio.DatagramProtocol):
    """Answers while it is open; keeps what is asked."""

    def __init__(self, records: Records) -> None:
        self.records = records
        self.asked: list[tuple[str, str]] = []
        self.held: list[Callable[[], None]] | None = None

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
        self.transport = transport

    def datagram_received(self, data: bytes, peer: tuple[str, int]) -> None:
        query = dns.message.from_wire(data)
        question = query.question[0]
        kind = dns.rdatatype.to_text(question.rdtype)
        name = question.name.to_text(omit_final_dot=True)
        self.asked.append((name, kind))
        answer = dns.message.make_response(query)
        found = self.records.get((name, kind), ())
        if found:
            answer.answer.append(dns.rrset.from_text_list(question.name, 600, "IN", kind, found))
        send = partial(self.transport.sendto, answer.to_wire(max_size=65_000), peer)
        if self.held is None:
            send()
        else:
            self.held.append(send)

    def release(self) -> None:
        held, self.held = self.held or [], None
        for send in held:
            send()


@asynccontextmanager
async def resolving(
    records: Records, *, allow_local: bool = False
) -> AsyncIterator[tuple[DnsResolver, NameServer]]:
    names = NameServer(records)
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: names, local_addr=("127.0.0.1", 0))
    port = transport.get_extra_info("sockname")[1]
    settings = Dns(servers=(f"127.0.0.1:{port}",), allow_local=allow_local)
    try:
        yield DnsResolver(settings, SystemClock()), names
    finally:
        transport.close()


async def test_of_an_answer_with_many_records_the_most_preferred_are_kept() -> None:
    many = [f"{number} mx{number}.lab.test." for number in range(120, 0, -1)]
    records = {("lab.test", "MX"): many, ("mx1.lab.test", "A"): ["192.0.2.1"]}
    async with resolving(records) as (resolver, _):
        assert await resolver.hosts("lab.test") == (Host("mx1.lab.test", 25, ("192.0.2.1",)),)
        (kept,) = [a for (_, kind), (_, a) in resolver._cache._answers.items() if kind == "MX"]
        assert not isinstance(kept, DnsFault)
        assert len(kept) == 50


@pytest.mark.parametrize("address", LOCAL)
async def test_mail_is_not_led_into_this_machine_or_its_link(address: str) -> None:
    kind = "AAAA" if ":" in address else "A"
    records = {("lab.test", "MX"): ["10 mx.lab.test."], ("mx.lab.test", kind): [address]}
    words = "the mail exchangers of {} have only addresses inside this machine or network link"
    literal = f"[IPv6:{address}]" if ":" in address else f"[{address}]"
    async with resolving(records) as (resolver, _):
        for domain in ("lab.test", "mx.lab.test", literal):
            assert await resolver.hosts(domain) == DnsFault(True, "5.4.6", words.format(domain))
        assert await resolver.host("mx.lab.test", 25) == Host("mx.lab.test", 25, (address,))
    async with resolving(records, allow_local=True) as (resolver, _):
        assert await resolver.hosts("lab.test") == (Host("mx.lab.test", 25, (address,)),)


async def test_exchangers_with_other_addresses_stay() -> None:
    records = {
        ("lab.test", "MX"): ["10 near.lab.test.", "20 far.lab.test."],
        ("near.lab.test", "A"): ["127.0.0.1"],
        ("far.lab.test", "A"): ["127.0.0.2", "192.0.2.7"],
    }
    async with resolving(records) as (resolver, _):
        assert await resolver.hosts("lab.test") == (Host("far.lab.test", 25, ("192.0.2.7",)),)


async def test_names_of_clients_are_forgotten_before_the_ways_of_mail() -> None:
    records = {("lab.test", "MX"): ["10 mx.lab.test."], ("mx.lab.test", "A"): ["192.0.2.1"]}
    async with resolving(records) as (resolver, names):
        await resolver.hosts("lab.test")
        for number in range(520):
            await resolver.client_name(f"10.0.{number >> 8}.{number & 255}")
        assert len(resolver._names._answers) <= 500
        names.asked.clear()
        await resolver.hosts("lab.test")
        assert names.asked == []


async def test_only_so_many_names_of_clients_are_asked_for_at_once() -> None:
    async with resolving({}) as (resolver, names):
        held: list[Callable[[], None]] = []
        names.held = held
        tasks = [asyncio.create_task(resolver.client_name(f"10.1.0.{number}")) for number in range(70)]
        await until(lambda: len(held) >= 50)
        assert resolver._turn.locked()
        assert len(held) == 50
        names.release()
        assert set(await asyncio.gather(*tasks)) == {ClientName(None, verified=False)}


async def until(reached: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not reached():
            await asyncio.sleep(0)


@pytest.mark.parametrize("address", ["fe80::1%eth0", "", "%", "unix"])
async def test_an_address_that_dns_does_not_know_has_no_name(address: str) -> None:
    async with resolving({}) as (resolver, _):
        assert await resolver.client_name(address) == ClientName(None, verified=False)


async def test_the_root_is_no_name_of_a_client() -> None:
    async with resolving({("7.2.0.192.in-addr.arpa", "PTR"): ["."]}) as (resolver, _):
        assert await resolver.client_name("192.0.2.7") == ClientName(None, verified=False)


async def test_a_scope_does_not_hide_a_name() -> None:
    pointer = "1." + "0." * 27 + "0.8.e.f.ip6.arpa"
    records = {(pointer, "PTR"): ["mx.lab.test."], ("mx.lab.test", "AAAA"): ["fe80::1"]}
    async with resolving(records) as (resolver, _):
        assert await resolver.client_name("fe80::1%eth0") == ClientName("mx.lab.test", verified=True)
