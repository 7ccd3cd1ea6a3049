"""Every event with hostile texts in it, as lines of mail_logs and of JSON, and on the way back from both.

tests/logs asks the same of single events. Here they come in a row out of what one stranger sent, and the
lines are read by what reads them: a parser of the frame, the terminal's guard, the JSON decoder.
"""

from __future__ import annotations

import re
import time
import typing
from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin

import msgspec
from hypothesis import strategies as st

from mxseal.config.model import Logs
from mxseal.events import EVENT_TYPES
from mxseal.events.types import Event
from mxseal.faces.client import visible
from mxseal.faces.render import clean
from mxseal.sinks.jsonlog import encode
from mxseal.sinks.maillog import DETAILS, LEVELS, LONGEST_TEXT, SILENT, TABLE, Renderer
from mxseal.tls.causes import CAUSES
from tests.fuzz.target import HOSTILE, SEPARATOR, Target, fields, one_safe_line, text

AT = 1_771_096_828.0
_STAMP = time.asctime(time.gmtime(AT))
_FRAME = re.compile(rf"{_STAMP} (?:{'|'.join(LEVELS)}): (?P<text>.*)")
_LONGEST_LINE = LONGEST_TEXT + len(_STAMP) + 12
_LONGEST_JSON = 400_000


def run(data: bytes) -> None:
    renderer = Renderer(Logs(time="utc", level="Trace"))
    for event in _events(data):
        lines = renderer.render(event)
        _mail_lines(event, lines)
        _json_line(event, encode(event))


def _mail_lines(event: Event, rendered: bytes) -> None:
    row = TABLE.get(type(event))
    assert (row is None) == (type(event) in SILENT)
    shown = rendered.decode()  # never anything but UTF-8
    assert shown == "" or shown.endswith("\n")
    lines = shown.split("\n")[:-1]
    more = DETAILS.get(type(event), lambda _event: [])
    assert len(lines) == (len([*row(event), *more(event)]) if row is not None else 0), (
        "a line too many or too few"
    )
    for line in lines:
        assert _FRAME.fullmatch(line), f"this line has no frame: {line!r}"
        assert one_safe_line(line), f"a control character in a line: {line!r}"
        assert len(line) <= _LONGEST_LINE
        assert clean(line) == line == visible(line), "a terminal would be shown something else"


def _json_line(event: Event, line: bytes) -> None:
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    assert b"\r" not in line
    assert len(line) < _LONGEST_JSON
    again = msgspec.json.decode(line, type=type(event))
    assert again.at == event.at


# --- events out of bytes ----------------------------------------------------------------------------------


def _events(data: bytes) -> Iterator[Event]:
    """Some events, all filled from the same few texts."""
    which, *texts = fields(data, 5)
    kinds = sorted(EVENT_TYPES, key=lambda kind: kind.__name__)
    for number in which[:6] or b"\0":
        yield _filled(kinds[number % len(kinds)], [text(t) for t in texts], number)


def _filled(kind: type[Any], texts: list[str], turn: int) -> Any:
    hints = typing.get_type_hints(kind)
    values = {}
    for index, field in enumerate(msgspec.structs.fields(kind)):
        values[field.name] = (
            sorted(CAUSES)[(turn + index) % len(CAUSES)]
            if field.name == "cause"
            else _value(hints[field.name], texts, turn + index)
        )
    return kind(**values) if "at" not in values else kind(**{**values, "at": AT})


def _value(hint: Any, texts: list[str], turn: int) -> Any:
    origin, options = get_origin(hint), get_args(hint)
    if origin is Literal:
        return options[turn % len(options)]
    if origin is tuple:
        return tuple(_value(options[0], texts, turn + index) for index in range(turn % 12))
    if origin is dict:
        return {"name": _value(options[1], texts, turn), "names": _value(options[1], texts, turn + 1)}
    if options:  # a union
        return _value(options[turn % len(options)], texts, turn)
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        return _filled(hint, texts, turn)
    plain: dict[Any, Any] = {
        str: texts[turn % len(texts)],
        bytes: texts[turn % len(texts)].encode("utf-8", "surrogateescape"),
        int: turn * 7919,
        float: AT,
        bool: turn % 2 == 0,
        type(None): None,
    }
    return plain[hint]


TARGET = Target(
    name="mail-log",
    run=run,
    inputs=st.tuples(st.binary(min_size=1, max_size=6), HOSTILE, HOSTILE, HOSTILE, HOSTILE).map(
        SEPARATOR.join
    ),
    words=(
        b"\n",
        b"\r",
        b"\x1b[31m",
        b"\xc2\x85",
        b"\xe2\x80\xa8",
        b"\xe2\x80\xae",
        b" Info: ",
        b"'",
        b"\xff",
        b"\xf3\xa0\x81\x81",
    ),
)
