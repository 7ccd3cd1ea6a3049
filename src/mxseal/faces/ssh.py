"""The SSH face: `ssh admin@gateway`, a second way to the commands of the local face.

Strangers reach it: how many of them, for how long, and how often they may guess, is bounded. There is nothing
but shells and commands: no forwarding of any kind, no file transfer, no subsystems.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections import Counter
from collections.abc import Sequence
from typing import Any, Protocol

import asyncssh
from asyncssh.kex import get_kex_algs

from mxseal.certs import sshkeys
from mxseal.clock import Clock, Timer
from mxseal.commands.running import Runner
from mxseal.commands.services import Services
from mxseal.config.model import Document, Ssh
from mxseal.config.problem import Problem
from mxseal.events.bus import Bus
from mxseal.faces.login import Bounds, Login, network_of
from mxseal.faces.ssh_connection import Connection
from mxseal.faces.ssh_editing import History
from mxseal.storage.ports import StorageRefused

VERSION = "OpenSSH_compatible_MXSeal"
"""OpenSSH's client tells only those who call themselves so that the reader of its output is gone (RFC 4253
§4.2: the version says what extensions are understood)."""
KEX = (
    "mlkem768x25519-sha256", "curve25519-sha256", "curve25519-sha256@libssh.org", "ecdh-sha2-nistp521",
    "ecdh-sha2-nistp384", "ecdh-sha2-nistp256", "diffie-hellman-group16-sha512",
    "diffie-hellman-group18-sha512",
)  # fmt: skip
CIPHERS = (
    "chacha20-poly1305@openssh.com", "aes256-gcm@openssh.com", "aes128-gcm@openssh.com", "aes256-ctr",
    "aes128-ctr",
)  # fmt: skip
MACS = (
    "hmac-sha2-256-etm@openssh.com", "hmac-sha2-512-etm@openssh.com", "hmac-sha2-256", "hmac-sha2-512",
)  # fmt: skip
SIGNATURES = (
    "ssh-ed25519", "sk-ssh-ed25519@openssh.com", "ecdsa-sha2-nistp521", "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp256", "sk-ecdsa-sha2-nistp256@openssh.com", "rsa-sha2-512", "rsa-sha2-256",
)  # fmt: skip
KEEPALIVE = 60.0
"""Seconds of silence behind which a client is asked whether it is there; three times no answer end it."""
_RETRY = 30.0
_MOST_HISTORIES = 100
log = logging.getLogger(__name__)


class SshServices(Services, Protocol):
    """What this face needs beside that of the commands."""

    @property
    def clock(self) -> Clock: ...

    @property
    def bus(self) -> Bus: ...


class SshFace:
    """The server. `start` it with the gateway; `prepare` and `configure` it with each document."""

    def __init__(self, runner: Runner, services: SshServices) -> None:
        self.runner = runner
        self.services = services
        self.clock = services.clock
        self.login = Login(services.users, services.clock, services.bus.publish)
        self.settings = Ssh()
        self.connections: set[Connection] = set()
        self._acceptor: asyncssh.SSHAcceptor | None = None
        self._place: tuple[str, int] | None = None
        self._prepared: tuple[tuple[str, int], socket.socket] | None = None
        self._histories: dict[str, History] = {}
        self._retry: Timer | None = None
        self._again: asyncio.Task[None] | None = None
        asyncssh.set_log_level(logging.WARNING)  # its other lines have commands in them, with passphrases

    # --- life -----------------------------------------------------------------------------------------------

    async def start(self) -> list[Problem]:
        """Listen where the document in force says. A port that can't be had is told, and tried again every
        half minute: mail does not depend on it."""
        try:
            self.services.users.all_ended(self.clock.now())
        except StorageRefused as refused:
            log.warning("who is no longer logged in could not be noted: %s", refused)
        return await self._apply()

    def prepare(self, document: Document) -> list[Problem]:
        """Open the port of a document that is to come in force: what stands against it. Nothing that is in
        force changes. `configure` follows, or `forget`."""
        self.forget()
        wanted = _place(document.ssh)
        if wanted is None or wanted == self._place:
            return []
        if self._place is not None and self._place[1] == wanted[1]:
            return []  # perhaps only our own socket is in the way, and `configure` closes it first
        try:
            self._prepared = wanted, _listening(*wanted)
        except OSError as error:
            return [_taken(wanted, error)]
        return []

    def forget(self) -> None:
        """The document of `prepare` does not come in force."""
        if self._prepared is not None:
            self._prepared[1].close()
            self._prepared = None

    async def configure(self, _document: Document) -> list[Problem]:
        """A document is in force: listen where it says. Sessions stay, also where SSH was switched off."""
        return await self._apply()

    async def stop(self) -> None:
        """End all sessions, and close the port."""
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        self.forget()
        self._close()
        leaving = [connection.leave("The gateway is stopping.", "stop") for connection in self.connections]
        await asyncio.gather(*leaving)

    async def _apply(self) -> list[Problem]:
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        self.settings = self.services.history.current().document.ssh
        self.login.bounds = Bounds(self.settings.login_attempts, self.settings.login_wait)
        wanted = _place(self.settings)
        if wanted == self._place:
            self.forget()
            return []
        self._close()
        if wanted is None:
            self.forget()
            return []
        try:
            await self._listen(wanted)
        except OSError as error:
            problem = _taken(wanted, error)
        except StorageRefused as refused:
            problem = Problem("ssh", f"the keys of the gateway can't be stored: {refused}", "Clear the disk")
        else:
            return []
        log.warning("%s", problem)
        self._retry = self.clock.call_later(_RETRY, self._try_again)
        return [problem]

    def _try_again(self) -> None:
        self._again = asyncio.get_running_loop().create_task(self._apply_again())

    async def _apply_again(self) -> None:
        await self._apply()

    async def _listen(self, wanted: tuple[str, int]) -> None:
        keys = _modern([await self._host_key(kind) for kind in sshkeys.HOST_KINDS])
        if self._prepared is not None and self._prepared[0] == wanted:
            listening, self._prepared = self._prepared[1], None
        else:
            self.forget()
            listening = _listening(*wanted)
        try:
            self._acceptor = await asyncssh.listen(
                sock=listening, server_factory=lambda: Connection(self), server_host_keys=keys, **_OPTIONS
            )
        except BaseException:
            listening.close()
            raise
        self._place = wanted

    async def _host_key(self, kind: str) -> bytes:
        """Made at the first start with SSH, and the same from then on."""
        found = sshkeys.host_key(self.services.secrets, kind)
        if found is None:
            found = await asyncio.to_thread(sshkeys.make_host_key, kind)
            sshkeys.keep_host_key(self.services.secrets, kind, found)
        return found

    def _close(self) -> None:
        if self._acceptor is not None:
            self._acceptor.close()
        self._acceptor, self._place = None, None

    # --- what connections ask -------------------------------------------------------------------------------

    def has_room(self, remote: str) -> bool:
        """Whether one more may come that has not logged in: each costs a key exchange."""
        waiting = [connection for connection in self.connections if connection.seat is None]
        most = self.settings.max_unauthenticated
        same = Counter(network_of(connection.remote) for connection in waiting)[network_of(remote)]
        return len(waiting) < most and same < max(2, most // 4)

    def has_seat(self) -> bool:
        """Whether one more may be logged in."""
        taken = sum(connection.seat is not None for connection in self.connections)
        return taken < self.settings.max_sessions

    def history(self, user: str) -> History:
        while len(self._histories) >= _MOST_HISTORIES and user not in self._histories:
            self._histories.pop(next(iter(self._histories)))
        return self._histories.setdefault(user, History())


_OPTIONS: dict[str, Any] = {
    "server_version": VERSION,
    "kex_algs": [name for name in KEX if name.encode() in get_kex_algs()],
    "encryption_algs": CIPHERS,
    "mac_algs": MACS,
    "signature_algs": SIGNATURES,
    "compression_algs": ["none"],
    "gss_host": None,
    "x11_forwarding": False,
    "agent_forwarding": False,
    "allow_scp": False,
    "line_editor": True,
    "line_history": 0,
    "max_line_length": 8192,
    "encoding": "utf-8",
    "errors": "replace",
    "login_timeout": 0,
    "keepalive_interval": KEEPALIVE,
}
"""Login time is counted by `Connection` with our own clock."""


def _modern(keys: list[bytes]) -> Sequence[asyncssh.SSHKeyPair]:
    """The keys with the signatures that we make: the library would also make those of ssh-rsa, with SHA-1."""
    pairs = asyncssh.load_keypairs([asyncssh.import_private_key(key) for key in keys])
    wanted = {name.encode() for name in SIGNATURES}
    for pair in pairs:
        pair.host_key_algorithms = [name for name in pair.host_key_algorithms if name in wanted]
    return pairs


def _place(settings: Ssh) -> tuple[str, int] | None:
    return None if settings.address is None else (settings.address, settings.port)


def _listening(address: str, port: int) -> socket.socket:
    """Raises OSError."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((address, port))
        sock.listen(128)
        sock.setblocking(False)
    except OSError:
        sock.close()
        raise
    return sock


def _taken(place: tuple[str, int], error: OSError) -> Problem:
    address, port = place
    return Problem(
        "ssh.port",
        f"{address} port {port} can't be opened for SSH: {(error.strerror or str(error)).lower()}",
        "Choose another address or port, or stop what uses it",
    )
