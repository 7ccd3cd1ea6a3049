"""Asking directories by hand, with each step and the TLS said aloud; what goes on, and forgetting it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any

import msgspec

from mxseal.certs.live import ContextsRefused
from mxseal.commands.certificates import Listing, candidate
from mxseal.commands.checks import Piece
from mxseal.commands.context import CommandFailed, Context
from mxseal.commands.ldapconfig import known_profile, profile_names, unknown
from mxseal.commands.ldapgroups import group_names
from mxseal.commands.ldapqueries import query_names
from mxseal.commands.parameters import Argument, Option
from mxseal.commands.registry import command
from mxseal.commands.results import Column, Done, Result, Stream
from mxseal.config.check_ldap import RULES, kinds
from mxseal.config.model import Document
from mxseal.directory.directories import Directories
from mxseal.directory.questions import Match, Question
from mxseal.directory.state import ProfileState
from mxseal.events import directory as facts
from mxseal.events.event import Event
from mxseal.ldap.conversation import one_line
from mxseal.ldap.filters import Values
from mxseal.ldap.values import Fault
from mxseal.tls.facts import Diagnosis, StageTimes, TlsFacts

_FINISHED = "LDAP query test finished."
_BIND = {"none": "anonymous", "password": "by password", "external": "by client certificate (EXTERNAL)"}
_SHOWN = 5


def _value(chunk: str) -> Any:
    return chunk.value if isinstance(chunk, Piece) else {"line": chunk.rstrip("\n")}


# --- steps in words ---------------------------------------------------------------------------------------


def _connecting(event: facts.LdapConnecting) -> list[str]:
    how = {"none": "without TLS", "starttls": "StartTLS", "ldaps": "LDAPS"}[event.security]
    return [f"Connecting to {event.host} on port {event.port}, {how}."]


def _connected(event: facts.LdapConnected) -> list[str]:
    lines = _tls(event.facts, event.certificate)
    if event.facts is not None:
        lines.append(f"Server certificate: {event.verdict}.")
    if event.diagnosis is not None:
        lines += _diagnosed(event.diagnosis)
    return [
        *lines,
        f"Bind {_BIND[event.bind]}: success.",
        f"Connected: {_times(event.times, event.bind_seconds)}.",
    ]


def _tls(tls: TlsFacts | None, certificate: str | None) -> list[str]:
    if tls is None:
        return []
    return [
        f"TLS connection established: protocol {tls.protocol}, cipher {tls.cipher}.",
        f"Server certificate: {one_line(tls.peer_subject or 'none')}, SHA-256 {tls.peer_sha256}.",
        f"Client certificate: {certificate or 'none'}.",
    ]


def _times(times: StageTimes, bind: float | None) -> str:
    spent = {
        "DNS": times.lookup,
        "connect": times.connect,
        "StartTLS": times.starttls,
        "TLS": times.handshake,
        "bind": bind,
    }
    return ", ".join(f"{name} {taken * 1000:.1f} ms" for name, taken in spent.items() if taken is not None)


def _unconnected(event: facts.LdapConnectionFailed) -> list[str]:
    lines = _tls(event.facts, event.certificate)
    lines.append(f"Error: {event.reason}")
    if event.diagnosis is not None:
        lines += _diagnosed(event.diagnosis)
    return lines


def _diagnosed(diagnosis: Diagnosis) -> list[str]:
    rows = (
        ("What happened", diagnosis.summary),
        ("Evidence", diagnosis.evidence),
        ("What to do", diagnosis.remedy),
    )
    return [f"  {label}: {text}" for label, text in rows if text]


def _asked(event: facts.LdapAsked) -> list[str]:
    return [f"Query {event.query} ({event.kind}): {event.filter}"]


def _answered(event: facts.LdapAnswered) -> list[str]:
    return [f"Lookup success, {event.results} results in {event.seconds * 1000:.1f} ms."]


def _failed(event: facts.LdapFailed) -> list[str]:
    return [f"Lookup failed: {event.reason}."]


_STEPS: dict[type[Event], Callable[[Any], list[str]]] = {
    facts.LdapConnecting: _connecting,
    facts.LdapConnected: _connected,
    facts.LdapConnectionFailed: _unconnected,
    facts.LdapAsked: _asked,
    facts.LdapAnswered: _answered,
    facts.LdapFailed: _failed,
}


class _Steps:
    """What was heard since somebody looked."""

    def __init__(self) -> None:
        self._lines: list[Piece] = []

    def hear(self, event: Event) -> None:
        render = _STEPS.get(type(event))
        for line in render(event) if render is not None else ():
            self._lines.append(_line(line))

    def taken(self) -> list[Piece]:
        lines, self._lines = self._lines, []
        return lines


def _line(text: str, value: Any = None) -> Piece:
    return Piece(f"{text}\n", value if value is not None else {"line": text})


# --- ldaptest ---------------------------------------------------------------------------------------------


@command("ldaptest", role="operator", summary="Ask an LDAP query about an address, step by step")
async def ldaptest(
    ctx: Context,
    query: Annotated[
        str, Argument("A query or a chain", complete=query_names, ask="Select which LDAP query to test:")
    ],
    address: Annotated[str, Argument("user@example.com", ask="Address to use in query:")],
    *,
    sender: Annotated[str, Option("What {f} stands for")] = "",
    group: Annotated[
        str,
        Option("What {g} stands for: a directory group by its name, or the DN of one", complete=group_names),
    ] = "",
) -> Result:
    """With your uncommitted changes, over connections of its own and without the answers that are kept. Each
    step is told: connection, TLS with the server's certificate and the verdict on it, bind, question, answer.
    """
    document = candidate(ctx)
    known = kinds(document)
    name = next((each for each in known if each.lower() == query.lower()), None)
    if name is None:
        raise CommandFailed(unknown("LDAP query", query, known))
    steps = _Steps()
    made = _trying(ctx, document, steps)
    question = made.book.question(name)
    assert question is not None, "the rules hold"
    dn = next((each.group for each in document.ldap_groups if each.name.lower() == group.lower()), group)
    values = Values(address=address, sender=sender, group=dn)
    return Stream(_test(made, question, values, steps), _value)


def _trying(ctx: Context, document: Document, steps: _Steps) -> Directories:
    """The candidate's directories. Raises CommandFailed where it is not in order."""
    broken = [problem for rule in RULES for problem in rule(document)]
    if broken:
        raise CommandFailed(str(broken[0]))
    try:
        return ctx.services.directories.trying(document, steps.hear)
    except ContextsRefused as refused:
        raise CommandFailed(str(refused).splitlines()[0]) from None


async def _test(made: Directories, question: Question, values: Values, steps: _Steps) -> AsyncIterator[str]:
    try:
        found = await question.ask(values)
        for line in steps.taken():
            yield line
        for line in _result(question, found):
            yield line
        yield _line(_FINISHED)
    finally:
        made.stop()


def _result(question: Question, found: Match | Fault) -> list[Piece]:
    about = {"query": question.name, "kind": question.kind}
    if isinstance(found, Fault):
        text = f"Result: no answer ({found.text}). What then happens is set where the query is used."
        return [_line(text, {"result": "no-answer", "reason": found.text} | about)]
    lines = [_line(f"  {one_line(entry.name)}") for entry in found.found.entries[:_SHOWN]]
    word = "match" if found else "no match"
    by = f" by {found.query}" if found and found.query != question.name else ""
    value = {"result": "match" if found else "no-match", "results": found.found.count} | about
    for label, text in (("Host", found.host), ("Address", found.address)):
        if text:
            lines.append(_line(f"  {label}: {one_line(text)}", {label.lower(): text}))
    return [*lines, _line(f"Result: {word}{by}.", value)]


@command("ldapconfig", "test", role="operator", summary="Connect to every host of an LDAP profile")
async def ldapconfig_test(
    ctx: Context,
    name: Annotated[str, Argument("Name of the profile", complete=profile_names, ask="Which LDAP profile:")],
) -> Result:
    """With your uncommitted changes. Each host is connected to and logged in at."""
    document = candidate(ctx)
    profile = known_profile(document, name)
    steps = _Steps()
    made = _trying(ctx, document, steps)
    return Stream(_each(made, profile.name, steps), _value)


async def _each(made: Directories, name: str, steps: _Steps) -> AsyncIterator[str]:
    try:
        async for server, found in made.book.profiles[name].trial():
            for line in steps.taken():
                yield line
            status = f"Error: {found.text}" if isinstance(found, Fault) else "success"
            value = {"host": server.name, "status": status}
            yield _line(f"Connection Status of {server.name}: {status}.", value)
    finally:
        made.stop()


# --- what they do -----------------------------------------------------------------------------------------


@command("ldapstatus", role="read-only", summary="Show connections and kept answers of each directory")
async def ldapstatus(ctx: Context) -> Result:
    """Of all workers together, since their start."""
    states = await ctx.services.directories.states()
    columns = (
        Column("Profile", cut=20),
        Column("Host", cut=36),
        Column("Connections"),
        Column("Pending"),
        Column("Answered"),
        Column("Failed"),
        Column("Time-outs", "timeouts"),
        Column("State"),
        Column("Last error", cut=60),
    )
    rows = [
        (
            state.name,
            host.host,
            host.connections,
            host.pending,
            host.answered,
            host.failed,
            host.timeouts,
            f"rests {host.resting:.0f} s" if host.resting else "in use",
            host.last_error or None,
        )
        for state in states
        for host in state.hosts
    ]
    caches = [
        f"{state.name} keeps {state.cache.entries} answers of at most {state.cache.most}, "
        f"{state.cache.negative} of them 'not found': {state.cache.hits} hits, {state.cache.misses} misses, "
        f"{state.cache.dropped} gave way to newer ones."
        for state in states
    ]
    return Listing(
        columns,
        tuple(rows),
        title="LDAP",
        empty="No LDAP profile is in force.",
        note="\n".join(caches),
        facts=tuple(_plain(state) for state in states),
    )


def _plain(state: ProfileState) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(state)
    return plain


@command("ldapflush", role="operator", summary="Forget the answers of directories that are kept")
async def ldapflush(
    ctx: Context,
    profile: Annotated[str, Argument("Of this profile; without it, of all", complete=profile_names)] = "",
) -> Result:
    """What the directory says now then counts at once."""
    names: tuple[str, ...] = ()
    if profile:
        names = (known_profile(ctx.services.history.current().document, profile).name,)
    count = await ctx.services.directories.clear(names)
    whose = f" of {names[0]}" if names else ""
    return Done(f"{count} kept answers{whose} were forgotten.", {"entries": count, "profiles": list(names)})
