"""What a target of the fuzzer is, and how one input is taken apart.

A target is a function that takes any bytes whatever and raises when something that the code promises does not
hold. It decides nothing by chance: the same bytes are the same test, today and in a year.
"""

from __future__ import annotations

import random
import unicodedata
import zlib
from collections.abc import Callable, Iterable, Iterator

import msgspec
from hypothesis import strategies as st

SEPARATOR = b"\xff\xfe"
"""Between the fields of an input. In no UTF-8 text, so that hostile texts can hold everything else."""


class Target(msgspec.Struct, frozen=True):
    """One part of the gateway and all that strangers can hand to it."""

    name: str
    run: Callable[[bytes], None]
    """Raises AssertionError, or anything else that the code under test was not to raise."""
    inputs: st.SearchStrategy[bytes]
    """Inputs that have the shape of what is read, with faults in it."""
    words: tuple[bytes, ...] = ()
    """What the mutator may throw in."""
    seeds: Callable[[], Iterable[bytes]] = tuple
    """Inputs that are made at run time, as keys are; the others lie in the corpus."""


def fields(data: bytes, count: int) -> list[bytes]:
    """Exactly `count` fields of an input; what is missing is empty, what is left over is in the last one."""
    found = data.split(SEPARATOR, count - 1)
    return found + [b""] * (count - len(found))


def text(data: bytes) -> str:
    """Bytes of a stranger as text: what was no UTF-8 becomes surrogates, as it does in the gateway."""
    return data.decode("utf-8", "surrogateescape")


def cuts(data: bytes, most: int = 8) -> Iterator[list[bytes]]:
    """`data` in pieces, several times: byte by byte if it is short, and at a few places."""
    if len(data) <= 2000:
        yield [data[index : index + 1] for index in range(len(data))]
    chance = random.Random(zlib.crc32(data))
    for _ in range(most):
        places = sorted(chance.randrange(len(data) + 1) for _ in range(chance.choice((1, 1, 2, 5))))
        yield [data[start:stop] for start, stop in zip([0, *places], [*places, len(data)], strict=True)]


def joined(parts: st.SearchStrategy[bytes], most: int = 20) -> st.SearchStrategy[bytes]:
    """A strategy for several parts in a row."""
    return st.lists(parts, max_size=most).map(b"".join)


def of_fields(*strategies: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    """A strategy for the fields that `fields` takes apart."""
    return st.tuples(*strategies).map(SEPARATOR.join)


HOSTILE: st.SearchStrategy[bytes] = joined(
    st.sampled_from(
        [
            b"\r\n",
            b"\n",
            b"\r",
            b"\t",
            b"\0",
            b"\x1b[2J",
            b"\x7f",
            b"\xff",
            b"\xc2\x85",  # U+0085, a line end to some
            b"\xc2\x9b",  # the one-byte CSI of terminals
            b"\xe2\x80\xa8",  # U+2028, a line end to others
            b"\xe2\x80\xae",  # U+202E turns the text around
            b"\xef\xbf\xbf",
            b"\xf0\x9f\x94\x92",
            b"\xc3\xa9",
            b" ",
            b"'",
            b'"',
            b"\\",
            b"<>()[],;:@.",
            b"Info: MID 1 ",
            b"x" * 60,
            b"\xe4\xb8\x80" * 400,
        ]
    )
    | st.binary(max_size=6)
    | st.text(max_size=6).map(lambda letters: letters.encode("utf-8", "surrogatepass")),
    12,
)
"""Texts that would like to be more than text in a log, a header or on a terminal."""


def one_safe_line(line: str) -> bool:
    """Whether it is one line without anything that steers a terminal or turns its text around."""
    return len(line.splitlines()) <= 1 and all(
        letter.isprintable() or unicodedata.category(letter) == "Zs" for letter in line
    )
