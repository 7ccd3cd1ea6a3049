"""`nslookup` and `dig`: what name servers say, over a real one and over those that misbehave."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest

from lab.knot import REVERSE, Knot
from lab.place import free_port
from mxseal.commands import nslookup
from mxseal.commands.context import Role
from mxseal.commands.nslookup import lifetime
from mxseal.commands.registry import Registry
from mxseal.config.history import History
from mxseal.config.model import Dns
from mxseal.relay.answers import too_much
from tests.commands.desk import Desk
from tests.commands.gateway import FakeServices
from tests.config.documents import document
from tests.config.memory import MemoryDocuments

COMMANDS = Registry((nslookup,))
DIGEST = "ab" * 32
MANY = "\n".join(f"many A 10.0.{number // 250}.{number % 250 + 1}" for number in range(120))
ZONE = f"""\
@ A 192.0.2.1
@ AAAA 2001:db8::1
@ MX 10 mx1
@ MX 20 mx2
@ TXT "v=spf1 -all" "second"
www CNAME @
_25._tcp.mx1 TLSA 3 1 1 {DIGEST}
_25._tcp.mx1 TLSA 3 1 1 {DIGEST.swapcase()[::-1]}
_25._tcp.mx1 TLSA 2 1 1 {DIGEST}
_25._tcp.mx1 TLSA 2 0 1 {DIGEST}
_25._tcp.mx1 TLSA 2 0 2 {DIGEST * 2}
long TXT {" ".join(['"' + "x" * 250 + '"'] * 8)}
odd TXT "\\027[31mred\\010"
{MANY}
"""


def desk(port: int, role: Role = "operator", timeout: float = 5.0) -> Desk:
    services = FakeServices()
    services.documents = MemoryDocuments()
    services.history = History(services.documents)
    settings = Dns(servers=(f"127.0.0.1:{port}",), timeout=timeout)
    services.history.begin(document(dns=settings), "admin", services.now())
    return Desk(COMMANDS, role, services=services)


@pytest.fixture
def asking(knot: Callable[..., Knot]) -> Desk:
    return desk(knot({"lab.test": ZONE, REVERSE: "1 PTR localhost.lab.test."}).port)


async def test_a_real_name_server_is_asked_for_every_type(asking: Desk) -> None:
    wanted = {
        ("lab.test",): ("A", ["192.0.2.1"]),
        ("LAB.test.", "aaaa"): ("AAAA", ["2001:db8::1"]),
        ("lab.test", "MX"): ("MX", ["10 mx1.lab.test.", "20 mx2.lab.test."]),
        ("lab.test", "TXT"): ("TXT", ['"v=spf1 -all" "second"']),
        ("lab.test", "NS"): ("NS", ["ns.lab.test."]),
        ("www.lab.test", "CNAME"): ("CNAME", ["lab.test."]),
        ("127.0.0.1",): ("PTR", ["localhost.lab.test."]),
        ("1.0.0.127.in-addr.arpa", "PTR"): ("PTR", ["localhost.lab.test."]),
    }
    for words, (kind, data) in wanted.items():
        told = await asking.ok("nslookup", *words)
        assert (told["type"], sorted(each["data"] for each in told["records"])) == (kind, data)
    await asking.ok("nslookup", "lab.test", "MX")
    assert "MX=10 mx1.lab.test. TTL=1m" in asking.text
    assert "Authenticated (DNSSEC): no" in asking.text
    told = await asking.ok("nslookup", "_25._tcp.mx1.lab.test", "TLSA")
    assert len(told["records"]) == 5


async def test_dig_shows_the_whole_answer_with_the_aliases_on_the_way(asking: Desk) -> None:
    told = await asking.ok("dig", "www.lab.test")
    assert [(each["kind"], each["data"]) for each in told["records"]] == [
        ("CNAME", "lab.test."), ("A", "192.0.2.1"),
    ]  # fmt: skip
    assert "status: NOERROR, flags: qr aa rd; answer: 2" in asking.text
    assert ";www.lab.test. IN A" in asking.text
    assert "www.lab.test. 60 IN CNAME lab.test." in asking.text
    assert ";; SERVER: 127.0.0.1#" in asking.text


async def test_a_name_without_such_records_and_a_name_that_is_none_are_told_apart(asking: Desk) -> None:
    told = await asking.ok("nslookup", "lab.test", "TLSA")
    assert told["status"] == "NOERROR"
    assert "lab.test has no TLSA record." in asking.text
    assert "There is no name nobody.lab.test (NXDOMAIN)" in await asking.refused(
        "nslookup", "nobody.lab.test"
    )
    told = await asking.ok("dig", "nobody.lab.test")
    assert (told["status"], told["records"]) == ("NXDOMAIN", [])
    assert "(REFUSED). Name another server in dns.servers" in await asking.refused("nslookup", "other.test")


async def test_long_answers_are_cut_and_strange_characters_escaped(asking: Desk) -> None:
    told = await asking.ok("nslookup", "many.lab.test")
    assert (len(told["records"]), told["left_out"]) == (50, 70)
    assert "70 more records are not shown." in asking.text
    told = await asking.ok("dig", "long.lab.test", "TXT")
    assert told["records"][0]["data"].endswith("...")
    assert len(told["records"][0]["data"]) == 503
    told = await asking.ok("dig", "odd.lab.test", "TXT")
    assert told["records"][0]["data"] == '"\\027[31mred\\010"'


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("no name",), "'no name' is not a domain name"),
        (("192.0.2.1", "MX"), "192.0.2.1 is an address, which has PTR records only"),
        (("lab.test", "AXFR"), "AXFR"),
    ],
)
async def test_what_cant_be_asked_is_told_before_anybody_is_asked(words: tuple[str, ...], told: str) -> None:
    made = desk(free_port())
    for command in ("nslookup", "dig"):
        assert told in await made.refused(command, *words)


class Answering(asyncio.DatagramProtocol):
    """Answers by `answer`; None: not at all."""

    def __init__(self, answer: Callable[[dns.message.Message], dns.message.Message | None]) -> None:
        self._answer = answer

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
        self._transport = transport

    def datagram_received(self, data: bytes, peer: tuple[str, int]) -> None:
        answer = self._answer(dns.message.from_wire(data))
        if answer is not None:
            self._transport.sendto(answer.to_wire(), peer)


@asynccontextmanager
async def answering(
    answer: Callable[[dns.message.Message], dns.message.Message | None],
) -> AsyncIterator[int]:
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: Answering(answer), local_addr=("127.0.0.1", 0))
    try:
        yield transport.get_extra_info("sockname")[1]
    finally:
        transport.close()


def verified(query: dns.message.Message) -> dns.message.Message:
    """As a validating server does: the AD bit for those that know it (RFC 6840 §5.7)."""
    answer = dns.message.make_response(query)
    answer.flags |= dns.flags.RA | (query.flags & dns.flags.AD)
    return answer


async def test_a_server_that_verifies_signatures_says_so() -> None:
    async with answering(verified) as port:
        made = desk(port)
        assert (await made.ok("nslookup", "signed.test"))["authenticated"] is True
        assert "Authenticated (DNSSEC): yes, says the name server" in made.text
        await made.ok("dig", "signed.test")
        assert "flags: qr rd ra ad" in made.text
        assert ";; AUTHENTICATED: yes" in made.text


async def test_wrong_signatures_and_other_refusals_are_told_with_the_remedy() -> None:
    def servfail(query: dns.message.Message) -> dns.message.Message:
        answer = dns.message.make_response(query)
        answer.set_rcode(dns.rcode.SERVFAIL)
        return answer

    async with answering(servfail) as port:
        made = desk(port)
        told = await made.refused("nslookup", "broken.test")
        assert f"127.0.0.1#{port} got no answer for broken.test, or one whose signatures are wrong" in told
        assert (await made.ok("dig", "broken.test"))["status"] == "SERVFAIL"


async def test_a_server_that_is_silent_costs_the_time_out_and_is_named() -> None:
    async with answering(lambda _: None) as port:
        made = desk(port, timeout=0.2)
        for command in ("nslookup", "dig"):
            told = await made.refused(command, "silent.test")
            assert f"No answer from 127.0.0.1#{port} within 0.2 seconds. Look whether dns.servers" in told


async def test_who_may_only_read_asks_nobody() -> None:
    made = desk(free_port(), "read-only")
    assert "needs the role" in await made.refused("nslookup", "lab.test")
    assert "needs the role" in await made.refused("dig", "lab.test")


def test_tlsa_records_hold_no_names_so_that_many_of_them_are_read() -> None:
    query = dns.message.make_query("_25._tcp.mx.test", "TLSA")
    answer = dns.message.make_response(query)
    data = [f"3 1 1 {number:064x}" for number in range(20)]
    answer.answer.append(dns.rrset.from_text_list(query.question[0].name, 60, "IN", "TLSA", data))
    assert not too_much(answer.to_wire())


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0s"), (59, "59s"), (1800, "30m"), (3900, "1h 5m"), (90061, "1d 1h 1m 1s")]
)
def test_times_to_live_are_shown_as_people_say_them(seconds: int, text: str) -> None:
    assert lifetime(seconds) == text
