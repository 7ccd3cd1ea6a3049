"""Which logs a document wants: those that are always there, those that it adds, with all their values. PURE.

The four of the gateway can be changed and not removed: `findevent`, `grep` and whoever has to know what
administrators did depend on them. `logs.json_log` alone switches one off.
"""

from __future__ import annotations

import msgspec

from mxseal.config.model import Document, LogKind, Logs, LogSubscription, SyslogPush

KINDS: dict[LogKind, str] = {
    "mail": "Text Mail Logs",
    "json": "JSON Event Logs",
    "authentication": "Authentication Logs",
    "audit": "Audit Logs",
    "ldap": "LDAP Debug Logs",
    "amp": "AMP Engine Logs",
}
"""As tables of logs show them."""
_FILES: dict[LogKind, str] = {
    "mail": "mail",
    "json": "json",
    "authentication": "authentication",
    "audit": "audit",
    "ldap": "ldap",
    "amp": "amp",
}
ALWAYS: dict[str, LogKind] = {
    "mail_logs": "mail",
    "json_logs": "json",
    "authentication": "authentication",
    "audit_logs": "audit",
}
"""The logs that every gateway has, by name."""
LEADER_ONLY: frozenset[LogKind] = frozenset({"authentication", "audit"})
"""Kinds about administrators, who all come to the leading process: no other writes them."""
_OVERRIDES = ("level", "rotate_bytes", "rotate_seconds", "keep_files", "keep_days")


class LogWanted(msgspec.Struct, frozen=True, kw_only=True):
    """One log with all its values."""

    name: str
    kind: LogKind
    filename: str
    logs: Logs
    """`[logs]` with what the subscription says otherwise."""
    push: SyslogPush | None = None

    @property
    def label(self) -> str:
        return KINDS[self.kind]


def wanted(document: Document) -> tuple[LogWanted, ...]:
    """All logs of a document: the gateway's own first."""
    own = {entry.name: entry for entry in document.log_subscriptions}
    plain = [LogSubscription(name=name, kind=kind) for name, kind in ALWAYS.items()]
    entries = [*(own.pop(entry.name, entry) for entry in plain), *own.values()]
    found = [_wanted(entry, document.logs) for entry in entries]
    return tuple(log for log in found if document.logs.json_log or log.name != "json_logs")


def _wanted(entry: LogSubscription, logs: Logs) -> LogWanted:
    # Whoever has a log of directories wants to see each question, which is told at Debug.
    usual = {"level": "Debug"} if entry.kind == "ldap" else {}
    said = {key: value for key in _OVERRIDES if (value := getattr(entry, key)) is not None}
    return LogWanted(
        name=entry.name,
        kind=entry.kind,
        filename=entry.filename or _FILES[entry.kind],
        logs=logs.model_copy(update=usual | said),
        push=entry.push,
    )


def port_of(push: SyslogPush) -> int:
    return push.port or (6514 if push.transport == "tls" else 514)


def framing_of(push: SyslogPush) -> str:
    """RFC 5425 §4.3 leaves no choice with TLS."""
    return push.framing or ("octets" if push.transport == "tls" else "newline")
