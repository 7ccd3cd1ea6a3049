"""Who may come in from outside: passwords, what holds back those who guess, and the note of each login.

A password of a stranger costs 50 ms and 64 MiB to look at. Guesses are counted by address and by user, before
they are looked at, so that many at once count as many.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
from collections import OrderedDict
from collections.abc import Callable
from typing import get_args

import msgspec
from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError

from mxseal.clock import Clock
from mxseal.commands.context import Role
from mxseal.events.types import Event, LoggedOut, LoginFailed, LoginsHeldBack, LoginSucceeded
from mxseal.storage.ports import StorageRefused
from mxseal.storage.users import User, Users

MOST_REMEMBERED = 10_000
"""Addresses, and names, whose failures are remembered: more make the oldest be forgotten."""
PER_USER = 4
"""So many times more failures are borne for a user than from an address: who types a name wrongly on purpose
must not keep its owner out, nor may a thousand addresses guess without end."""
_AT_ONCE = 2
"""Passwords that are looked at together."""
LONGEST_PASSWORD = 1024
log = logging.getLogger(__name__)


class Bounds(msgspec.Struct, frozen=True):
    """So many failures are borne; behind them nothing is looked at for `wait` seconds."""

    attempts: int
    wait: float


class _Failed(msgspec.Struct):
    count: int
    last: float
    told: bool = False


class Failures:
    """Failures of the last time, by whom. Bounded."""

    def __init__(self, clock: Clock, most: int = MOST_REMEMBERED) -> None:
        self._clock = clock
        self._most = most
        self._found: OrderedDict[str, _Failed] = OrderedDict()

    def __len__(self) -> int:
        return len(self._found)

    def held(self, key: str, attempts: int, wait: float) -> bool:
        """Whether so many failures of `key` lie behind it that it has to wait. Forgets what is over."""
        entry = self._found.get(key)
        if entry is None:
            return False
        if self._clock.monotonic() - entry.last >= wait:
            del self._found[key]
            return False
        return entry.count >= attempts

    def add(self, key: str) -> None:
        now = self._clock.monotonic()
        entry = self._found.pop(key, None) or _Failed(0, now)
        entry.count, entry.last = entry.count + 1, now
        self._found[key] = entry
        while len(self._found) > self._most:
            self._found.popitem(last=False)

    def untold(self, key: str) -> bool:
        """True once for each time that `key` is held back."""
        entry = self._found.get(key)
        if entry is None or entry.told:
            return False
        entry.told = True
        return True

    def take_back(self, key: str) -> None:
        entry = self._found.get(key)
        if entry is not None:
            entry.count -= 1

    def forget(self, key: str) -> None:
        self._found.pop(key, None)


class Login:
    """Looks at passwords and keys, and notes who came and went. One for all faces that strangers reach."""

    def __init__(
        self,
        users: Users,
        clock: Clock,
        publish: Callable[[Event], object],
        hasher: PasswordHasher | None = None,
        counted: Login | None = None,
    ) -> None:
        """`counted`: of another face, whose failures count here too: nobody guesses at two doors in turn."""
        self.bounds = Bounds(5, 300.0)
        self._users = users
        self._clock = clock
        self._publish = publish
        self._hasher = hasher or PasswordHasher()
        self._nobody = self._hasher.hash("")
        """What a password is compared with when there is no such user: it takes the same time."""
        self._looking = asyncio.Semaphore(_AT_ONCE)
        self.addresses: Failures = counted.addresses if counted is not None else Failures(clock)
        self.names: Failures = counted.names if counted is not None else Failures(clock)
        self._strangers = Failures(clock)
        """Addresses whose certificates did not fit."""

    @property
    def hasher(self) -> PasswordHasher:
        return self._hasher

    def user(self, name: str) -> User | None:
        """A user with a role that this program knows."""
        user = self._users.get(name)
        return user if user is not None and user.role in get_args(Role) else None

    async def password(self, name: str, password: str, remote: str, face: str) -> User | None:
        """The user whose password it is; None for a wrong one, for no such user, and for who has to wait."""
        network = network_of(remote)
        if self._held(name, network, remote, face):
            return None
        self.addresses.add(network)
        self.names.add(name)
        user = self.user(name)
        stored = user.password if user is not None and user.password else self._nobody
        async with self._looking:
            fits = await asyncio.to_thread(matches, self._hasher, stored, password)
        if user is None or not user.password or not fits or self.user(name) != user:
            self._fail(name, remote, face, "password", "the password is wrong, or there is no such user")
            return None
        # Not all that the address has failed: who has one password there may be guessing another.
        self.addresses.take_back(network)
        self.names.forget(name)
        return user

    def key(self, name: str, blob: bytes) -> User | None:
        """The user who may log in with this key. Keys can't be guessed: nobody is held back."""
        user = self.user(name)
        return user if user is not None and self._users.has_key(name, blob) else None

    def no_key_fitted(self, name: str, remote: str, face: str) -> None:
        """Somebody went away after showing keys alone, none of which fitted."""
        network = network_of(remote)
        if not self.addresses.held(network, self.bounds.attempts, self.bounds.wait):
            self.addresses.add(network)
            self._fail(name, remote, face, "publickey", "no key fits")

    def no_certificate_fitted(self, name: str, remote: str, face: str, reason: str) -> None:
        """Somebody's certificate is nobody's. Certificates can't be guessed: nobody is held back, and an
        address that goes on fills no log."""
        network = network_of(remote)
        if not self._strangers.held(network, self.bounds.attempts, self.bounds.wait):
            self._strangers.add(network)
            self._fail(name, remote, face, "certificate", reason)

    def _held(self, name: str, network: str, remote: str, face: str) -> bool:
        attempts, wait = self.bounds.attempts, self.bounds.wait
        if self.addresses.held(network, attempts, wait):
            if self.addresses.untold(network):
                self._tell_held("", remote, face)
            return True
        if self.names.held(name, attempts * PER_USER, wait) and not self._users.came_from(name, remote):
            if self.names.untold(name):
                self._tell_held(name, "", face)
            return True
        return False

    def _tell_held(self, user: str, remote: str, face: str) -> None:
        self._publish(
            LoginsHeldBack(
                at=self._clock.now(), user=user, remote=remote, face=face, seconds=self.bounds.wait
            )
        )

    def _fail(self, name: str, remote: str, face: str, method: str, reason: str) -> None:
        self._publish(
            LoginFailed(
                at=self._clock.now(), user=name, remote=remote, face=face, method=method, reason=reason
            )
        )

    # --- logins -------------------------------------------------------------------------------------------

    def began(self, user: User, remote: str, face: str, method: str) -> Seat:
        """Note a login. A full disk keeps nobody out: then `last` does not know of it."""
        now = self._clock.now()
        self._publish(
            LoginSucceeded(at=now, user=user.name, role=user.role, remote=remote, face=face, method=method)
        )
        number: int | None = None
        try:
            number = self._users.began(user, face, remote, method, now)
        except StorageRefused as refused:
            log.warning("the login of %s could not be noted: %s", user.name, refused)
        return Seat(user.name, remote, face, number)

    def ended(self, seat: Seat, ending: str = "") -> None:
        now = self._clock.now()
        self._publish(LoggedOut(at=now, user=seat.user, remote=seat.remote, face=seat.face, ending=ending))
        if seat.number is None:
            return
        try:
            self._users.ended(seat.number, now, ending)
        except StorageRefused as refused:
            log.warning("the end of %s's login could not be noted: %s", seat.user, refused)


class Seat(msgspec.Struct, frozen=True):
    """One login: what `ended` needs to know of it."""

    user: str
    remote: str
    face: str
    number: int | None


def matches(hasher: PasswordHasher, stored: str, password: str) -> bool:
    """Whether it is the password. For a thread: it takes 50 ms."""
    if len(password) > LONGEST_PASSWORD:
        return False
    try:
        return hasher.verify(stored, password)
    except (Argon2Error, InvalidHashError):
        return False


def network_of(remote: str) -> str:
    """What failures are counted by: an address of IPv4, or the /64 of one of IPv6, which one host has."""
    try:
        address = ipaddress.ip_address(remote.partition("%")[0])
    except ValueError:
        return remote
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)
