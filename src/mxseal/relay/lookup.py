"""One question to the name servers that the relay asks, with all that the answer says.

For people who look for the reason of something: nothing is taken from the relay's cache. What is parsed, how
long is waited and how much is kept is bounded as for the relay (`resolver`, `answers`).
"""

from __future__ import annotations

import ipaddress
from typing import Any, Literal, cast, get_args

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.resolver
import dns.reversename
import msgspec

from mxseal.clock import Clock
from mxseal.config.model import Dns
from mxseal.config.values import domain_name
from mxseal.relay.answers import Bounded
from mxseal.relay.resolver import resolver_for

Kind = Literal["A", "AAAA", "MX", "TXT", "PTR", "TLSA", "CNAME", "NS"]
KINDS: tuple[Kind, ...] = get_args(Kind)
RECORDS = 50
"""Of one answer; the others are counted only."""
_DATA = 500
"""Characters of one record: a TXT record may have 64 KiB."""


class Record(msgspec.Struct, frozen=True):
    """One record of the answer: owner, seconds to live, type, data. All ASCII, special characters escaped."""

    name: str
    ttl: int
    kind: str
    data: str


class Found(msgspec.Struct, frozen=True):
    """What a name server answered, whatever it was."""

    name: str
    kind: str
    status: str
    """The response code: NOERROR, NXDOMAIN, SERVFAIL, REFUSED… (RFC 6895 §2.3)."""
    records: tuple[Record, ...]
    """With the aliases on the way to the name."""
    left_out: int
    """Records above the bound."""
    authenticated: bool
    """The name server says that it verified the answer with DNSSEC (the AD bit, RFC 4035 §3.2.3). It is worth
    as much as the way to that server."""
    flags: str
    server: str
    """'127.0.0.1#53'."""
    seconds: float

    @property
    def own(self) -> tuple[Record, ...]:
        """The records of the type that was asked for."""
        return tuple(record for record in self.records if record.kind == self.kind)


class Unanswered(Exception):
    """No name server answered; the text says why, and what to do."""


def question(name: str, kind: Kind | None) -> tuple[str, Kind]:
    """(name, type) to ask for: A when no type is given, PTR for an address. Raises ValueError."""
    try:
        address = str(ipaddress.ip_address(name.strip()))
    except ValueError:
        return domain_name(name), kind or "A"
    if kind not in (None, "PTR"):
        raise ValueError(f"{address} is an address, which has PTR records only: leave out {kind}")
    return dns.reversename.from_address(address).to_text(omit_final_dot=True), "PTR"


async def look(settings: Dns, clock: Clock, name: str, kind: Kind) -> Found:
    """Ask for `name`, which `question` gave. Raises Unanswered."""
    resolver = resolver_for(settings)
    # Without this bit a server need not tell whether it verified (RFC 6840 §5.7).
    resolver.set_flags(dns.flags.RD | dns.flags.AD)
    began = clock.monotonic()
    response: dns.message.Message
    try:
        answer = await resolver.resolve(
            name, kind, raise_on_no_answer=False, search=False, backend=cast("Any", Bounded())
        )
        response, server = answer.response, f"{answer.nameserver}#{answer.port}"
    except dns.resolver.NXDOMAIN as error:
        response, server = error.response(dns.name.from_text(name)), ""  # type: ignore[no-untyped-call]
    except (dns.resolver.NoNameservers, dns.resolver.LifetimeTimeout) as error:
        response, server = _refused(error, settings)
    except (dns.exception.DNSException, OSError, ValueError) as error:
        raise Unanswered(f"The answer can't be used: {_short(str(error))}") from None
    return _found(response, name, kind, server, clock.monotonic() - began)


def _refused(error: dns.exception.DNSException, settings: Dns) -> tuple[dns.message.Message, str]:
    """The last answer that was none, such as SERVFAIL. Raises Unanswered when there was not even that."""
    tried = error.kwargs.get("errors", ())
    for server, _tcp, port, _why, response in reversed(tried):
        if response is not None:
            return response, f"{_address(server)}#{port}"
    servers = dict.fromkeys(f"{_address(server)}#{port}" for server, _, port, _, _ in tried)
    asked = ", ".join(servers) or "the name server"
    why = _short(str(tried[-1][3])) if tried else ""
    reason = "" if not why or "timed out" in why else f" ({why})"
    raise Unanswered(
        f"No answer from {asked} within {settings.timeout:g} seconds{reason}. Look whether dns.servers, or "
        "/etc/resolv.conf where it names none, is right, and whether port 53 is open over UDP and TCP"
    )


def _address(server: object) -> str:
    """'127.0.0.1' of dnspython's 'Do53:127.0.0.1@53'."""
    return str(server).removeprefix("Do53:").partition("@")[0]


def _short(text: str) -> str:
    return text.splitlines()[0][:200] if text else "nothing is said about why"


def _found(response: dns.message.Message, name: str, kind: str, server: str, seconds: float) -> Found:
    total = sum(len(rrset) for rrset in response.answer)
    records: list[Record] = []
    for rrset in response.answer:
        owner = rrset.name.to_text(omit_final_dot=True)
        told = dns.rdatatype.to_text(rrset.rdtype)
        for data in list(rrset)[: RECORDS - len(records)]:
            text = data.to_text()
            shown = text if len(text) <= _DATA else f"{text[:_DATA]}..."
            records.append(Record(owner, rrset.ttl, told, shown))
    return Found(
        name=name,
        kind=kind,
        status=dns.rcode.to_text(response.rcode()),
        records=tuple(records),
        left_out=total - len(records),
        authenticated=bool(response.flags & dns.flags.AD),
        flags=dns.flags.to_text(response.flags).lower(),
        server=server,
        seconds=seconds,
    )
