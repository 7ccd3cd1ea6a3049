"""`tlspeers`: what TLS with each peer was like, and what would break under a stricter level."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Literal

import apsw

from mxseal.commands.context import CommandFailed, Context
from mxseal.commands.parameters import Argument, Option
from mxseal.commands.registry import command
from mxseal.commands.results import Column, Field, Record, Result, Table
from mxseal.commands.times import moment
from mxseal.storage.peers import JUDGED, Direction, Names, Peer
from mxseal.tls.observed import one_line

Judged = Literal["preferred", "required", "preferred-verify", "required-verify", "required-verify-hosted"]
_VERDICTS: dict[bool | None, str] = {True: "passes", False: "would fail", None: "not known"}
_ORDER: dict[bool | None, int] = {False: 0, None: 1, True: 2}
_NAMES: dict[Names, str] = {
    "matched": "match",
    "differs": "do not match",
    "open": "depends on the reverse name",
    "": "-",
}


class _Shown(Table, frozen=True):
    """A table whose JSON has the records in full."""

    value: Any = None

    def to_json(self) -> Any:
        return self.value


@command("tlspeers", role="read-only", summary="Show what TLS with each peer was like, and what would fail")
async def tlspeers(
    ctx: Context,
    domain: Annotated[str | None, Argument("A domain, or the name of a host: shows all about it")] = None,
    *,
    direction: Annotated[
        Direction | None, Option("Only who we send to (out), or who sends to us (in)")
    ] = None,
    would_fail: Annotated[Judged | None, Option("Whose mail would not pass under this TLS level")] = None,
    limit: Annotated[int, Option("How many rows to show", least=1, most=100_000)] = 200,
) -> Result:
    """Each handshake is verified, whatever the level asks for, and the last one of each peer is kept for a
    year, with the numbers of connections and messages. 'Would pass' names the levels under which mail would
    have gone over the last connection. What the last seconds brought may be missing.

    Example: tlspeers --direction out --would-fail required
    """
    found = await _read(ctx, domain, direction)
    if would_fail is not None:
        return _failing(found, would_fail, limit, ctx.services.now())
    if domain is not None:
        return _details(found, domain)
    rows = tuple(_row(peer) for peer in found[:limit])
    return _Shown(
        _COLUMNS,
        rows,
        "TLS by peer",
        "Nothing is recorded yet.",
        _more(len(found), limit),
        _plain(found[:limit]),
    )


async def _read(ctx: Context, domain: str | None, direction: Direction | None) -> list[Peer]:
    try:
        return await asyncio.to_thread(ctx.services.peers.read, (domain or "").lower(), direction)
    except (apsw.Error, OSError) as error:
        raise CommandFailed(
            f"The record of TLS by peer can't be read: {error}. The next start of the gateway sets a damaged "
            "file aside and begins another"
        ) from None


_COLUMNS = (
    Column("Direction"),
    Column("Domain", cut=40),
    Column("Host", cut=40),
    Column("Last TLS", "tls"),
    Column("Verified"),
    Column("Would pass"),
    Column("TLS", "over_tls"),
    Column("Clear"),
    Column("Failed"),
    Column("Last seen"),
)


def _row(peer: Peer) -> tuple[str | int | None, ...]:
    return (
        peer.direction,
        one_line(peer.domain),
        one_line(peer.host) or None,
        _how(peer),
        _verified(peer),
        _levels(peer),
        peer.tls,
        peer.clear,
        peer.failed + peer.broken,
        moment(peer.last),
    )


def _how(peer: Peer) -> str | None:
    facts = peer.facts
    if facts is None:
        return None
    return facts.protocol or {"clear": "none", "failed": "failed"}.get(facts.outcome, facts.outcome)


def _verified(peer: Peer) -> str | None:
    if peer.facts is None or peer.facts.trusted is None:
        return None
    if not peer.facts.trusted:
        return "no"
    matched = "matched" in (peer.facts.names, peer.facts.names_hosted) or peer.direction == "in"
    return "yes" if matched else "chain, not the name"


def _levels(peer: Peer) -> str | None:
    if peer.facts is None:
        return None
    passing = [level for level in JUDGED if level in peer.facts.passes]
    return "all" if len(passing) == len(JUDGED) else ", ".join(passing) or "none"


def _more(count: int, limit: int) -> str:
    if count <= limit:
        return ""
    return f"{count - limit} more are not shown: name a domain, or raise --limit."


def _plain(peers: Iterable[Peer]) -> list[dict[str, Any]]:
    return [_value(peer) for peer in peers]


def _value(peer: Peer) -> dict[str, Any]:
    facts = peer.facts
    return {
        "direction": peer.direction,
        "domain": peer.domain,
        "host": peer.host,
        "first": peer.first,
        "last": peer.last,
        "connections": {"tls": peer.tls, "clear": peer.clear, "failed": peer.failed, "broken": peer.broken},
        "messages": {"tls": peer.messages_tls, "clear": peer.messages_clear},
        "levels": {
            level: {
                "passes": peer.passes(level),
                "passed": peer.passed.get(level, 0),
                "refused": peer.refused.get(level, 0),
            }
            for level in JUDGED
        },
        "facts_at": peer.facts_at or None,
        "facts": {name: getattr(facts, name) for name in facts.__struct_fields__} if facts else None,
    }


# --- one domain -------------------------------------------------------------------------------------------


class _Details(Record, frozen=True):
    """A record whose JSON has the peers in full."""

    value: Any = None

    def to_json(self) -> Any:
        return self.value


def _details(found: Sequence[Peer], domain: str) -> Result:
    if not found:
        raise CommandFailed(
            f"Nothing is recorded about {one_line(domain)}: no mail went there or came from there within a "
            "year, or the record was full. Senders are listed by the domain of their host, or by its "
            "address: see tlspeers --direction in"
        )
    fields = [field for peer in found for field in _fields(peer)]
    return _Details(tuple(fields), f"TLS with {one_line(domain)}", _plain(found))


def _fields(peer: Peer) -> list[Field]:
    way = f"to {one_line(peer.domain)} at {one_line(peer.host)}" if peer.direction == "out" else ""
    section = f"Deliveries {way}" if way else f"Mail from {one_line(peer.domain)}"
    told: list[tuple[str, str | int]] = [
        ("First seen", moment(peer.first)),
        ("Last seen", moment(peer.last)),
        ("Connections over TLS", peer.tls),
        ("Connections in clear", peer.clear),
        ("Connections whose TLS failed", peer.failed),
        ("Connections that broke before", peer.broken),
        ("Messages over TLS", peer.messages_tls),
        ("Messages in clear", peer.messages_clear),
        *_facts(peer),
    ]
    verdicts = (
        (
            level,
            f"{_VERDICTS[peer.passes(level)]} ({peer.passed[level]} passed, {peer.refused[level]} would not)",
        )
        for level in JUDGED
        if peer.direction == "out" or level != "required-verify-hosted"
    )
    told += verdicts if peer.facts is not None else ()
    return [Field(label, value, section=section) for label, value in told]


def _facts(peer: Peer) -> list[tuple[str, str | int]]:
    facts = peer.facts
    if facts is None:
        return []
    told: list[tuple[str, str | int]] = [
        ("Last told", moment(peer.facts_at)),
        ("TLS then", _how(peer) or "-"),
    ]
    if facts.level:
        told.append(("Level then", facts.level))
    if facts.cipher:
        told.append(("Cipher, group", f"{facts.cipher}, {facts.group or 'no group'}"))
    if facts.trusted is not None:
        told.append(("Chain", "verified" if facts.trusted else one_line(facts.chain_error) or "not verified"))
    if facts.names or facts.names_hosted:
        told.append(("Names", f"{_NAMES[facts.names]}; by the rules of hosted: {_NAMES[facts.names_hosted]}"))
        sign = "" if not facts.name else f"{one_line(facts.name)} for {one_line(facts.expected)}"
        told += [("Nearest name", sign)] if sign else []
    if facts.sha256:
        told.append(("Certificate", f"{one_line(facts.subject) or '-'}, SHA-256 {facts.sha256}"))
    if facts.issuer:
        told.append(("Issued by", one_line(facts.issuer)))
    if facts.expires is not None:
        told.append(("Expires", _day(facts.expires)))
    if facts.reason:
        told.append(("Diagnosis", one_line(facts.reason)))
    return told


def _day(at: float) -> str:
    try:
        return moment(at)
    except (ValueError, OverflowError, OSError):  # a certificate may name a year that no calendar has
        return "?"


# --- what would break -------------------------------------------------------------------------------------


def _failing(found: Sequence[Peer], level: Judged, limit: int, now: float) -> Result:
    hit = [peer for peer in found if peer.refused.get(level) or peer.passes(level) is False]
    hit.sort(key=lambda peer: (_ORDER[peer.passes(level)], -peer.refused.get(level, 0), -peer.last))
    columns = (
        Column("Direction"),
        Column("Domain", cut=40),
        Column("Host", cut=40),
        Column("Now"),
        Column("Would fail", "would_fail"),
        Column("Of connections", "connections"),
        Column("In clear", "clear"),
        Column("TLS failed", "failed"),
        Column("Messages in clear", "messages_clear"),
        Column("Last seen"),
        Column("Why", cut=70),
    )
    rows = tuple(
        (
            peer.direction,
            one_line(peer.domain),
            one_line(peer.host) or None,
            _VERDICTS[peer.passes(level)],
            peer.refused.get(level, 0),
            _told(peer),
            peer.clear,
            peer.failed,
            peer.messages_clear,
            moment(peer.last),
            _why(peer, level),
        )
        for peer in hit[:limit]
    )
    totals = _totals(found, level)
    value = {
        "level": level,
        "since": min((peer.first for peer in found), default=None),
        "until": now,
        "totals": totals,
        "peers": _plain(hit[:limit]),
    }
    note = " ".join(filter(None, (_summary(found, level, totals), _more(len(hit), limit))))
    title = f"What would fail under {level}"
    empty = f"Nothing that was recorded would fail under {level}. {note}"
    return _Shown(columns, rows, title, empty, note if rows else "", value)


def _told(peer: Peer) -> int:
    """Connections that told anything about TLS."""
    return peer.tls + peer.clear + peer.failed


def _why(peer: Peer, level: str) -> str | None:
    facts = peer.facts
    if facts is None or peer.passes(level) is not False:
        return None
    if facts.outcome == "tls" and not facts.reason:
        if facts.chain_error:
            return one_line(facts.chain_error)
        return f"the nearest name is {one_line(facts.name)}" if facts.name else "no certificate is known"
    return one_line(facts.reason) or ("mail comes in clear" if facts.outcome == "clear" else "TLS fails")


def _totals(found: Sequence[Peer], level: str) -> dict[str, int]:
    failing = {(peer.direction, peer.domain) for peer in found if peer.passes(level) is False}
    ever = {(peer.direction, peer.domain) for peer in found if peer.refused.get(level)}
    unknown = {(peer.direction, peer.domain) for peer in found if peer.facts and peer.passes(level) is None}
    return {
        "domains": len({(peer.direction, peer.domain) for peer in found}),
        "domains_failing_now": len(failing),
        "domains_failed_before": len(ever - failing),
        "domains_not_known": len(unknown - failing - ever),
        "connections": sum(map(_told, found)),
        "connections_failing": sum(peer.refused.get(level, 0) for peer in found),
        "messages": sum(peer.messages_tls + peer.messages_clear for peer in found),
        "messages_in_clear": sum(peer.messages_clear for peer in found),
    }


def _summary(found: Sequence[Peer], level: str, totals: dict[str, int]) -> str:
    if not found:
        return "Nothing is recorded yet."
    since = moment(min(peer.first for peer in found))
    return (
        f"Of {totals['domains']} domains since {since}, {totals['domains_failing_now']} would fail now under "
        f"{level} and {totals['domains_failed_before']} did before; of {totals['domains_not_known']} it is "
        f"not known. {totals['connections_failing']} of {totals['connections']} connections would have "
        f"failed; {totals['messages_in_clear']} of {totals['messages']} messages went in clear."
    )
