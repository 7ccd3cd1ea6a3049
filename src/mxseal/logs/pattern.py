"""Patterns of `grep`: Python's dialect of regular expressions, run by RE2 in linear time.

A pattern comes from a user of a gateway that is carrying mail: a backtracking engine would let `(a+)+$`
stop it. RE2 has no back-references and no look-around; such a pattern is refused with its place. To be as
fast as a compiled grep, most blocks of a log are never shown to RE2: a literal that every match must
contain is looked for first.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from importlib import import_module
from typing import Any

import msgspec
import re2

# The standard library's own parser, which its types do not know.
_constants: Any = import_module("re._constants")
_parser: Any = import_module("re._parser")
LONGEST_PATTERN = 1000
_QUANTIFIER = re.compile(r"[*+?]|\{(\d*)(,?)(\d*)\}")
_EXTENSION = re.compile(r"\(\?(?:P<\w+>|:|(?P<flags>[aiLmsux]*(?:-[imsx]+)?)(?P<end>[:)]))")
_REFUSED = (
    ("(?=", "a look-ahead"),
    ("(?!", "a negative look-ahead"),
    ("(?<=", "a look-behind"),
    ("(?<!", "a negative look-behind"),
    ("(?P=", "a back-reference"),
    ("(?>", "an atomic group"),
    ("(?(", "a conditional group"),
)
_USE_TWO = "Write what must match, and search twice where two conditions must hold."


class PatternError(ValueError):
    """A pattern that can't be used: a sentence with the position (characters, from 1) and the remedy."""

    def __init__(self, pattern: str, fault: str, position: int | None, remedy: str) -> None:
        place = "" if position is None else f" at character {position + 1}"
        shown = pattern if len(pattern) <= 80 else pattern[:77] + "..."
        super().__init__(f"The pattern {shown!r} can't be used: {fault}{place}. {remedy}")
        self.position = position


Seek = Callable[[bytes, int, int], int]
"""(block, position, end) -> where the first match in block[position:end] begins, or -1."""


class Pattern(msgspec.Struct, frozen=True):
    """A pattern that is ready to run on blocks of whole lines."""

    seek: Seek
    """Run by RE2; `^` and `$` are the ends of a line, and nothing matches a newline."""
    needle: bytes | None
    """A literal that each matching line contains; in lower case when case is ignored."""
    pieces: tuple[bytes, ...] | None
    """The pattern is just these literals in this order with anything between them; RE2 is not needed then."""
    ignore_case: bool


def compile_pattern(text: str, *, ignore_case: bool = False) -> Pattern:
    """Raises PatternError."""
    if len(text) > LONGEST_PATTERN:
        raise PatternError(
            text, f"it has {len(text)} characters", None, f"At most {LONGEST_PATTERN} are taken."
        )
    tree = _parse(text)
    seek = _compile(text, _Translator(text).translate(), ignore_case)
    ignore_case = ignore_case or bool(tree.state.flags & re.IGNORECASE)
    literals = _Literals(ignore_case)
    literals.walk(tree)
    needle = max(literals.runs, key=len, default=b"")
    pieces = None if ignore_case else _pieces(tree)
    return Pattern(seek, needle if len(needle) > 1 or pieces else None, pieces, ignore_case)


def _parse(text: str) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _parser.parse(text)
    except re.error as error:
        remedy = "Put a backslash before a character that is meant as itself."
        raise PatternError(text, error.msg, error.pos, remedy) from None
    except (RecursionError, OverflowError):
        raise PatternError(
            text, "it is nested too deeply or repeats too often", None, "Simplify it."
        ) from None


def compile_literal(literal: bytes) -> Seek:
    """RE2's search for a literal, which looks at two of its bytes at a time over whole vectors."""
    return _seek(re2.compile(re2.escape(literal)))


def _seek(expression: Any) -> Seek:
    """The binding's own Match where it is as expected: the public search makes two objects more a call."""
    match = getattr(getattr(expression, "_regexp", None), "Match", None)
    unanchored = getattr(getattr(re2, "_Anchor", None), "UNANCHORED", None)
    if match is None or unanchored is None:
        return lambda block, position, end: (
            -1 if (found := expression.search(block, position, end)) is None else int(found.start())
        )
    return lambda block, position, end: int(match(unanchored, block, position, end)[0][0])


def _compile(text: str, translated: str, ignore_case: bool) -> Seek:
    options = re2.Options()
    options.log_errors = False
    options.never_nl = True
    options.never_capture = True
    options.case_sensitive = not ignore_case
    try:
        return _seek(re2.compile(f"(?m)(?:{translated})".encode(), options))
    except UnicodeEncodeError as error:
        raise PatternError(text, "half a character", error.start, "Type the pattern as UTF-8.") from None
    except re2.error as error:
        fault = error.args[0].decode(errors="replace") if isinstance(error.args[0], bytes) else str(error)
        if "repetition size" in fault:
            raise PatternError(text, f"{fault}, more than 1000 in all", None, "Repeat less often.") from None
        if "too large" in fault:
            raise PatternError(text, "it needs too much memory", None, "Repeat less often.") from None
        raise PatternError(text, fault, None, "Write this part in another way.") from None


class _Translator:
    """Python's spelling to RE2's, for a pattern that Python's parser has accepted."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._out: list[str] = []

    def translate(self) -> str:
        while self._at < len(self._text):
            character = self._text[self._at]
            if character == "\\":
                self._escape(in_class=False)
            elif character == "[":
                self._class()
            elif self._text.startswith("(?", self._at):
                self._extension()
            elif quantifier := _QUANTIFIER.match(self._text, self._at):
                self._quantifier(quantifier)
            else:
                self._take(character)
        return "".join(self._out)

    def _take(self, source: str, translated: str | None = None) -> None:
        self._out.append(source if translated is None else translated)
        self._at += len(source)

    def _refuse(self, what: str, remedy: str = _USE_TWO) -> PatternError:
        return PatternError(self._text, f"{what} is not supported", self._at, remedy)

    def _escape(self, *, in_class: bool) -> None:
        following = self._text[self._at + 1]
        digits = {"x": 2, "u": 4, "U": 8}.get(following)
        if digits is not None:
            source = self._text[self._at : self._at + 2 + digits]
            self._take(source, f"\\x{{{source[2:]}}}")
        elif octal := re.compile(r"\\(0[0-7]{0,2}|[1-3][0-7]{2}|[0-7]{3})").match(self._text, self._at):
            self._take(octal[0], f"\\x{{{int(octal[1], 8):x}}}")
        elif following.isdigit() and not in_class:
            raise self._refuse("a back-reference")
        elif following == "N":
            raise self._refuse("a character by its name", "Write the character itself.")
        else:
            # A line is searched, not a text: its ends are the text's ends.
            spelling = {"b": "\\x08"} if in_class else {"Z": "$", "A": "^"}
            source = "\\" + following
            self._take(source, spelling.get(following))

    def _class(self) -> None:
        opening = "[^" if self._text.startswith("[^", self._at) else "["
        self._take(opening)
        first = True
        while first or self._text[self._at] != "]":
            character = self._text[self._at]
            if character == "\\":
                self._escape(in_class=True)
            else:
                # RE2 would take [: as the beginning of a POSIX class.
                self._take(character, "\\" + character if character in "[]" else character)
            first = False
        self._take("]")

    def _extension(self) -> None:
        for opening, what in _REFUSED:
            if self._text.startswith(opening, self._at):
                raise self._refuse(what)
        if self._text.startswith("(?#", self._at):
            self._at = self._text.index(")", self._at) + 1
            return
        match = _EXTENSION.match(self._text, self._at)
        if match is None:
            raise self._refuse("this group")
        flags = match["flags"]
        if not flags:
            self._take(match[0])
            return
        if unknown := set(flags) & set("aLux"):
            raise self._refuse(f"the flag {min(unknown)}", "Leave it out.")
        # m and s say nothing about a single line.
        kept = re.sub(r"-$", "", re.sub("[ms]", "", flags))
        self._take(match[0], "(?:)" if not kept and match["end"] == ")" else f"(?{kept}{match['end']}")

    def _quantifier(self, quantifier: re.Match[str]) -> None:
        source = quantifier[0]
        low, comma, high = quantifier[1], quantifier[2], quantifier[3]
        literal = source[0] == "{" and not (low or comma)
        if source[0] == "{" and comma and not low:
            self._take(source, f"{{0,{high}}}")
        else:
            self._take(source, "\\{}" if literal else source)
        if not literal and self._text.startswith("+", self._at):
            raise self._refuse(
                "a possessive quantifier", "Leave the second + out: nothing is tried twice here."
            )
        if not literal and self._text.startswith("?", self._at):
            self._take("?")


class _Literals:
    """Collects the literal runs that every match must contain, from the parser's tree."""

    def __init__(self, ignore_case: bool) -> None:
        self._ignore_case = ignore_case
        self._run = b""
        self.runs: list[bytes] = []

    def walk(self, items: Any) -> None:
        self._sequence(items)
        self._end()

    def _end(self) -> None:
        if self._run:
            self.runs.append(self._run)
        self._run = b""

    def _sequence(self, items: Any) -> None:
        for operation, argument in items:
            if operation is _constants.LITERAL and (literal := self._literal(argument)):
                self._run += literal
            elif operation is _constants.SUBPATTERN and not argument[1] & re.IGNORECASE:
                self._sequence(argument[3])
            elif operation in (_constants.MAX_REPEAT, _constants.MIN_REPEAT) and argument[0] > 0:
                self._end()
                self._sequence(argument[2])
                self._end()
            elif operation is not _constants.AT:
                self._end()

    def _literal(self, code: int) -> bytes:
        if code == 10 or 0xD800 <= code <= 0xDFFF:
            return b""
        if not self._ignore_case:
            return chr(code).encode()
        # Only ASCII changes case byte by byte; K and S also fold with letters outside of it (U+212A, U+017F).
        return chr(code).lower().encode() if code < 128 and chr(code) not in "KkSs" else b""


def _pieces(tree: Any) -> tuple[bytes, ...] | None:
    """The literals of a pattern such as 'ICID.*TLS failed'; None for any other shape."""
    pieces = [b""]
    for operation, argument in tree:
        if operation is _constants.LITERAL and argument != 10 and not 0xD800 <= argument <= 0xDFFF:
            pieces[-1] += chr(argument).encode()
        elif operation in (_constants.MAX_REPEAT, _constants.MIN_REPEAT) and _anything(argument):
            pieces.append(b"")
        else:
            return None
    return tuple(piece for piece in pieces if piece) or None


def _anything(repeat: Any) -> bool:
    low, high, items = repeat
    return low == 0 and high == _constants.MAXREPEAT and list(items) == [(_constants.ANY, None)]
