"""Lines about directories: for `ldap_debug` those of reference §7.4 and ours on TLS, which the reference does
not have; and what the mail log tells.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mxseal.events import directory as facts
from mxseal.events.event import Event
from mxseal.tls.facts import Diagnosis, StageTimes, TlsFacts

Line = tuple[str, str]
"""(level, text)."""
_LONGEST = 1000
_SECURITY = {"none": "without TLS", "starttls": "StartTLS", "ldaps": "LDAPS"}
_BIND = {"none": "anonymous", "password": "bind by password", "external": "bind by certificate (EXTERNAL)"}


def _cut(text: str, longest: int = _LONGEST) -> str:
    return text if len(text) <= longest else text[: longest - 3] + "..."


def _place(host: str, port: int) -> str:
    return f"({f'[{host}]' if ':' in host else host}:{port})"


# --- questions (reference §7.4) ---------------------------------------------------------------------------


def _asked(event: facts.LdapAsked) -> list[Line]:
    query = f"LDAP: ({event.kind}) Query {_cut(event.filter)}"
    return [("Debug", f"{query} to server {event.profile} {_place(event.host, event.port)}")]


def _answered(event: facts.LdapAnswered) -> list[Line]:
    query = f"LDAP: ({event.kind}) Query {_cut(event.filter)}"
    place = _place(event.host, event.port)
    returned = f"returned {event.results} results timestamp={event.at:.6f}"
    spent = f"LDAP: {place} search {event.seconds * 1000:.1f} ms"  # ours
    return [("Debug", f"{query} lookup success, {place} {returned}"), ("Debug", spent)]


def _failed(event: facts.LdapFailed) -> list[Line]:
    # Ours: the reference shows no line for a lookup that fails.
    query = f"LDAP: ({event.kind}) Query {_cut(event.filter)}"
    place = _place(event.host, event.port) if event.host else f"server {event.profile}:"
    return [("Warning", f"{query} lookup failed, {place} {_cut(event.reason)}")]


def _cleared(event: facts.LdapCacheCleared) -> list[Line]:
    return [("Debug", f"LDAP: Clearing LDAP cache of {event.profile}, {event.entries} entries")]


# --- connections: the first words are the reference's, TLS is ours ----------------------------------------


def _connecting(event: facts.LdapConnecting) -> list[Line]:
    how = _SECURITY.get(event.security, event.security)
    place = _place(event.host, event.port)
    return [("Debug", f"LDAP: connecting to server {event.profile} {place}, {how}")]


def _connected(event: facts.LdapConnected) -> list[Line]:
    place = _place(event.host, event.port)
    bind = _BIND.get(event.bind, event.bind)
    spent = _times(event.times, event.bind_seconds)
    lines = [*_tls(place, event.facts), *_certificates(place, event)]
    if event.diagnosis is not None:
        lines += _diagnosed(place, event.diagnosis)
    lines.append(("Debug", f"LDAP: connected to server {event.profile} {place}, {bind}, {spent}"))
    return lines


def _tls(place: str, tls: TlsFacts | None, level: str = "Debug") -> list[Line]:
    if tls is None:
        return []
    return [(level, f"LDAP: {place} TLS success protocol {tls.protocol} cipher {tls.cipher}")]


def _certificates(place: str, event: facts.LdapConnected) -> list[Line]:
    if event.facts is None:
        return []
    subject = _cut(event.facts.peer_subject or "none", 300)
    shown = f"server certificate {subject}, SHA-256 {event.facts.peer_sha256}, {_cut(event.verdict, 300)}"
    ours = f"client certificate {event.certificate or 'none'}"
    return [("Debug", f"LDAP: {place} TLS {shown}"), ("Debug", f"LDAP: {place} TLS {ours}")]


def _times(times: StageTimes, bind: float | None) -> str:
    spent = {
        "DNS": times.lookup,
        "connect": times.connect,
        "StartTLS": times.starttls,
        "TLS": times.handshake,
        "bind": bind,
    }
    return ", ".join(f"{name} {taken * 1000:.1f} ms" for name, taken in spent.items() if taken is not None)


def _unconnected(event: facts.LdapConnectionFailed) -> list[Line]:
    place = _place(event.host, event.port)
    lines = _tls(place, event.facts, "Info")
    lines.append(("Warning", f"LDAP: server {event.profile} {place} {_cut(event.reason)}"))
    if event.diagnosis is not None:
        lines += _diagnosed(place, event.diagnosis)
    return lines


def _diagnosed(place: str, diagnosis: Diagnosis) -> list[Line]:
    return [("Info", f"LDAP: {place} TLS diagnosis: {_cut(diagnosis.sentence(), 2000)}")]


TABLE: dict[type[Event], Callable[[Any], list[Line]]] = {
    facts.LdapConnecting: _connecting,
    facts.LdapConnected: _connected,
    facts.LdapConnectionFailed: _unconnected,
    facts.LdapAsked: _asked,
    facts.LdapAnswered: _answered,
    facts.LdapFailed: _failed,
    facts.LdapCacheCleared: _cleared,
}
"""Each event and the lines that tell it."""


def _undecided(event: facts.LdapRecipientUndecided) -> list[Line]:
    # Ours: the reference does not show what it says of a recipient whose directory is away.
    then = "accepted without it" if event.taken else "put off"
    who = f"MID {event.mid} ICID {event.icid} To: <{_cut(event.recipient)}>"
    return [("Warning", f"LDAP: {who} query {event.query} has no answer, {then}: {_cut(event.reason)}")]


def _ungrouped(event: facts.LdapGroupUndecided) -> list[Line]:
    who = f"ICID {event.icid} address {_cut(event.address)}"
    return [("Warning", f"LDAP: {who} group {event.group} has no answer, put off: {_cut(event.reason)}")]


def _acted(event: facts.LdapRecipientActed) -> list[Line]:
    # Reference §4.4.
    about = f"MID {event.mid}" if event.rid is None else f"MID {event.mid} RID {event.rid}"
    query, address = event.query, _cut(event.address)
    if event.action == "masquerade":
        about = f"{about} {event.header}:" if event.header else about
        return [("Info", f"LDAP: Masquerade query {query} {about} address {address} to {_cut(event.to)}")]
    if event.action == "group":
        return [("Info", f"LDAP: Group query {query} {about} address {address} is in {_cut(event.to)}")]
    text = f"LDAP: {event.action.capitalize()} query {query} {about} address {address}"
    if event.action == "reroute":
        host = event.route.removesuffix(":25")
        text = f"{text} to [({_cut(event.to)!r}, {host!r})]"
    return [("Info", text)]


def _deferred(event: facts.LdapMessageDeferred) -> list[Line]:
    # Ours: the message stays with the client.
    reason = _cut(event.reason)
    return [("Warning", f"LDAP: unable to process, MID {event.mid} ICID {event.icid} put off: {reason}")]


def _requeued(event: facts.LdapMessageRequeued) -> list[Line]:
    # Reference §7.1; the reason is ours.
    return [("Warning", f"LDAP: unable to process, MID {event.mid} requeued: {_cut(event.reason)}")]


def _reached(event: facts.LdapConnected) -> list[Line]:
    tls = event.facts
    how = (
        f"TLS success protocol {tls.protocol} cipher {tls.cipher}, {_cut(event.verdict, 300)}" if tls else ""
    )
    place = _place(event.host, event.port)
    return [("Info", f"LDAP: connected to server {event.profile} {place} {how or 'without TLS'}")]


MAIL_TABLE: dict[type[Event], Callable[[Any], list[Line]]] = {
    facts.LdapConnected: _reached,
    facts.LdapConnectionFailed: _unconnected,
    facts.LdapRecipientUndecided: _undecided,
    facts.LdapGroupUndecided: _ungrouped,
    facts.LdapRecipientActed: _acted,
    facts.LdapMessageDeferred: _deferred,
    facts.LdapMessageRequeued: _requeued,
}
"""What the mail log tells."""
MAIL_SILENT: frozenset[type[Event]] = frozenset(
    (
        facts.LdapConnecting,
        facts.LdapAsked,
        facts.LdapAnswered,
        facts.LdapFailed,
        facts.LdapCacheCleared,
    )
)
"""What only ldap_debug tells."""
