"""One connection over SSH: until it has logged in a stranger's, from then on a user's."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import asyncssh

from mxseal.clock import Timer
from mxseal.faces.login import Seat
from mxseal.faces.ssh_session import FACE, Place, Session

if TYPE_CHECKING:
    from mxseal.faces.ssh import SshFace

MOST_PASSWORDS = 3
"""On one connection, as OpenSSH's client asks for them."""
MOST_KEYS = 12
"""Keys that one connection may show: an agent shows all that it has."""
MOST_CHANNELS = 10
_PATIENCE = 1.0
"""Seconds for a client to take leave."""


class Connection(asyncssh.SSHServer):
    """The library's callbacks about who logs in."""

    def __init__(self, face: SshFace) -> None:
        self._face = face
        self._conn: Any = None
        self.remote = ""
        self.seat: Seat | None = None
        """None until it has logged in."""
        self._method = ""
        self._proven = ""
        """The name of the last password or key that was right."""
        self._passwords = 0
        self._keys = 0
        self._tried = ""
        """The name that was tried with keys alone."""
        self._sessions: set[Session] = set()
        self._timer: Timer | None = None
        self._touched = 0.0
        self._ending = ""
        self._leaving: asyncio.Task[None] | None = None

    # --- a stranger -----------------------------------------------------------------------------------------

    def connection_made(self, conn: Any) -> None:
        self._conn = conn
        self.remote = str((conn.get_extra_info("peername") or ("unknown",))[0])
        if not self._face.has_room(self.remote):
            conn.abort()
            return
        self._face.connections.add(self)
        self._timer = self._face.clock.call_later(self._face.settings.login_time, self._too_slow)

    def _too_slow(self) -> None:
        self._conn.disconnect(asyncssh.DISC_BY_APPLICATION, "Nobody logged in in time")

    def begin_auth(self, _username: str) -> bool:
        return True

    def password_auth_supported(self) -> bool:
        return self._face.settings.passwords and self._passwords < MOST_PASSWORDS

    def public_key_auth_supported(self) -> bool:
        return True

    async def validate_password(self, username: str, password: str) -> bool:
        self._passwords += 1
        if self._passwords > MOST_PASSWORDS or not self._face.settings.passwords:
            return False
        self._method, self._tried = "password", ""
        found = await self._face.login.password(username, password, self.remote, FACE)
        if found is None and self._passwords >= MOST_PASSWORDS:
            self._conn.disconnect(asyncssh.DISC_NO_MORE_AUTH_METHODS_AVAILABLE, "Too many wrong passwords")
        if found is not None:
            self._proven = username
        return found is not None

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        self._keys += 1
        if self._keys > MOST_KEYS:
            self._conn.disconnect(asyncssh.DISC_NO_MORE_AUTH_METHODS_AVAILABLE, "Too many keys")
            return False
        self._method = "publickey"
        if not self._passwords:
            self._tried = username
        if self._face.login.key(username, key.public_data) is None:
            return False
        self._proven = username
        return True

    # --- a user ---------------------------------------------------------------------------------------------

    def auth_completed(self) -> None:
        self._cancel_timer()
        name = str(self._conn.get_extra_info("username"))
        user = self._face.login.user(name)
        # Deleted in this moment; or another name was sent while the password of the first was looked at.
        if user is None or name != self._proven:
            self._conn.abort()
            return
        self._tried = ""
        if not self._face.has_seat():
            most = self._face.settings.max_sessions
            self._conn.disconnect(
                asyncssh.DISC_TOO_MANY_CONNECTIONS, f"{most} sessions are open: wait for one to end"
            )
            return
        self.seat = self._face.login.began(user, self.remote, FACE, self._method)
        self._touch()
        self._arm()

    def connection_lost(self, _exc: Exception | None) -> None:
        self._face.connections.discard(self)
        self._cancel_timer()
        if self.seat is not None:
            self._face.login.ended(self.seat, self._ending)
        elif self._tried:
            self._face.login.no_key_fitted(self._tried, self.remote, FACE)

    def session_requested(self) -> Any:
        if self.seat is None or len(self._sessions) >= MOST_CHANNELS:
            return False
        name = self.seat.user
        session = Session(
            Place(
                runner=self._face.runner,
                services=self._face.services,
                user=lambda: self._face.login.user(name),
                remote=self.remote,
                history=self._face.history(name),
                touched=self._touch,
                ended=self._sessions.discard,
            )
        )
        self._sessions.add(session)
        channel = self._conn.create_server_channel("utf-8", "replace")
        session.listen_for_broken_pipe(channel)
        return channel, session

    # --- its end --------------------------------------------------------------------------------------------

    def _touch(self) -> None:
        self._touched = self._face.clock.monotonic()

    def _arm(self) -> None:
        due = self._touched + self._face.settings.idle_time - self._face.clock.monotonic()
        self._timer = self._face.clock.call_later(due, self._look)

    def _look(self) -> None:
        """End a login that nobody uses. One command that runs is use enough."""
        if any(not session.idle for session in self._sessions):
            self._touch()
        idle = self._face.settings.idle_time
        if self._face.clock.monotonic() - self._touched < idle:
            self._arm()
            return
        sentence = f"Nothing was typed for {idle:g} seconds: this session ends."
        self._leaving = asyncio.get_running_loop().create_task(self.leave(sentence, "idle"))

    async def leave(self, sentence: str, ending: str) -> None:
        """End all its sessions with a word to the user."""
        self._ending = ending
        await asyncio.gather(*(session.leave(sentence) for session in list(self._sessions)))
        self._conn.disconnect(asyncssh.DISC_BY_APPLICATION, sentence)
        with contextlib.suppress(OSError, TimeoutError, asyncssh.Error):
            async with asyncio.timeout(_PATIENCE):
                await self._conn.wait_closed()
        self._conn.abort()

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
