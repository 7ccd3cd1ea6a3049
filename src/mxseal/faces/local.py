"""The local face: commands through a unix socket in the home, which only its owner and root can use.

One connection is one request; both sides write lines of JSON. The caller sends a `Request`, then an `Answer`
to each question. The gateway sends objects with one of these keys: out, err (text); ask {question, default,
offered}, secret {question, repeat}, paste {question}, environment NAME, read {path, limit}, write {path,
content in base64, private}, each of which waits for an answer; about, completions; and last exit (the
status), with line (the words without secrets) when they had any. A caller that goes away, or cancels, ends
its command.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import pwd
import re
import socket
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from mxseal.commands.clusterlevel import prompt
from mxseal.commands.context import CommandFailed, Context
from mxseal.commands.running import CANCELLED, NOT_ALLOWED, USAGE, Runner
from mxseal.commands.services import Services
from mxseal.commands.words import join
from mxseal.faces.client import UNAVAILABLE, bindable, socket_path
from mxseal.faces.output import run, without_json
from mxseal.faces.render import Style, clean

LARGEST_LINE = 8 << 20
"""Bytes of the largest line that a caller may send: a file of 4 MiB in base64 fits."""
MOST_CALLERS = 128
MOST_OFFERED = 1000
"""Words for completion that go with a question."""
REQUEST_TIME = 30.0
"""Seconds in which a caller must have sent its request."""
_PIECE = 64 << 10
_SESSION = re.compile(r"[A-Za-z0-9._-]{1,64}$")
log = logging.getLogger(__name__)


class Completing(msgspec.Struct, frozen=True):
    """Ask what can stand after `words`."""

    words: list[str]
    incomplete: str


class Request(msgspec.Struct, frozen=True):
    """The first line of a caller: words of a command, or a completion, or `about`."""

    words: list[str] | None = None
    complete: Completing | None = None
    about: bool = False
    json: bool = False
    width: int | None = None
    colour: bool = False
    interactive: bool = False
    face: str = "local"
    session: str = ""
    """A further candidate of the same person."""


class Answer(msgspec.Struct, frozen=True):
    """A later line of a caller: to a question, a wish for a file, or to end the command."""

    cancel: bool = False
    answer: str | None = None
    content: bytes | None = None
    error: str | None = None


class _Gone(Exception):
    """The caller went away or broke the protocol."""


class Conversation:
    """One caller, while its command runs: its output, its answers. Implements `commands.context.Client`."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._waiting: asyncio.Future[Answer] | None = None
        self._offered: Sequence[str] = ()
        self.interactive = False

    def offer(self, words: Sequence[str]) -> None:
        """Words that may answer the next question."""
        self._offered = words[:MOST_OFFERED]

    async def tell(self, **message: Any) -> None:
        """Raises ConnectionError when the caller is gone."""
        self._writer.write(msgspec.json.encode(message) + b"\n")
        await self._writer.drain()

    async def show(self, channel: str, text: str) -> None:
        for start in range(0, len(text), _PIECE):
            await self.tell(**{channel: text[start : start + _PIECE]})

    async def request(self) -> Request:
        """Raises _Gone, or CommandFailed with a sentence for the caller."""
        try:
            async with asyncio.timeout(REQUEST_TIME):
                line = await self._reader.readline()
        except TimeoutError:
            raise _Gone from None
        except ValueError:
            raise CommandFailed(f"the request is larger than {LARGEST_LINE >> 20} MiB", USAGE) from None
        if not line.endswith(b"\n"):
            raise _Gone
        try:
            request = msgspec.json.decode(line, type=Request)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise CommandFailed(f"this is not a request: {error}", USAGE) from None
        if request.session and not _SESSION.match(request.session):
            raise CommandFailed("a session's name has letters, digits, '.', '_' and '-', at most 64", USAGE)
        return request

    async def watch(self) -> None:
        """Take the caller's answers until it goes away or cancels."""
        while True:
            try:
                line = await self._reader.readline()
                answer = msgspec.json.decode(line, type=Answer) if line else Answer(cancel=True)
            except (ValueError, msgspec.MsgspecError, ConnectionError):
                return
            # an answer that nobody asked for would fill memory: it ends the command
            if answer.cancel or self._waiting is None or self._waiting.done():
                return
            self._waiting.set_result(answer)

    async def _question(self, **message: Any) -> Answer:
        self._waiting = asyncio.get_running_loop().create_future()
        await self.tell(**message)
        answer = await self._waiting
        if answer.error is not None:
            raise CommandFailed(clean(answer.error))
        return answer

    async def ask(self, question: str, default: str) -> str:
        offered, self._offered = list(self._offered), ()
        answer = await self._question(ask={"question": question, "default": default, "offered": offered})
        return answer.answer or default

    async def secret(self, question: str, repeat: bool) -> str:
        return (await self._question(secret={"question": question, "repeat": repeat})).answer or ""

    async def paste(self, question: str) -> str:
        return (await self._question(paste={"question": question})).answer or ""

    async def environment(self, name: str) -> str:
        return (await self._question(environment=name)).answer or ""

    async def read(self, path: str, limit: int) -> bytes:
        answer = await self._question(read={"path": path, "limit": limit})
        content = answer.content or b""
        if len(content) > limit:
            raise CommandFailed(f"{path} is larger than {limit >> 10} KiB")
        return content

    async def write(self, path: str, content: bytes, private: bool) -> None:
        await self._question(write={"path": path, "content": content, "private": private})


class LocalFace:
    """The socket's server. `start` needs a home that no other gateway holds: it removes an old socket."""

    def __init__(self, home: Path, runner: Runner, services: Services) -> None:
        self._path = socket_path(home)
        self._owner = home.stat().st_uid
        self._runner = runner
        self._services = services
        self._server: asyncio.Server | None = None
        self._callers: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listen. Raises OSError."""
        self._path.parent.mkdir(mode=0o700, exist_ok=True)
        self._path.parent.chmod(0o700)
        self._path.unlink(missing_ok=True)
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        with bindable(self._path) as name:
            listening.bind(name)
        self._path.chmod(0o600)
        self._server = await asyncio.start_unix_server(self._accept, sock=listening, limit=LARGEST_LINE)

    async def stop(self) -> None:
        """End all commands and close the socket."""
        if self._server is None:
            return
        self._server.close()
        for task in self._callers:
            task.cancel()
        if self._callers:
            await asyncio.wait(self._callers)
        self._path.unlink(missing_ok=True)
        self._server = None

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._callers.add(task)
        try:
            with contextlib.suppress(ConnectionError, _Gone):
                await self._converse(Conversation(reader, writer), writer)
        except asyncio.CancelledError:
            # The end of this task: asyncio's streams report a cancelled one as a fault of the program.
            _farewell(writer)
        finally:
            self._callers.discard(task)
            writer.close()

    async def _converse(self, caller: Conversation, writer: asyncio.StreamWriter) -> None:
        uid = _peer_uid(writer)
        try:
            if uid not in (0, self._owner):
                raise CommandFailed("only the home's owner and root may use this gateway", NOT_ALLOWED)
            if len(self._callers) > MOST_CALLERS:
                raise CommandFailed(f"{MOST_CALLERS} commands are running: wait for one to end")
            request = await caller.request()
        except CommandFailed as failure:
            await caller.tell(err=f"{failure}\n")
            await caller.tell(exit=failure.status)
            return
        work = asyncio.create_task(self._work(caller, request, _user(uid)))
        watch = asyncio.create_task(caller.watch())
        try:
            await asyncio.wait({work, watch}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            work.cancel()
            watch.cancel()
            await asyncio.wait({work, watch})
        if work.cancelled():
            await caller.tell(exit=CANCELLED)
        else:
            work.result()

    async def _work(self, caller: Conversation, request: Request, user: str) -> None:
        caller.interactive = request.interactive
        context = self._context(caller, request, user)
        if request.about:
            hostname = self._services.history.current().document.hostname
            about = {"hostname": hostname, "version": self._services.version}
            if self._services.cluster.history is not None:
                about["prompt"] = prompt(self._services, context.owner)
            await caller.tell(about=about)
            await caller.tell(exit=0)
        elif request.complete is not None:
            asked = request.complete
            found = self._runner.commands.complete(asked.words, asked.incomplete, context)
            await caller.tell(completions=[[entry.kind, entry.value, entry.help] for entry in found])
            await caller.tell(exit=0)
        else:
            await self._run(caller, request, context)

    async def _run(self, caller: Conversation, request: Request, context: Context) -> None:
        words, wants_json = without_json(request.words or [])
        caller.interactive = caller.interactive and not wants_json
        style = Style(request.width, request.colour)
        ended = await run(self._runner, words, context, caller, style, json=wants_json or request.json)
        line = {"line": join(ended.words)} if list(ended.words) != words else {}
        await caller.tell(exit=ended.status, **line)

    def _context(self, caller: Conversation, request: Request, user: str) -> Context:
        owner = f"local:{user}" + (f"/{request.session}" if request.session else "")
        return Context(
            user=user,
            role="administrator",  # who owns the home can change everything in it anyway
            face="shell" if request.face == "shell" else "local",
            remote="local",
            owner=owner,
            services=self._services,
            client=caller,
            catalogue=self._runner.commands,
            width=request.width or 80,
            offer=caller.offer,
        )


def _farewell(writer: asyncio.StreamWriter) -> None:
    """Not drained: a caller that does not read must not hold up the gateway's stop."""
    if writer.is_closing():
        return
    for message in ({"err": "The gateway is stopping.\n"}, {"exit": UNAVAILABLE}):
        writer.write(msgspec.json.encode(message) + b"\n")


def _peer_uid(writer: asyncio.StreamWriter) -> int:
    peer = writer.get_extra_info("socket")
    size = struct.calcsize("3i")
    _, uid, _ = struct.unpack("3i", peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
    return int(uid)


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
