"""Whatever text strangers put into a field: one line of the mail log stays one, and so does one of JSON."""

from __future__ import annotations

from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from mxseal.config.model import Logs
from mxseal.events import EVENT_TYPES, Event
from mxseal.sinks.jsonlog import encode
from mxseal.sinks.maillog import LONGEST_TEXT, TABLE, Renderer

UTC = Logs(time="utc")
AT = 1_771_096_828.5
_TEXT = st.one_of(
    st.text(max_size=60), st.text("\r\n\x00\x1b\u2028\udc80'\"\\ a", max_size=40), st.just("x" * 1500)
)


def _value(hint: Any) -> st.SearchStrategy[Any]:
    """Anything of a field's type, with texts that try to mislead."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return st.one_of(*map(_value, arguments))
    if origin is tuple:
        return st.lists(_value(arguments[0]), max_size=3).map(tuple)
    if origin is dict:
        return st.dictionaries(st.sampled_from(["who", "host", "reason"]), _value(arguments[1]))
    if origin is Literal:
        return st.sampled_from(arguments)
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        hints = get_type_hints(hint)
        names = [field.name for field in msgspec.structs.fields(hint)]
        fields = {name: st.just(AT) if name == "at" else _value(hints[name]) for name in names}
        return st.builds(hint, **fields)
    return _SIMPLE[hint]


_SIMPLE: dict[Any, st.SearchStrategy[Any]] = {
    str: _TEXT,
    float: st.just(AT),
    int: st.integers(0, 10**12),
    bool: st.booleans(),
    bytes: st.binary(max_size=20),
    type(None): st.none(),
}


def _events() -> st.SearchStrategy[Event]:
    return st.one_of(*map(_value, EVENT_TYPES))


@given(_events())
def test_whatever_text_a_field_has_each_line_has_exactly_one_frame(event: Event) -> None:
    rendered = Renderer(UTC).render(event)
    row = TABLE.get(type(event))
    count = len(row(event)) if row is not None else 0
    assert rendered.count(b"\n") == count
    for line in rendered.decode().split("\n")[:-1]:
        assert line.startswith("Sat Feb 14 19:20:28 2026 ")
        assert len(line.splitlines()) == 1
        assert len(line) <= LONGEST_TEXT + 40


@given(_events())
def test_whatever_text_a_field_has_the_json_log_has_one_line_that_can_be_read_back(event: Event) -> None:
    encoded = encode(event)
    assert encoded.count(b"\n") == 1
    assert msgspec.json.decode(encoded)["event"] == type(event).__name__
    assert msgspec.json.decode(encoded, type=type(event)).at == event.at
