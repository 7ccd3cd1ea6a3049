"""Pages run commands: typed values in, results out. What a command needs of the caller's side is here too."""

from __future__ import annotations

import base64
from typing import Any, TypeVar

import msgspec

from mxseal.commands.context import CommandFailed, Context
from mxseal.commands.parameters import FileBytes, FileText, OutputFile, Secret
from mxseal.commands.registry import Command, Parser, Registry
from mxseal.commands.results import Data, Done, Parts, Problems, Record, Result, Stream, Table, Text
from mxseal.commands.running import Ended, Runner
from mxseal.config.problem import Problem

R = TypeVar("R")


class Download(msgspec.Struct, frozen=True):
    """A file that a command gave, for the browser to save."""

    name: str
    content: bytes


class Answer(msgspec.Struct, frozen=True):
    """How a command ended and what it gave."""

    ended: Ended
    results: tuple[Result, ...] = ()
    files: tuple[Download, ...] = ()

    @property
    def ok(self) -> bool:
        return self.ended.outcome == "ok"

    @property
    def message(self) -> str:
        """A sentence: what was done, or why not."""
        if self.ended.message:
            return sentence(self.ended.message)
        told = [part.message for part in self.parts if isinstance(part, Done)]
        return sentence(told[0]) if told else ""

    @property
    def parts(self) -> tuple[Result, ...]:
        """All results, those within `Parts` by themselves."""
        found: list[Result] = []
        for result in self.results:
            found += result.parts if isinstance(result, Parts) else (result,)
        return tuple(found)

    @property
    def problems(self) -> tuple[Problem, ...]:
        told = [entry for part in self.parts if isinstance(part, Problems) for entry in part.problems]
        return (*self.ended.problems, *told)

    @property
    def table(self) -> Table:
        """The first table. LookupError when there is none."""
        return _first(self, Table)

    @property
    def record(self) -> Record:
        return _first(self, Record)

    @property
    def text(self) -> str:
        return "".join(part.text for part in self.parts if isinstance(part, Text | Data))

    @property
    def value(self) -> Any:
        """What programs get: the JSON of the first result."""
        return self.parts[0].to_json()


def _first(answer: Answer, kind: type[R]) -> R:
    for part in answer.parts:
        if isinstance(part, kind):
            return part
    raise LookupError(f"{answer.ended.words} gave no {kind.__name__}")


def sentence(text: str) -> str:
    """With a full stop: faces end what commands say."""
    return text if text.endswith((".", "?", "!", ":")) else f"{text}."


class BrowserSide:
    """The caller's side: nobody is asked anything, and what is written is for the browser to save."""

    interactive = False

    def __init__(self) -> None:
        self.downloads: list[Download] = []

    async def ask(self, question: str, default: str) -> str:  # noqa: ARG002 - the protocol's
        return default

    async def secret(self, question: str, repeat: bool) -> str:  # noqa: ARG002
        return ""

    async def paste(self, question: str) -> str:  # noqa: ARG002
        return ""

    async def read(self, path: str, limit: int) -> bytes:  # noqa: ARG002
        raise CommandFailed(f"{path}: no such file was sent")

    async def environment(self, name: str) -> str:
        raise CommandFailed(f"{name}: a browser has no environment: type the passphrase itself")

    async def write(self, path: str, content: bytes, private: bool) -> str | None:  # noqa: ARG002
        self.downloads.append(Download(path, content))
        return None


async def call(runner: Runner, words: tuple[str, ...], values: dict[str, Any], context: Context) -> Answer:
    """Run a command with values by the names of its parameters; those left out, or None, have their defaults.
    A FileText or FileBytes is content that the form brought."""
    results: list[Result] = []

    async def keep(result: Result) -> None:
        if isinstance(result, Stream):
            result = Text("".join([chunk async for chunk in result.chunks]))
        results.append(result)

    plain = {name: _plain(value) for name, value in values.items()}
    ended = await runner.call(words, plain, context, keep)
    side = context.client
    return Answer(ended, tuple(results), tuple(side.downloads) if isinstance(side, BrowserSide) else ())


def _plain(value: Any) -> Any:
    """As `commands.values` takes it."""
    match value:
        case Secret(text):
            return text
        case FileText(path, text):
            return {"name": path, "text": text}
        case FileBytes(path, content):
            return {"name": path, "base64": base64.b64encode(content).decode()}
        case OutputFile(path):
            return path
        case tuple() | list():
            return [_plain(each) for each in value]
        case _:
            return value


def command_of(commands: Registry, words: tuple[str, ...]) -> Command:
    """LookupError when there is no such command: a fault of the page."""
    found = commands.find(words)
    if not isinstance(found.node, Parser) or found.rest:
        raise LookupError(f"there is no command {' '.join(words)}")
    return found.node.entry
