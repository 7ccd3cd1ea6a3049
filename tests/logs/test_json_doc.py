"""docs/json-log.md is what the event types say."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from mxseal.events import EVENT_TYPES
from mxseal.sinks import jsondoc

PAGE = Path(__file__).parents[2] / "docs" / "json-log.md"


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text() == jsondoc.document(), "run: python -m mxseal.sinks.jsondoc > docs/json-log.md"


def test_the_page_names_every_field_of_every_event() -> None:
    page = PAGE.read_text()
    for kind in EVENT_TYPES:
        section = page.split(f"### {kind.__name__}\n")[1].split("\n#")[0]
        for field in msgspec.structs.fields(kind):
            assert f"| `{field.encode_name}` |" in section


def test_a_field_without_a_text_can_not_be_shipped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(jsondoc.WORDS, "icid")
    with pytest.raises(jsondoc.Undocumented, match=r"ConnectionOpened\.icid"):
        jsondoc.document()
