"""Strangers who mean harm: many connections that do one bad thing each, from many loopback addresses.

`python -m lab.attacker NAME --port PORT --count N` prints "standing" once the attack is under way, and goes
on until it is terminated. Who is thrown out comes again. `Attacker` starts it as a process of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import ctypes.util
import signal
import socket
import ssl
import sys
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from lab import Trouble
from lab.client import ANY
from lab.place import LOOPBACK, new_folder
from lab.process import Child, Program, until

ARRIVING = 100
"""Connections that are being opened at the same time."""
AGAIN_SECONDS = 0.05
STANDING = 300.0
"""Seconds that an attack may take to come into position."""
Bad = Callable[["Stranger"], Awaitable[None]]


class Stranger:
    """One connection, begun anew for each try."""

    def __init__(self, crowd: Crowd, number: int) -> None:
        self.crowd = crowd
        self.number = number
        self.reader: asyncio.StreamReader
        self.writer: asyncio.StreamWriter

    async def connect(self) -> None:
        """Up to the banner."""
        async with self.crowd.arriving:
            self.reader, self.writer = await asyncio.open_connection(
                LOOPBACK, self.crowd.port, local_addr=(source(self.number), 0)
            )
            await self.reply()

    async def reply(self) -> bytes:
        """The last line of the next reply."""
        line = b"   -"
        while line[3:4] == b"-":
            line = await self.reader.readline()
            if not line:
                raise ConnectionResetError
        return line

    async def say(self, *commands: bytes) -> None:
        """Commands, each after the reply to the one before."""
        for command in commands:
            await self.send(command + b"\r\n")
            await self.reply()

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def secure(self) -> None:
        """STARTTLS with its handshake."""
        async with self.crowd.arriving:
            await self.say(b"EHLO stranger.test", b"STARTTLS")
            await self.writer.start_tls(self.crowd.context)

    async def drip(self, data: bytes) -> None:
        """One byte after the other, for ever."""
        while True:
            for index in range(len(data)):
                await self.send(data[index : index + 1])
                await asyncio.sleep(self.crowd.pause)

    async def hold(self) -> None:
        """Do nothing until the gateway has enough of it."""
        self.crowd.stands(self.number)
        await self.reader.read()

    def leave(self) -> None:
        if hasattr(self, "writer"):
            self.writer.transport.abort()


class Crowd:
    """All connections of one attack."""

    def __init__(self, bad: Bad, port: int, count: int, pause: float) -> None:
        self.port = port
        self.count = count
        self.pause = pause
        self.arriving = asyncio.Semaphore(ARRIVING)
        self.context = ANY.context()
        self.hello = client_hello()
        self._bad = bad
        self._standing: set[int] = set()
        self._told = False

    def stands(self, number: int) -> None:
        """This connection is where it wants to be."""
        self._standing.add(number)
        if len(self._standing) >= self.count and not self._told:
            self._told = True
            print("standing", flush=True)

    async def attack(self) -> None:
        await asyncio.gather(*map(self._again, range(self.count)))

    async def _again(self, number: int) -> None:
        while True:
            stranger = Stranger(self, number)
            with suppress(OSError, EOFError, ssl.SSLError):
                await stranger.connect()
                await self._bad(stranger)
            stranger.leave()
            await asyncio.sleep(AGAIN_SECONDS)


def source(number: int) -> str:
    """A loopback address of its own for each connection of the first 62,500."""
    return f"127.{1 + number // 62_500}.{number // 250 % 250}.{1 + number % 250}"


def client_hello() -> bytes:
    """What a TLS client says first. It is the same each time, which spares the attacker all work."""
    outgoing = ssl.MemoryBIO()
    session = ANY.context().wrap_bio(ssl.MemoryBIO(), outgoing)
    with suppress(ssl.SSLWantReadError):
        session.do_handshake()
    return outgoing.read()


# --- slow --------------------------------------------------------------------------------------------------


async def silent(stranger: Stranger) -> None:
    """Not a word behind the banner."""
    await stranger.hold()


async def slow_command(stranger: Stranger) -> None:
    """A command that comes byte by byte and never ends."""
    stranger.crowd.stands(stranger.number)
    await stranger.drip(b"EHLO " + b"a" * 400)


async def half_handshake(stranger: Stranger) -> None:
    """STARTTLS, and half of what a client says first."""
    await stranger.say(b"EHLO stranger.test", b"STARTTLS")
    await stranger.send(stranger.crowd.hello[:100])
    await stranger.hold()


async def idle_in_tls(stranger: Stranger) -> None:
    """A whole handshake, EHLO, and then nothing."""
    await stranger.secure()
    await stranger.say(b"EHLO stranger.test")
    await stranger.hold()


async def slow_content(stranger: Stranger) -> None:
    """A message that comes byte by byte, inside TLS."""
    await stranger.secure()
    await stranger.say(*ENVELOPE, b"DATA")
    stranger.crowd.stands(stranger.number)
    await stranger.drip(b"Subject: slow\r\n\r\n" + b"and so on\r\n" * 10_000)


# --- endless -----------------------------------------------------------------------------------------------


async def endless_line(stranger: Stranger) -> None:
    """A command line without end, as fast as it is taken."""
    stranger.crowd.stands(stranger.number)
    while True:
        await stranger.send(b"A" * 65_536)


async def endless_header(stranger: Stranger) -> None:
    """A message that is all header, as fast as it is taken."""
    await stranger.say(*ENVELOPE, b"DATA")
    stranger.crowd.stands(stranger.number)
    while True:
        await stranger.send(b"X-More: and more\r\n" * 3000)


async def endless_field(stranger: Stranger) -> None:
    """One header field that is folded without end."""
    await stranger.say(*ENVELOPE, b"DATA")
    stranger.crowd.stands(stranger.number)
    await stranger.send(b"Subject: =?utf-8?q?long?=\r\n")
    while True:
        await stranger.send(b" =?utf-8?q?and_longer?=\r\n" * 2000)


async def commands(stranger: Stranger) -> None:
    """Commands by the thousand in one go."""
    await stranger.say(b"EHLO stranger.test")
    stranger.crowd.stands(stranger.number)
    while True:
        await stranger.send(b"NOOP\r\n" * 1000)
        for _ in range(1000):
            await stranger.reply()


# --- costly ------------------------------------------------------------------------------------------------


async def handshakes(stranger: Stranger) -> None:
    """A ClientHello for each connection: the gateway signs, the attacker does nothing."""
    await stranger.say(b"EHLO stranger.test", b"STARTTLS")
    await stranger.send(stranger.crowd.hello)
    await stranger.reader.read(1)
    stranger.crowd.stands(stranger.number)


async def recipients(stranger: Stranger) -> None:
    """Messages of a few bytes to ten thousand recipients, of which the gateway takes as many as it wants."""
    await stranger.say(b"EHLO stranger.test")
    await stranger.send(b"MAIL FROM:<stranger@stranger.test>\r\n")
    await stranger.send(b"".join(b"RCPT TO:<user%d@example.test>\r\n" % n for n in range(9990)))
    await stranger.send(b"DATA\r\n")
    for _ in range(9991):
        await stranger.reply()
    if (await stranger.reply()).startswith(b"354"):
        await stranger.say(b"Subject: all\r\n\r\nHi.\r\n.")
    stranger.crowd.stands(stranger.number)


_WORDS = b"Subject: " + b"\r\n ".join(b"=?x-%d?b?%s?=" % (n, b"QUFB" * 15) for n in range(2500)) + b"\r\n"
_PARTS = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"".join(
    b"--b%d\r\nContent-Type: multipart/mixed; boundary=b%d\r\n\r\n" % (n, n + 1) for n in range(5000)
)
_TRACES = b"Received: from a by b with ESMTP; Mon, 1 Jan 2024 00:00:00 +0000\r\n" * 3500


async def bombs(stranger: Stranger) -> None:
    """Messages that are hard to parse: encoded words, parts in parts, thousands of Received lines."""
    await stranger.say(b"EHLO stranger.test")
    for content in (_WORDS + b"\r\nHi.\r\n", _PARTS, _TRACES + b"\r\nHi.\r\n"):
        await stranger.say(b"MAIL FROM:<stranger@stranger.test>", b"RCPT TO:<user@example.test>", b"DATA")
        await stranger.say(content + b".")
    stranger.crowd.stands(stranger.number)


ENVELOPE = (
    b"EHLO stranger.test",
    b"MAIL FROM:<stranger@stranger.test>",
    b"RCPT TO:<user@example.test>",
)
ATTACKS: dict[str, Bad] = {
    "silent": silent,
    "slow-command": slow_command,
    "half-handshake": half_handshake,
    "idle-in-tls": idle_in_tls,
    "slow-content": slow_content,
    "endless-line": endless_line,
    "endless-header": endless_header,
    "endless-field": endless_field,
    "commands": commands,
    "handshakes": handshakes,
    "recipients": recipients,
    "bombs": bombs,
}
KEY_UPDATES = "key-updates"
"""Not in the table: asyncio's TLS knows no key updates (RFC 8446 §4.6.3), OpenSSL's library does."""
NAMES = (*ATTACKS, KEY_UPDATES)


def key_updates(port: int, count: int) -> None:
    """New keys as fast as they can be asked for, each to be answered with new ones."""
    library = _openssl()
    standing = threading.Barrier(count, lambda: print("standing", flush=True))
    for number in range(count):
        threading.Thread(target=_update_keys, args=(library, port, number, standing), daemon=True).start()
    signal.pause()


def _openssl() -> ctypes.CDLL:
    name = ctypes.util.find_library("ssl")
    if name is None:
        raise Trouble("OpenSSL's library is not here: apt install libssl3")
    library = ctypes.CDLL(name)
    pointer, number = ctypes.c_void_p, ctypes.c_int
    forms: tuple[tuple[str, type[Any] | None, tuple[type[Any], ...]], ...] = (
        ("TLS_client_method", pointer, ()),
        ("SSL_CTX_new", pointer, (pointer,)),
        ("SSL_new", pointer, (pointer,)),
        ("SSL_free", None, (pointer,)),
        ("SSL_set_fd", number, (pointer, number)),
        ("SSL_connect", number, (pointer,)),
        ("SSL_key_update", number, (pointer, number)),
        ("SSL_do_handshake", number, (pointer,)),
    )
    for function, result, arguments in forms:
        found = getattr(library, function)  # indexing would give a new one each time
        found.restype, found.argtypes = result, arguments
    return library


def _update_keys(library: ctypes.CDLL, port: int, number: int, standing: threading.Barrier) -> None:
    context = library.SSL_CTX_new(library.TLS_client_method())
    told = False
    while True:
        with (
            suppress(OSError),
            socket.create_connection((LOOPBACK, port), source_address=(source(number), 0)) as s,
        ):
            s.recv(500)
            s.sendall(b"EHLO stranger.test\r\n")
            s.recv(500)
            s.sendall(b"STARTTLS\r\n")
            s.recv(500)
            session = library.SSL_new(context)
            library.SSL_set_fd(session, s.fileno())
            if library.SSL_connect(session) == 1:
                while library.SSL_key_update(session, 1) == 1 and library.SSL_do_handshake(session) == 1:
                    if not told:
                        told = True
                        standing.wait()
            library.SSL_free(session)


class Attacker:
    """`with Attacker("silent", port=..., count=...):` an attack that stands while the block lasts."""

    def __init__(self, name: str, *, port: int, count: int, pause: float = 1.0) -> None:
        self.name = name
        self._folder = new_folder("attacker")
        self._output = self._folder / "output"
        words = [sys.executable, "-m", "lab.attacker", name, "--port", str(port), "--count", str(count)]
        self._program = Program(
            name=f"attacker {name}",
            words=[*words, "--pause", str(pause)],
            output=self._output,
            folder=Path(__file__).parent.parent,
        )
        self._child: Child | None = None

    def __enter__(self) -> Self:
        child = self._child = Child(self._program)

        def stands() -> bool:
            if not child.running:
                raise Trouble(f"the attack {self.name} ended with {child.status}. {child.tail()}")
            return "standing" in self._output.read_text()

        try:
            until(stands, lambda: f"the attack {self.name} does not stand. {child.tail()}", STANDING)
        except BaseException:
            child.kill()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._child is not None:
            self._child.kill()


def _main() -> None:
    parser = argparse.ArgumentParser(prog="python -m lab.attacker", description=__doc__)
    parser.add_argument("name", choices=NAMES)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--count", type=int, default=10)
    parser.add_argument("--pause", type=float, default=1.0, help="seconds between two bytes of a slow attack")
    given = parser.parse_args()
    if given.name == KEY_UPDATES:
        key_updates(given.port, given.count)
    else:
        asyncio.run(Crowd(ATTACKS[given.name], given.port, given.count, given.pause).attack())


if __name__ == "__main__":
    _main()
