"""`nslookup` and `dig`: what the name servers that deliveries ask say about a name (reference §6)."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from mxseal.clock import SystemClock
from mxseal.commands.context import CommandFailed, Context, Role
from mxseal.commands.parameters import Argument
from mxseal.commands.registry import command
from mxseal.commands.results import Data, Result
from mxseal.relay.lookup import Found, Kind, Unanswered, look, question

_TESTERS: tuple[Role, ...] = ("operator", "certificate-officer")
_UNITS = ((86_400, "d"), (3600, "h"), (60, "m"))
_BECAUSE = {
    "NXDOMAIN": "There is no name {name} (NXDOMAIN), says {server}",
    "SERVFAIL": "{server} got no answer for {name}, or one whose signatures are wrong (SERVFAIL). Ask the "
    "domain's owner to look at its name servers and its DNSSEC",
    "REFUSED": "{server} does not answer this gateway (REFUSED). Name another server in dns.servers",
}

Name = Annotated[
    str, Argument("A name, or an address", ask="Please enter the host or IP address to resolve:")
]
Type = Annotated[
    Kind | None, Argument("Type of the records; left out: A, or PTR for an address", metavar="TYPE")
]


@command("nslookup", role=_TESTERS, summary="Ask the name servers of this gateway about a name")
async def nslookup(ctx: Context, name: Name, type_: Type = None) -> Result:
    """The name servers in force are asked just now; deliveries may still know an answer of the last hour.
    'Authenticated' means that the name server says that it verified the answer with DNSSEC. The status is 1
    when there is no such name, or no answer."""
    found = await _ask(ctx, name, type_)
    if found.status != "NOERROR":
        text = _BECAUSE.get(found.status, "{server} answered {status} for {name}")
        server = found.server or "the name server"
        told = text.format(name=found.name, server=server, status=found.status)
        raise CommandFailed(told[0].upper() + told[1:])
    lines = [f"{record.kind}={record.data} TTL={lifetime(record.ttl)}" for record in found.records]
    if not found.own:
        lines.append(f"{found.name} has no {found.kind} record.")
    lines += _left_out(found)
    told = "yes, says the name server" if found.authenticated else "no"
    lines.append(f"Authenticated (DNSSEC): {told}")
    return Data("\n".join(lines), _value(found))


@command("dig", role=_TESTERS, summary="The same, with the whole answer as dig shows it")
async def dig(ctx: Context, name: Name, type_: Type = None) -> Result:
    """The name servers in force are asked just now. 'ad' among the flags: the name server says that it
    verified the answer with DNSSEC. Another answer than NOERROR, such as NXDOMAIN, is shown and is no
    failure."""
    found = await _ask(ctx, name, type_)
    lines = [
        f";; status: {found.status}, flags: {found.flags}; answer: {len(found.records) + found.left_out}",
        "",
        ";; QUESTION SECTION:",
        f";{found.name}. IN {found.kind}",
    ]
    if found.records:
        records = (f"{record.name}. {record.ttl} IN {record.kind} {record.data}" for record in found.records)
        lines += ["", ";; ANSWER SECTION:", *records]
    lines += [f";; {line}" for line in _left_out(found)]
    lines += ["", f";; Query time: {round(found.seconds * 1000)} msec"]
    if found.server:
        lines.append(f";; SERVER: {found.server}")
    lines.append(f";; AUTHENTICATED: {'yes' if found.authenticated else 'no'}")
    return Data("\n".join(lines), _value(found))


async def _ask(ctx: Context, name: str, kind: Kind | None) -> Found:
    """Raises CommandFailed for what is no name, and when nobody answers."""
    try:
        wanted, asked = question(name, kind)
    except ValueError as error:
        raise CommandFailed(str(error), 2) from None
    try:
        return await look(ctx.services.history.current().document.dns, SystemClock(), wanted, asked)
    except Unanswered as failure:
        raise CommandFailed(str(failure)) from None


def _left_out(found: Found) -> list[str]:
    return [f"{found.left_out} more records are not shown."] if found.left_out else []


def _value(found: Found) -> dict[str, Any]:
    return {**msgspec.to_builtins(found), "type": found.kind}


def lifetime(seconds: int) -> str:
    """'30m', '1h 5m', '0s': as the reference shows a time to live."""
    parts: list[str] = []
    left = seconds
    for size, unit in _UNITS:
        if left >= size:
            parts.append(f"{left // size}{unit}")
            left %= size
    if left or not parts:
        parts.append(f"{left}s")
    return " ".join(parts)
