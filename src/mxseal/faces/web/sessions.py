"""Browsers that are logged in: what their cookie is worth, for how long, and what ends it."""

from __future__ import annotations

import hashlib
import secrets
from typing import Literal, Protocol

import msgspec

from mxseal.clock import Clock
from mxseal.commands.services import Services
from mxseal.config.model import Web
from mxseal.faces.login import Login, Seat
from mxseal.storage.users import User
from mxseal.storage.web import Session

COOKIE = "__Host-mxseal"
"""The prefix makes the browser refuse it without Secure, with a Domain, or from a neighbouring host
(RFC 6265bis §4.1.3.2)."""
UNFINISHED = 300.0
"""Seconds for the second factor behind a right password."""
_MOST = 20
"""Sessions of one user: a further one ends the one that was used the longest ago."""
_SEEN_EVERY = 30.0
"""Seconds: not every page writes to the disk."""
_LONGEST_AGENT = 200

Stage = Literal["factor", "enrol", "in"]


class WebServices(Services, Protocol):
    """What this face needs beside that of the commands."""

    @property
    def clock(self) -> Clock: ...


class Caller(msgspec.Struct, frozen=True):
    """Who asks: the address, and what the browser calls itself."""

    remote: str
    agent: str


def digest(token: str) -> bytes:
    """What is stored of a token. It has 256 random bits: no salt, no slow hash is needed."""
    return hashlib.sha256(token.encode()).digest()


def stamp(user: User) -> bytes:
    """Changes with the password and the role of a user."""
    return hashlib.sha256(f"{user.name}\0{user.role}\0{user.password}".encode()).digest()


class Sessions:
    """Makes, finds and ends sessions."""

    def __init__(self, services: WebServices, login: Login) -> None:
        self._store = services.web
        self._clock = services.clock
        self._login = login
        self._services = services

    @property
    def rules(self) -> Web:
        """Those of the document in force."""
        return self._services.history.current().document.web

    def begin(self, user: User, stage: Stage, method: str, caller: Caller) -> str:
        """A new session; gives the token for the cookie. One that is `in` is noted as a login."""
        now = self._clock.now()
        self.sweep()
        self._make_room(user)
        seat = self._login.began(user, caller.remote, "web", method) if stage == "in" else None
        token = secrets.token_urlsafe(32)
        self._store.put_session(
            Session(
                id=digest(token), user=user.name, stamp=stamp(user), csrf=secrets.token_urlsafe(24),
                stage=stage, method=method, remote=caller.remote, agent=caller.agent[:_LONGEST_AGENT],
                began=now, seen=now, login=seat.number if seat else None,
            )
        )  # fmt: skip
        return token

    def find(self, token: str | None) -> tuple[Session, User] | None:
        """The session of a cookie, and whose it is. Ends it where its time is over, or the user changed."""
        session = self._store.session(digest(token)) if token and len(token) <= 100 else None
        if session is None:
            return None
        user = self._login.user(session.user)
        ending = self._ending(session, user)
        if ending or user is None:
            self.end(session, ending)
            return None
        now = self._clock.now()
        if now - session.seen >= _SEEN_EVERY:
            self._store.seen(session.id, now)
        return session, user

    def lives(self, session: Session) -> bool:
        """Whether it is still good, for what takes long. Asking keeps it from nothing."""
        known = self._store.session(session.id)
        user = self._login.user(session.user)
        return known is not None and user is not None and not self._ending(known, user)

    def replace(self, session: Session, user: User, stage: Stage, method: str, caller: Caller) -> str:
        """A session that got further has a new id: who knew the old one has nothing (session fixation)."""
        self._store.end_session(session.id)
        return self.begin(user, stage, method, caller)

    def renew(self, session: Session, user: User) -> None:
        """The user has a new password, and this session is the one in which it was set: it goes on."""
        self._store.put_session(msgspec.structs.replace(session, stamp=stamp(user)))

    def end(self, session: Session, ending: str = "") -> None:
        """`ending` says why, when the user did not ask for it."""
        if self._store.end_session(session.id) and session.stage == "in":
            self._login.ended(Seat(session.user, session.remote, "web", session.login), ending)

    def of(self, user: str) -> list[Session]:
        """Those of a user that are logged in."""
        self.sweep()
        return [session for session in self._store.sessions(user) if session.stage == "in"]

    def sweep(self) -> None:
        """End those whose time is over."""
        for session in self._store.sessions():
            if ending := self._ending(session, self._login.user(session.user)):
                self.end(session, ending)

    def _make_room(self, user: User) -> None:
        for session in self._store.sessions(user.name)[_MOST - 1 :]:
            self.end(session, "too many sessions")

    def _ending(self, session: Session, user: User | None) -> str:
        """Why it is over; empty while it is not."""
        now = self._clock.now()
        # A clock that was put back must not make a session live for ever.
        age, silence = abs(now - session.began), abs(now - session.seen)
        if user is None:
            return "user removed"
        if not secrets.compare_digest(session.stamp, stamp(user)):
            return "password or role changed"
        if session.stage != "in":
            return "unfinished" if age >= UNFINISHED else ""
        rules = self.rules
        if age >= rules.session_time:
            return "session too old"
        return "idle" if silence >= rules.idle_time else ""
