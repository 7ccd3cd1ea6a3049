"""Answers whose parsing would be work without measure: they are refused unparsed, and mail goes on."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import dns.message
import dns.rrset
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.place import free_port
from mxseal.clock import SystemClock
from mxseal.config.model import Dns
from mxseal.relay.answers import LABELS, too_much, truncated
from mxseal.relay.resolver import ClientName, DnsFault, DnsResolver

LONG = b"\1a" * 124 + b"\0"
MX, NS, A, RP = 15, 2, 1, 17
Answering = Callable[[bytes], bytes]


def answer(query: bytes, records: int, data: Callable[[int], bytes], kind: int = MX) -> bytes:
    """A response with records of which dnspython would make names, one after the other."""
    question = query[12 : query.index(b"\0", 12) + 5]
    body = b"".join(
        b"\xc0\x0c" + struct.pack("!HHIH", kind, 1, 600, len(each)) + each
        for each in map(data, range(records))
    )
    return query[:2] + struct.pack("!5H", 0x8180, 1, records, 0, 0) + question + body


def bomb(query: bytes, records: int = 3700) -> bytes:
    """Each record points to one name of 124 labels: 60 KiB that take seconds to parse."""
    first = query.index(b"\0", 12) + 5 + 12 + 2
    pointer = struct.pack("!H", 0xC000 | first)
    return answer(query, records, lambda i: struct.pack("!H", i) + (pointer if i else LONG))


def asked(name: str = "lab.test", kind: str = "MX") -> bytes:
    return dns.message.make_query(name, kind).to_wire()


@pytest.mark.parametrize(
    "wire",
    [
        bomb(asked()),
        bomb(asked(), 9),
        answer(asked(), 4000, lambda i: struct.pack("!I", i), A),
        answer(asked(), 8, lambda _: LONG, NS),
        answer(asked(), 4, lambda _: b"\xc0\x0c\xc0\x0c", RP),
        struct.pack("!6H", 1, 0x8180, 4000, 0, 0, 0) + b"\0\0\1\0\1" * 4000,
    ],
    ids=["pointers to a long name", "few of them", "addresses", "name servers", "other types", "questions"],
)
def test_an_answer_with_more_names_than_mail_needs_is_too_much(wire: bytes) -> None:
    assert too_much(wire)


def test_large_answers_of_honest_domains_are_not_too_much() -> None:
    response = dns.message.make_response(dns.message.make_query("lab.test", "MX"))
    name = response.question[0].name
    hosts = [f"{n} mx{n}.europe.mail.lab.test." for n in range(20)]
    response.answer.append(dns.rrset.from_text_list(name, 600, "IN", "MX", hosts))
    for host in hosts:
        for kind, address in (("A", "192.0.2.1"), ("AAAA", "2001:db8::1")):
            found = dns.rrset.from_text_list(host.split()[1], 600, "IN", kind, [address])
            response.additional.append(found)
    assert not too_much(response.to_wire())
    signed = "MX 13 2 600 20300101000000 20200101000000 1 lab.test. " + "A" * 88
    response.answer.append(dns.rrset.from_text_list(name, 600, "IN", "RRSIG", [signed]))
    assert not too_much(response.to_wire())


@given(wire=st.binary(max_size=600), counts=st.tuples(*[st.integers(0, 65535)] * 4))
def test_garbage_never_raises_and_pointers_in_circles_end(wire: bytes, counts: tuple[int, ...]) -> None:
    too_much(struct.pack("!6H", 1, 0x8180, *counts) + wire)
    too_much(struct.pack("!6H", 1, 0x8180, *counts) + b"\xc0\x0c" * 300)
    assert too_much(struct.pack("!6H", 1, 0x8180, 1, 0, 0, 0) + b"\xc0\x0c" * LABELS)


def test_what_is_too_much_for_a_datagram_is_a_truncated_answer_to_the_same_question() -> None:
    query = dns.message.make_query("lab.test", "MX")
    with pytest.raises(dns.message.Truncated) as cut:
        dns.message.from_wire(truncated(bomb(query.to_wire())), raise_on_truncation=True)
    assert query.is_response(cut.value.message())  # type: ignore[no-untyped-call]


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, answering: Answering) -> None:
        self._answering = answering

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
        self._transport = transport

    def datagram_received(self, data: bytes, peer: tuple[str, int]) -> None:
        self._transport.sendto(self._answering(data), peer)


@asynccontextmanager
async def resolving(datagram: Answering, stream: Answering) -> AsyncIterator[DnsResolver]:
    """A resolver whose name server answers so over UDP and TCP."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        query = await reader.readexactly(int.from_bytes(await reader.readexactly(2)))
        wire = stream(query)
        for piece in (len(wire).to_bytes(2), wire[:100], wire[100:]):
            writer.write(piece)
            await writer.drain()
        writer.close()

    port, loop = free_port(), asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(
        lambda: _Datagrams(datagram), local_addr=("127.0.0.1", port)
    )
    server = await asyncio.start_server(serve, "127.0.0.1", port)
    try:
        yield DnsResolver(Dns(servers=(f"127.0.0.1:{port}",), allow_local=True), SystemClock())
    finally:
        transport.close()
        server.close()
        await server.wait_closed()


async def test_a_domain_with_such_an_answer_is_delayed_with_a_sentence() -> None:
    async with resolving(bomb, bomb) as resolver:
        fault = await resolver.hosts("lab.test")
        assert isinstance(fault, DnsFault)
        assert not fault.hard
        assert "more names than mail needs" in fault.text


async def test_a_client_with_such_a_record_has_no_name() -> None:
    async with resolving(bomb, bomb) as resolver:
        assert await resolver.client_name("192.0.2.1") == ClientName(None, verified=False)


async def test_an_answer_over_tcp_that_is_not_too_much_is_used() -> None:
    def few(query: bytes) -> bytes:
        return answer(query, 10, lambda i: struct.pack("!H", i) + b"\3mx%d\xc0\x0c" % i)

    async with resolving(bomb, few) as resolver:
        found = await resolver._ask("lab.test", "MX", resolver._cache)
        assert not isinstance(found, DnsFault)
        assert sorted(found)[:2] == ["0 mx0.lab.test.", "1 mx1.lab.test."]
