"""One HTTP port: accepts connections within bounds, and hands them to the library.

The accepting is our own, so that a place is taken before a TLS handshake begins, and so that each handshake
has the context that is in force when it begins.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import logging
import socket
import ssl
from collections import Counter
from collections.abc import Callable
from typing import Any

import msgspec
from starlette.types import ASGIApp
from uvicorn.config import Config
from uvicorn.server import ServerState

from mxseal.clock import Clock
from mxseal.faces.http_connection import KEEP_ALIVE, Connection
from mxseal.faces.http_guard import LARGEST_HEAD
from mxseal.faces.login import network_of

MOST_CONNECTIONS = 256
"""On all ports together."""
MOST_PER_HOST = 64
"""From one address, or one /64 of IPv6. Browsers open six."""
HANDSHAKE_TIME = 15.0
_BACKLOG = 128
_PAUSE = 0.2
log = logging.getLogger(__name__)


class Service(msgspec.Struct, frozen=True):
    """What a port serves; without a context it is clear text."""

    app: ASGIApp
    context: ssl.SSLContext | None
    interface: str = ""
    untrusted: Callable[[str, str], object] = lambda _remote, _reason: None
    """Hears (address, why) of a client whose certificate ended its handshake."""


class Places:
    """How many may be connected, on all ports together. Those of this machine do not keep each other out."""

    def __init__(self, most: int = MOST_CONNECTIONS, most_per_host: int = MOST_PER_HOST) -> None:
        self._most = most
        self._most_per_host = most_per_host
        self._taken: Counter[str] = Counter()

    def take(self, remote: str) -> bool:
        network = network_of(remote)
        if self._taken.total() >= self._most or self._taken[network] >= self._bound(network):
            return False
        self._taken[network] += 1
        return True

    def give_back(self, remote: str) -> None:
        network = network_of(remote)
        self._taken[network] -= 1
        if not self._taken[network]:
            del self._taken[network]

    def _bound(self, network: str) -> int:
        with contextlib.suppress(ValueError):
            if ipaddress.ip_network(network).is_loopback:
                return self._most
        return self._most_per_host


class _Guest:
    """A place that was taken, until its connection is over."""

    def __init__(self, port: HttpPort, remote: str) -> None:
        self._port = port
        self._remote = remote
        self.came = False

    def begun(self, connection: Connection) -> None:
        self.came = True
        self._port.connections.add(connection)

    def lost(self, connection: Connection) -> None:
        self._port.connections.discard(connection)
        self._port.leave(self._remote)


class HttpPort:
    """A listening socket and its connections. A new `service` counts from the next connection on."""

    def __init__(self, sock: socket.socket, service: Service, places: Places, clock: Clock) -> None:
        self.service = service
        self.connections: set[Connection] = set()
        self._sock = sock
        self._places = places
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._state = ServerState()
        self._opening: set[asyncio.Task[None]] = set()
        self._configs: dict[int, Config] = {}
        self._accepting = self._loop.create_task(self._accept())

    def close(self) -> None:
        """Take no more connections; idle ones end, others when they have their answer."""
        self._accepting.cancel()
        self._accepting.add_done_callback(lambda _task: self._sock.close())
        for task in self._opening:
            task.cancel()
        for connection in list(self.connections):
            connection.shutdown()

    async def stop(self, patience: float) -> None:
        """`close`, and wait until all is over, at most `patience` seconds."""
        self.close()
        tasks = set(self._state.tasks)
        if tasks:
            await asyncio.wait(tasks, timeout=patience)
        for connection in list(self.connections):
            connection.abort()
        left = {task for task in self._state.tasks if not task.done()}
        if left:
            await asyncio.wait(left, timeout=patience)
        await asyncio.gather(self._accepting, *self._opening, return_exceptions=True)

    # --- accepting ------------------------------------------------------------------------------------------

    async def _accept(self) -> None:
        while True:
            try:
                sock, address = await self._loop.sock_accept(self._sock)
            except OSError as error:
                if error.errno != errno.ECONNABORTED:
                    await asyncio.sleep(_PAUSE)  # out of descriptors, it stays waiting: no busy loop
                continue
            self._welcome(sock, address[0])

    def _welcome(self, sock: socket.socket, remote: str) -> None:
        if not self._places.take(remote):
            sock.close()
            return
        task = self._loop.create_task(self._open(sock, remote))
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    async def _open(self, sock: socket.socket, remote: str) -> None:
        service = self.service
        guest = _Guest(self, remote)
        config = self._config(service.app)
        secure: dict[str, Any] = {}
        if service.context is not None:
            secure = {"ssl": service.context, "ssl_handshake_timeout": HANDSHAKE_TIME}
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            await self._loop.connect_accepted_socket(
                lambda: Connection(config, self._state, self._clock, guest, service.interface), sock, **secure
            )
        except ssl.SSLCertVerificationError as error:
            service.untrusted(remote, error.verify_message)
            sock.close()
        except OSError:  # also those of TLS: a stranger's handshake that fails is no fault of ours
            sock.close()
        finally:
            if not guest.came:
                self.leave(remote)

    def leave(self, remote: str) -> None:
        """A place is free again."""
        self._places.give_back(remote)

    def _config(self, app: ASGIApp) -> Config:
        known = self._configs.get(id(app))
        if known is None:
            self._configs.clear()
            known = self._configs[id(app)] = Config(
                app,
                http="h11",
                ws="none",
                lifespan="off",
                interface="asgi3",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                date_header=False,
                timeout_keep_alive=KEEP_ALIVE,
                h11_max_incomplete_event_size=LARGEST_HEAD,
            )
            known.load()
        return known


def listening(address: str, port: int) -> socket.socket:
    """A listening socket. Raises OSError."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((address, port))
        sock.listen(_BACKLOG)
        sock.setblocking(False)
    except OSError:
        sock.close()
        raise
    return sock
