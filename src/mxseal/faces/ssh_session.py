"""One channel of a login over SSH: a shell, or one command. The commands are those of every face."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import Any, cast

import asyncssh
import msgspec

from mxseal.commands.clusterlevel import prompt
from mxseal.commands.context import Context, Role
from mxseal.commands.registry import Completion
from mxseal.commands.running import CANCELLED, FAILED, NOT_ALLOWED, Ended, Runner
from mxseal.commands.services import Services
from mxseal.commands.words import UnfinishedLine, join, redact, split
from mxseal.faces.client import BROKEN_PIPE, UNAVAILABLE
from mxseal.faces.output import run, without_json
from mxseal.faces.render import Style, clean
from mxseal.faces.ssh_caller import Caller
from mxseal.faces.ssh_editing import Completed, History, Recall, bind, columns, complete
from mxseal.faces.ssh_input import Input, Interrupted
from mxseal.storage.users import User

FACE = "ssh"
LONGEST_LINE = 8192
_PIECE = 32 << 10
_FAREWELL = 2.0
"""Seconds for a client to show the last words and to close."""
_NARROWEST, _WIDEST, _USUAL = 20, 500, 80
_END = {"exit", "quit"}
_EOW = "_process_eow_at_openssh_dot_com_request"


class Place(msgspec.Struct, frozen=True):
    """What a session needs of the login that it belongs to, and of the gateway."""

    runner: Runner
    services: Services
    user: Callable[[], User | None]
    """As it is now: a role may change and a user be deleted while a session lasts."""
    remote: str
    history: History
    touched: Callable[[], object]
    """Called when the caller did something, and when a command has ended."""
    ended: Callable[[Session], object]


class Session(asyncssh.SSHServerSession[Any]):
    """The library's callbacks on one side, a task that runs commands on the other."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._chan: Any = None
        self._input = Input(self._pause, self._go_on, place.touched)
        self._terminal = False
        self._term = ""
        self._width = 0
        self._command: str | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._closed = False
        self._task: asyncio.Task[None] | None = None
        self._running: asyncio.Task[Ended] | None = None
        self._recall = Recall(place.history)
        self._prompting = False
        self._offered: Sequence[str] = ()
        """What may answer the question that is asked."""
        self._begun = ""
        """The line that the terminal's cursor stands in, as far as it was shown."""

    # --- the library's callbacks --------------------------------------------------------------------------

    def connection_made(self, chan: Any) -> None:
        self._chan = chan

    def pty_requested(self, term_type: str, term_size: tuple[int, int, int, int], _term_modes: Any) -> bool:
        self._terminal = bool(term_type)
        self._term = term_type
        self._width = term_size[0]
        return self._terminal

    def terminal_size_changed(self, width: int, _height: int, _pixwidth: int, _pixheight: int) -> None:
        self._width = width

    def shell_requested(self) -> bool:
        return True

    def exec_requested(self, command: str) -> bool:
        self._command = command
        return True

    def session_started(self) -> None:
        if self._terminal:
            keys = {"\t": self._tab}
            keys |= dict.fromkeys(("\x10", "\x1b[A", "\x1bOA"), self._older)
            keys |= dict.fromkeys(("\x0e", "\x1b[B", "\x1bOB"), self._newer)
            bind(self._chan, keys)
        else:
            self._chan.set_encoding(None)  # keys and archives are piped through, byte for byte
        self._task = asyncio.get_running_loop().create_task(self._work())

    def data_received(self, data: Any, _datatype: Any) -> None:
        self._place.touched()
        self._input.feed(data.encode() if isinstance(data, str) else data)

    def eof_received(self) -> bool:
        self._input.end()
        return True  # the answer may still be on its way

    def soft_eof_received(self) -> None:
        self._input.end_once()

    def break_received(self, _msec: int) -> bool:
        """Ctrl-C: ends the command that runs, or gives up the line that is being typed."""
        self._place.touched()
        self._chan.clear_input()
        self._chan.write("^C\n")
        if self._running is not None:
            self._running.cancel()
        self._input.interrupt()
        return True

    def signal_received(self, signal: str) -> None:
        if signal in {"INT", "TERM", "HUP"} and self._running is not None:
            self._running.cancel()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def connection_lost(self, _exc: Exception | None) -> None:
        self._closed = True
        self._writable.set()
        self._input.end()
        if self._task is not None:
            self._task.cancel()
        else:
            self._place.ended(self)

    # --- what the rest of the face asks -------------------------------------------------------------------

    def listen_for_broken_pipe(self, chan: Any) -> None:
        """OpenSSH's client tells with eow@openssh.com that what it writes to is gone, as behind `| head`."""

        def reader_is_gone(_packet: Any) -> bool:
            if self._task is not None:
                self._task.cancel()
            return True

        setattr(chan, _EOW, reader_is_gone)

    @property
    def idle(self) -> bool:
        """Whether it waits for the caller."""
        return self._input.waiting

    async def leave(self, sentence: str) -> None:
        """End it with a word to the caller, who may not read it."""
        if not self._closed:
            with contextlib.suppress(OSError):
                self._write("err", f"\n{sentence}\n" if self._terminal else f"{sentence}\n")
                self._chan.exit(UNAVAILABLE)
        if self._task is not None and not self._task.done():
            self._task.cancel()
            await asyncio.wait([self._task])
        # A client that is told of the connection's end before it has shown what came first never shows it.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_FAREWELL):
                await self._chan.wait_closed()

    # --- the caller's two channels ------------------------------------------------------------------------

    async def show(self, channel: str, text: str) -> None:
        for start in range(0, len(text), _PIECE):
            await self._ready()
            self._write(channel, text[start : start + _PIECE])

    async def show_bytes(self, content: bytes) -> None:
        for start in range(0, len(content), _PIECE):
            await self._ready()
            self._chan.write(content[start : start + _PIECE])

    async def _ready(self) -> None:
        # a caller that reads slowly holds up its own command, and nobody else
        await self._writable.wait()
        if self._closed:
            raise BrokenPipeError

    def _write(self, channel: str, text: str) -> None:
        if self._terminal:
            self._begun = text.rpartition("\n")[2]
            self._chan.write(text)
        else:
            kind = asyncssh.EXTENDED_DATA_STDERR if channel == "err" else None
            self._chan.write(text.encode("utf-8", "backslashreplace"), kind)

    def echo(self, wanted: bool) -> None:
        if self._terminal and not self._closed:
            self._chan.set_echo(wanted)

    def _pause(self) -> None:
        self._chan.pause_reading()

    def _go_on(self) -> None:
        if not self._closed:
            self._chan.resume_reading()

    # --- commands -----------------------------------------------------------------------------------------

    async def _work(self) -> None:
        status = BROKEN_PIPE
        try:
            status = await (self._shell() if self._command is None else self._once(self._command))
        except OSError:
            pass  # the caller is gone, and nobody is there to be told
        finally:
            with contextlib.suppress(OSError):
                self._chan.exit(status)
            self._place.ended(self)

    async def _once(self, line: str) -> int:
        try:
            words = split(line)
        except UnfinishedLine as error:
            await self.show("err", f"{error}.\n")
            return FAILED
        ended = await self._run(words, script=False)
        return ended.status

    async def _shell(self) -> int:
        """Reads lines until 'exit', 'quit' or the end; the exit status is that of the last command."""
        status = 0
        while True:
            try:
                line = await self._line()
            except EOFError:
                if self._terminal:
                    await self.show("out", "\n")
                return status
            except Interrupted:
                continue
            if line.strip().lower() in _END:
                return status
            if line.strip() and not line.lstrip().startswith("#"):
                status = await self._typed(line)
                if self._place.user() is None:
                    return status

    async def _line(self) -> str:
        if self._terminal:
            self._recall.start()
            await self.show("out", self._prompt())
        self._prompting = True
        try:
            return await self._input.line()
        finally:
            self._prompting = False

    def _prompt(self) -> str:
        user = self._place.user()
        return prompt(self._place.services, _owner(user.name if user else ""))

    async def _typed(self, line: str) -> int:
        try:
            words = split(line)
        except UnfinishedLine as error:
            await self.show("err", f"{error}.\n")
            return FAILED
        ended = await self._run(words, script=not self._terminal)
        if self._terminal:  # without passphrases: the gateway knows all, and pass: is known anyway
            own = join(redact(words)) if redact(words) != words else line
            hidden = list(ended.words) != without_json(words)[0]
            self._place.history.add(join(ended.words) if ended.words and hidden else own)
        return ended.status

    async def _run(self, words: list[str], *, script: bool) -> Ended:
        user = self._place.user()
        if user is None:
            await self.show("err", "This user is no longer there, or has no role any more.\n")
            return Ended(NOT_ALLOWED, "refused", "", ())
        json = without_json(words)[1]
        caller = Caller(self, self._input, terminal=self._terminal, script=script, json=json)
        context = self._context(user, caller)
        colour = self._terminal and self._term != "dumb"
        style = Style(context.width if self._terminal else None, colour)
        self._running = asyncio.create_task(run(self._place.runner, words, context, self, style, json=json))
        try:
            await asyncio.wait([self._running])
        finally:
            task, self._running = self._running, None
            if not task.done():
                task.cancel()
                await asyncio.wait([task])
            if not task.cancelled():
                task.exception()  # of a caller that is gone while it is told something
            self._offered = ()
            self._place.touched()
        return Ended(CANCELLED, "cancelled", "", ()) if task.cancelled() else task.result()

    def _context(self, user: User, caller: Caller) -> Context:
        return Context(
            user=user.name,
            role=cast("Role", user.role),
            face=FACE,
            remote=self._place.remote,
            owner=_owner(user.name),
            services=self._place.services,
            client=caller,
            catalogue=self._place.runner.commands,
            width=min(max(self._width, _NARROWEST), _WIDEST) if self._width else _USUAL,
            files=False,
            role_now=self._role,
            offer=self._offer,
        )

    # --- keys ---------------------------------------------------------------------------------------------

    def _older(self, line: str, position: int) -> bool | tuple[str, int]:
        return self._prompting and self._recall.previous(line, position)

    def _newer(self, line: str, position: int) -> bool | tuple[str, int]:
        return self._prompting and self._recall.following(line, position)

    def _role(self) -> Role | None:
        user = self._place.user()
        return None if user is None else cast("Role", user.role)

    def _offer(self, words: Sequence[str]) -> None:
        self._offered = words

    def _tab(self, line: str, position: int) -> bool | tuple[str, int]:
        user = self._place.user()
        if not self._prompting and self._offered:
            return self._answer(line, position)
        if not self._prompting or user is None:
            return False
        caller = Caller(self, self._input, terminal=False, script=True, json=False)
        context = self._context(user, caller)

        def find(words: list[str], incomplete: str) -> list[Completion]:
            return self._place.runner.commands.complete(words, incomplete, context)

        return self._completed(line, complete(line, position, find))

    def _answer(self, line: str, position: int) -> bool | tuple[str, int]:
        """Tab at a question: one of the words that it offers."""
        offered = self._offered

        def find(words: list[str], incomplete: str) -> list[Completion]:
            begun = [each for each in offered if each.lower().startswith(incomplete.lower())]
            return [] if words else [Completion(each) for each in begun]

        return self._completed(line, complete(line, position, find))

    def _completed(self, line: str, found: Completed | None) -> bool | tuple[str, int]:
        if found is None:
            return False
        if found.choices:
            width = min(max(self._width, _NARROWEST), _WIDEST) if self._width else _USUAL
            listed = columns([clean(choice) for choice in found.choices], width)
            self._chan.write(f"{clean(line)}\n{listed}{self._begun}")
        return found.line, found.position


def _owner(user: str) -> str:
    """Whose candidate it is: the same in all of a user's sessions."""
    return f"user:{user}"
