"""The log `authentication`: logins and failures, in the words of reference §4.8."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mxseal.events import types as facts
from mxseal.events.types import Event
from mxseal.sinks.maillog import Line

_LONGEST_NAME = 64
"""What is typed as a name comes from strangers."""
_KINDS = {"ssh": "an SSH connection", "web": "an HTTPS connection", "api": "an API connection"}


def _name(text: str) -> str:
    return text if len(text) <= _LONGEST_NAME else text[: _LONGEST_NAME - 3] + "..."


def _connection(face: str) -> str:
    return _KINDS.get(face, f"a {face} connection")


def _succeeded(event: facts.LoginSucceeded) -> list[Line]:
    text = (
        f"The user {event.user} successfully logged on from {event.remote} with privilege {event.role} "
        f"using {_connection(event.face)}."
    )
    return [("Info", text)]


def _failed(event: facts.LoginFailed) -> list[Line]:
    text = (
        f"An authentication attempt by the user {_name(event.user)} from {event.remote} failed "
        f"using {_connection(event.face)}."
    )
    return [("Info", text)]


def _held_back(event: facts.LoginsHeldBack) -> list[Line]:
    # Ours: the reference does not say what it does against guessing.
    whose = f"for the user {_name(event.user)}" if event.user else f"from {event.remote}"
    return [
        ("Warning", f"Too many failures: no password {whose} is looked at for {event.seconds:g} seconds.")
    ]


def _logged_out(event: facts.LoggedOut) -> list[Line]:
    because = f" ({event.ending})" if event.ending else ""
    return [("Info", f"User {event.user} logged out of {event.face.upper()} session {event.remote}{because}")]


def _factor(event: facts.SecondFactorChanged) -> list[Line]:
    by = "" if event.by == event.user else f" by {event.by}"
    return [("Info", f"Second factor of the user {event.user}: {event.what}{by}, from {event.remote}.")]


TABLE: dict[type[Event], Callable[[Any], list[Line]]] = {
    facts.LoginSucceeded: _succeeded,
    facts.LoginFailed: _failed,
    facts.LoginsHeldBack: _held_back,
    facts.LoggedOut: _logged_out,
    facts.SecondFactorChanged: _factor,
}
"""Each event and the lines that tell it."""
