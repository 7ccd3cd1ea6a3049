"""The log `audit_logs`: who did what from where, and how it ended. Ours: the reference tells no lines of it.

Words come without secrets (`commands.words.redact`); what strangers type as a name is bounded.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable
from typing import Any

from mxseal.events import types as facts
from mxseal.events.types import Event
from mxseal.sinks.maillog import Line

_LONGEST_NAME = 64
_LONGEST_COMMAND = 2000
_LONGEST_MESSAGE = 1000


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else text[: longest - 3] + "..."


def _who(user: str, role: str, face: str, remote: str) -> str:
    privilege = f", Privilege: {role}" if role else ""
    return f"User: {_cut(user, _LONGEST_NAME)}{privilege}, Source: {remote or 'local'}, Face: {face}"


def _command(event: facts.CommandRun) -> list[Line]:
    said = _cut(shlex.join(event.words), _LONGEST_COMMAND)
    because = f" ({_cut(event.message, _LONGEST_MESSAGE)})" if event.message else ""
    who = _who(event.user, event.role, event.face, event.remote)
    level = "Warning" if event.outcome in ("refused", "internal") else "Info"
    return [(level, f"{who}, Command: {said}, Outcome: {event.outcome}{because}")]


def _committed(event: facts.ConfigurationCommitted) -> list[Line]:
    comment = f": {_cut(event.comment, _LONGEST_MESSAGE)}" if event.comment else ""
    user = _cut(event.user, _LONGEST_NAME)
    return [("Info", f"User: {user}, Configuration revision {event.revision} is in force{comment}")]


def _logged_in(event: facts.LoginSucceeded) -> list[Line]:
    return [("Info", f"{_who(event.user, event.role, event.face, event.remote)}, Login by {event.method}")]


def _login_failed(event: facts.LoginFailed) -> list[Line]:
    who = _who(event.user, "", event.face, event.remote)
    return [("Warning", f"{who}, Login by {event.method} failed: {_cut(event.reason, _LONGEST_MESSAGE)}")]


def _held_back(event: facts.LoginsHeldBack) -> list[Line]:
    whose = f"User: {_cut(event.user, _LONGEST_NAME)}" if event.user else f"Source: {event.remote}"
    return [
        ("Warning", f"{whose}, Face: {event.face}, No password is looked at for {event.seconds:g} seconds")
    ]


def _logged_out(event: facts.LoggedOut) -> list[Line]:
    because = f" ({event.ending})" if event.ending else ""
    return [("Info", f"{_who(event.user, '', event.face, event.remote)}, Logout{because}")]


def _factor(event: facts.SecondFactorChanged) -> list[Line]:
    who = _who(event.by, "", event.face, event.remote)
    return [("Info", f"{who}, Second factor of {event.user}: {_cut(event.what, _LONGEST_MESSAGE)}")]


TABLE: dict[type[Event], Callable[[Any], list[Line]]] = {
    facts.CommandRun: _command,
    facts.ConfigurationCommitted: _committed,
    facts.LoginSucceeded: _logged_in,
    facts.LoginFailed: _login_failed,
    facts.LoginsHeldBack: _held_back,
    facts.LoggedOut: _logged_out,
    facts.SecondFactorChanged: _factor,
}
"""Each event and the lines that tell it."""
