"""A field of ours that a stranger wrote is taken out of a message, and nothing else."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mxseal.mail.removing import FieldRemover

NAME = "X-Mark"


def cleaned(data: bytes, size: int = 10_000) -> bytes:
    remover = FieldRemover(NAME)
    pieces = [remover.feed(data[at : at + size]) for at in range(0, len(data), size)]
    return b"".join(pieces) + remover.end()


@pytest.mark.parametrize("size", [1, 2, 3, 7, 10_000])
@pytest.mark.parametrize(
    ("data", "left"),
    [
        (b"X-Mark: clean\r\nA: b\r\n\r\nX-Mark: body\r\n", b"A: b\r\n\r\nX-Mark: body\r\n"),
        (b"A: b\r\nx-mARK: clean\r\n folded\r\n\tmore\r\nC: d\r\n\r\n", b"A: b\r\nC: d\r\n\r\n"),
        (b"X-Mark \t : clean\r\nA: b\r\n\r\n", b"A: b\r\n\r\n"),
        (b"X-Mark:clean\nA: b\n\n", b"A: b\n\n"),
        (b"X-Marked: x\r\nX-Mar: y\r\nX-Mark\r\n\r\n", b"X-Marked: x\r\nX-Mar: y\r\nX-Mark\r\n\r\n"),
        (b"A: b\r\n X-Mark: folded\r\n\r\n", b"A: b\r\n X-Mark: folded\r\n\r\n"),
        (b"X-Mark: one\r\nX-Mark: two\r\n\r\n", b"\r\n"),
        (b"\r\nX-Mark: body", b"\r\nX-Mark: body"),
        (b"X-Mark: no end", b""),
        (b"X-Mark" + b" " * 5000 + b": far\r\nA: b\r\n\r\n", b"A: b\r\n\r\n"),
        (b"X-Mar", b"X-Mar"),
        (b"X-Mark", b"X-Mark"),
        (b"", b""),
    ],
)
def test_the_field_is_taken_out_and_nothing_else(data: bytes, left: bytes, size: int) -> None:
    assert cleaned(data, size) == left


LINES = st.sampled_from(
    [
        b"X-Mark: a\r\n",
        b"x-mark : b\n",
        b" more\r\n",
        b"A: b\r\n",
        b"\r\n",
        b"\n",
        b"X-Mark",
        b":",
        b"X",
        b"\r",
        b"\t",
    ]
)


@given(st.lists(LINES, max_size=20).map(b"".join), st.integers(1, 9))
def test_where_a_content_is_cut_changes_nothing(data: bytes, size: int) -> None:
    assert cleaned(data, size) == cleaned(data)


@given(st.lists(LINES, max_size=20).map(b"".join))
def test_no_header_has_the_field_behind_it(data: bytes) -> None:
    head = re.split(rb"(?:^|(?<=\n))\r?\n", cleaned(data), maxsplit=1)[0]
    assert not re.search(rb"(?:^|\n)x-mark[ \t]*:", head, re.IGNORECASE)
