"""The caller's side over SSH, where no file of the caller can be reached: its terminal, and its pipes.

What a command wants to read is pasted, or comes on standard input; what it wants to write is shown.
"""

from __future__ import annotations

from typing import Protocol

from mxseal.commands.context import CommandFailed
from mxseal.commands.parameters import FILE_LIMIT, SECRET_LIMIT
from mxseal.faces.render import clean
from mxseal.faces.ssh_input import Input

_END = "(end with a line that has only '.')"


class Channel(Protocol):
    """What the session lends to a caller."""

    async def show(self, channel: str, text: str) -> None: ...

    async def show_bytes(self, content: bytes) -> None:
        """On standard output, as they are; not for a terminal."""
        ...

    def echo(self, wanted: bool) -> None:
        """Whether what is typed is shown."""
        ...


class Caller:
    """Implements `commands.context.Client`. `terminal`: somebody sits there. `json`: programs read it."""

    def __init__(self, channel: Channel, lines: Input, *, terminal: bool, script: bool, json: bool) -> None:
        """`script`: standard input holds the commands, so that no command can have the rest of it."""
        self._channel = channel
        self._input = lines
        self._terminal = terminal
        self._script = script
        self._json = json

    @property
    def interactive(self) -> bool:
        return self._terminal and not self._json

    async def _line(self, shown: str) -> str:
        await self._channel.show("out", shown)
        return await self._input.line()

    async def ask(self, question: str, default: str) -> str:
        return await self._line(f"{clean(question.rstrip())}\n[{clean(default)}]> ") or default

    async def secret(self, question: str, repeat: bool) -> str:
        while True:
            first = await self._unseen(f"{clean(question.rstrip())} ")
            if not repeat or await self._unseen("Once more: ") == first:
                return first
            await self._channel.show("out", "The two are not the same. Try again.\n")

    async def _unseen(self, question: str) -> str:
        self._channel.echo(False)
        try:
            return await self._line(question)
        finally:
            self._channel.echo(True)

    async def paste(self, question: str) -> str:
        await self._channel.show("out", f"{clean(question.rstrip())} {_END}\n")
        return await self._pasted(FILE_LIMIT)

    async def _pasted(self, limit: int) -> str:
        lines: list[str] = []
        size = 0
        while (line := await self._input.line()) != ".":
            lines.append(line)
            size += len(line) + 1
            if size > limit:
                raise CommandFailed(f"This is more than {limit >> 10} KiB, which is what a command takes")
        return "\n".join(lines) + "\n"

    async def read(self, path: str, limit: int) -> bytes:
        if limit <= SECRET_LIMIT and self._terminal:
            return (await self._unseen("Passphrase: ")).encode()
        if self._terminal:
            what = "the content" if path == "-" else f"the content of {clean(path)}"
            await self._channel.show("out", f"Paste {what} {_END}\n")
            return (await self._pasted(limit)).encode()
        if path != "-":
            raise CommandFailed(
                f"Your file {path} can't be reached over SSH: write '-' in its place and send its content: "
                f"ssh … 'COMMAND -' < {path}"
            )
        if self._script:
            return (await self._pasted(limit)).encode()
        content = await self._input.rest(limit)
        if len(content) > limit:
            raise CommandFailed(
                f"Standard input has more than {limit >> 10} KiB, which is what a command takes"
            )
        return content

    async def environment(self, name: str) -> str:
        raise CommandFailed(
            f"The variable {name} of your environment can't be reached over SSH: leave it out, and you are "
            "asked, or write stdin"
        )

    async def write(self, path: str, content: bytes, private: bool) -> str:
        if self._json:
            raise CommandFailed(
                "Over SSH a file is shown, which --json has no place for: leave one of them out"
            )
        try:
            text = content.decode()
        except UnicodeDecodeError:
            text = None
        if text is None and (self._terminal or self._script):
            raise CommandFailed(f"{path} is not text, and can't be shown: run it as ssh … 'COMMAND' > {path}")
        if text is None:
            await self._channel.show_bytes(content)
        else:
            await self._channel.show("out", clean(text if text.endswith("\n") else text + "\n"))
        kept = " Keep it where nobody else can read it." if private else ""
        await self._channel.show(
            "err",
            f"{clean(path)} was not written, as there are no files over SSH: this is its content.{kept}\n",
        )
        return ""
