"""Who may use the API: bearer tokens (RFC 6750), and what holds back those who guess."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from starlette.requests import Request

from mxseal.clock import Clock
from mxseal.commands import tokens
from mxseal.commands.running import Ended
from mxseal.commands.services import Services
from mxseal.events.bus import Bus
from mxseal.events.types import LoginFailed, LoginsHeldBack
from mxseal.faces.api.answers import Refused
from mxseal.faces.login import Failures, network_of
from mxseal.storage.ports import StorageRefused
from mxseal.storage.tokens import Token

FACE = "api"
ATTEMPTS, WAIT = 10, 60.0
"""So many wrong tokens of one address are looked at and told; then it is told to wait, and nothing is logged.
Tokens can't be guessed, so a right one is taken from there all the same: whoever shares an address with
somebody's forgotten script is not locked out."""
MOST_RUNNING, MOST_OF_ONE = 64, 16
"""Commands that run at the same time, in all and with one token."""
_USE = 60.0
"""Seconds to which the last use of a token is noted."""
_CHALLENGE = {"www-authenticate": 'Bearer realm="MXSeal"'}
log = logging.getLogger(__name__)


class Gate:
    """Looks at the token of each request."""

    def __init__(self, services: Services, clock: Clock, bus: Bus) -> None:
        self._services = services
        self._clock = clock
        self._bus = bus
        self._failures = Failures(clock)
        self._running: Counter[str] = Counter()
        self.at_work: set[asyncio.Task[Ended]] = set()
        """The commands that run now."""

    def admit(self, request: Request) -> Token:
        """The token that a request came with. Raises Refused."""
        remote = remote_of(request)
        text = _bearer(request)
        if text is None:
            raise Refused(401, "A token is needed: 'Authorization: Bearer TOKEN'", headers=_CHALLENGE)
        token = tokens.find(self._services, text)
        if token is None:
            raise self._wrong(text, remote)
        self._note_use(token, remote)
        return token

    @contextmanager
    def running(self, token: Token) -> Iterator[None]:
        """While one of its commands runs. Raises Refused when too many do."""
        if self._running[token.id] >= MOST_OF_ONE or self._running.total() >= MOST_RUNNING:
            raise Refused(
                429, "Too many commands are running: wait for one to end", headers={"retry-after": "1"}
            )
        self._running[token.id] += 1
        try:
            yield
        finally:
            self._running[token.id] -= 1
            if not self._running[token.id]:
                del self._running[token.id]

    def _wrong(self, text: str, remote: str) -> Refused:
        network = network_of(remote)
        if self._failures.held(network, ATTEMPTS, WAIT):
            if self._failures.untold(network):
                self._bus.publish(
                    LoginsHeldBack(at=self._clock.now(), user="", remote=remote, face=FACE, seconds=WAIT)
                )
            return Refused(
                429, "Too many wrong tokens came from this address", headers={"retry-after": str(int(WAIT))}
            )
        self._failures.add(network)
        reason = "there is no such token, or it is expired or revoked"
        self._bus.publish(
            LoginFailed(
                at=self._clock.now(),
                user=tokens.called(self._services, text),
                remote=remote,
                face=FACE,
                method="token",
                reason=reason,
            )
        )
        return Refused(
            401,
            "The token is wrong, expired or revoked, or its user may no longer do what it may",
            headers={"www-authenticate": 'Bearer realm="MXSeal", error="invalid_token"'},
        )

    def _note_use(self, token: Token, remote: str) -> None:
        now = self._clock.now()
        if token.used is not None and now - token.used < _USE and token.used_from == remote:
            return
        try:
            self._services.tokens.used(token.id, now, remote)
        except StorageRefused as refused:
            log.warning("the use of token %s could not be noted: %s", token.name, refused)


def remote_of(request: Request) -> str:
    """The address that a request comes from."""
    return request.client.host if request.client is not None else "unknown"


def _bearer(request: Request) -> str | None:
    scheme, _, text = request.headers.get("authorization", "").partition(" ")
    return text.strip() if scheme.lower() == "bearer" and text.strip() else None


async def gone(request: Request) -> None:
    """Returns when the caller has gone away. Its body must have been read."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
