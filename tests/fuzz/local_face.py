"""The local socket: lines from a caller, as JSON or as anything else, to the face; and back to the caller.

The face runs on a socket pair; what comes out of it is read by the caller's own reader.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import socket
import tempfile
from pathlib import Path
from typing import Any, cast

from hypothesis import strategies as st

from mxseal.commands import configuration, system
from mxseal.commands.registry import Registry
from mxseal.commands.running import Runner
from mxseal.commands.services import Services
from mxseal.faces.client import Line, NotTyped, Typed, visible
from mxseal.faces.local import LocalFace
from tests.commands import gateway
from tests.commands.gateway import FakeServices
from tests.fuzz.target import HOSTILE, Target, joined, one_safe_line, text

_KEYS = {
    "out",
    "err",
    "ask",
    "secret",
    "paste",
    "environment",
    "read",
    "write",
    "about",
    "completions",
    "exit",
    "line",
}
_STATUSES = {0, 1, 2, 69, 70, 77, 130}
_LONGEST = 1 << 20
_ANSWERS_AT_MOST = 8


def run(data: bytes) -> None:
    with asyncio.Runner() as runner:
        said = runner.run(_served(data))
    _understood(data, said)


@functools.cache
def _home() -> Path:
    return Path(tempfile.gettempdir())


async def _served(data: bytes) -> bytes:
    """All that the face says to a caller that sends `data` and goes away."""
    faults: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: faults.append(context))
    face = LocalFace(_home(), _runner(), cast("Services", FakeServices()))
    ours, theirs = socket.socketpair()
    reader, writer = await asyncio.open_unix_connection(sock=ours, limit=1 << 16)
    serving = asyncio.create_task(face._accept(reader, writer))
    their_reader, their_writer = await asyncio.open_unix_connection(sock=theirs)
    with contextlib.suppress(ConnectionError):
        their_writer.write(data)
        their_writer.write_eof()
    said = b""
    with contextlib.suppress(ConnectionError):
        said = await their_reader.read(_LONGEST + 1)
        while piece := await their_reader.read(_LONGEST):
            said += piece
            assert len(said) <= _LONGEST, "the face does not end"
    await serving
    their_writer.close()
    assert not face._callers, "the caller is gone and still counted"
    assert not faults, f"a fault that nobody took: {faults}"
    return said


@functools.cache
def _registry() -> Registry:
    return Registry((configuration, system, gateway))


def _runner() -> Runner:
    return Runner(_registry(), lambda record: _audited(record.words, record.message))


def _audited(words: tuple[str, ...], message: str) -> None:
    assert isinstance(words, tuple)
    assert "Traceback" not in message


def _understood(data: bytes, said: bytes) -> None:
    """The face says whole lines that the caller's side can read, the last of them the status."""
    if not said:
        return  # a caller that said no whole line has nothing to hear
    assert said.endswith(b"\n"), "a line was cut"
    receiving, sending = socket.socketpair()
    with receiving, sending:
        line = Line(receiving)
        messages = []
        for part in said.splitlines(keepends=True):
            sending.sendall(part[:100_000])
            assert len(part) <= 100_000
            message = line.receive()
            assert message is not None
            messages.append(message)
    typed = Typed(_words(data))
    for message in messages:
        assert set(message) <= _KEYS, f"the caller's side knows nothing of {set(message) - _KEYS}"
        _shown(message)
        _wished(message, typed)
    if "exit" in messages[-1]:
        assert messages[-1]["exit"] in _STATUSES - {70}, "a command broke"


def _shown(message: dict[str, Any]) -> None:
    for channel in ("out", "err"):
        shown = message.get(channel, "")
        assert visible(shown) == shown, "what is shown steers the terminal"
    if "err" in message:
        assert all(one_safe_line(line) for line in message["err"].split("\n"))


def _wished(message: dict[str, Any], typed: Typed) -> None:
    """The gateway asks only for files and variables that the caller has typed."""
    for kind in ("read", "write"):
        if kind in message:
            with contextlib.suppress(NotTyped):
                assert typed.file(message[kind]["path"])
    if "environment" in message:
        assert typed.variable(message["environment"])


def _words(data: bytes) -> list[str]:
    with contextlib.suppress(ValueError, LookupError, TypeError, RecursionError):
        return [str(word) for word in json.loads(data.split(b"\n")[0])["words"]]
    return []


_HOSTILE_TEXT = HOSTILE.map(text)
_WORDS = (
    st.sampled_from(
        [
            "pot",
            "new",
            "list",
            "show",
            "help",
            "status",
            "version",
            "commit",
            "candidate",
            "--json",
            "--",
            "-",
            "--help",
            "--name",
            "Kyusu",
            "=",
            "\u00e9",
            "'",
            '"',
            "set",
            "delivery",
            "listeners",
        ]
    )
    | _HOSTILE_TEXT
)
_REQUESTS = st.fixed_dictionaries(
    {},
    optional={
        "words": st.lists(_WORDS, max_size=5),
        "complete": st.fixed_dictionaries({"words": st.lists(_WORDS, max_size=3), "incomplete": _WORDS}),
        "about": st.booleans(),
        "json": st.booleans(),
        "width": st.sampled_from([None, 0, -5, 1, 80, 10**6, 2**70]),
        "colour": st.booleans(),
        "interactive": st.booleans(),
        "face": st.sampled_from(["local", "shell", "", "x" * 99]),
        "session": st.sampled_from(["", "two", "a b", "x" * 65, "../.."]) | _HOSTILE_TEXT,
        "unknown": st.none(),
    },
)
_ANSWERS = st.fixed_dictionaries(
    {},
    optional={
        "answer": _WORDS,
        "content": st.sampled_from(["", "QQ==", "!", "A" * 5000]),
        "error": _HOSTILE_TEXT,
        "cancel": st.booleans(),
    },
)


def _line(value: Any, tail: bytes) -> bytes:
    return json.dumps(value).encode() + tail


_ENDS = st.sampled_from([b"\n"] * 15 + [b"", b"\r\n", b"\0\n"])
_JUNK = HOSTILE | st.sampled_from(
    [
        b"[" * 2000,
        b"{}\n",
        b"null\n",
        b'{"words": 1}\n',
        b'{"words": ["' + b"x" * 3000 + b'"]}\n',
        b'{"cancel": true}\n',
    ]
)

TARGET = Target(
    name="local-face",
    run=run,
    inputs=st.tuples(
        st.builds(_line, _REQUESTS, _ENDS),
        joined(st.builds(_line, _ANSWERS, _ENDS) | _JUNK, _ANSWERS_AT_MOST),
    ).map(b"".join)
    | joined(_JUNK, 4),
    words=(
        b'{"words": ["status"]}\n',
        b'"complete": ',
        b'"json": true',
        b"null",
        b"[",
        b"\\ud800",
        b'{"answer": "x"}\n',
        b'"width": 1e9',
        b"\\u0000",
    ),
)
