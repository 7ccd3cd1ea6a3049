"""grep: the same lines as GNU grep's, over all files, without a pattern that could hang it."""

from __future__ import annotations

import asyncio
import random
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mxseal.clock import ManualClock
from mxseal.logs import search as searching
from mxseal.logs.follow import polling
from mxseal.logs.pattern import PatternError, compile_pattern
from mxseal.logs.retained import Status, UnknownLog, file_path, subscriptions
from mxseal.logs.search import Query, Selector, grep

STAMP = "Sat Feb 14 19:20:28 2026 Info: "


def home_with(home: Path, *files: bytes, name: str = "mail_logs") -> Path:
    """A home whose log has these files, the last of them current."""
    folder = home / "logs" / name
    folder.mkdir(parents=True)
    for number, content in enumerate(files):
        status: Status = "current" if number == len(files) - 1 else "s"
        file_path(folder, "mail", f"20260214T19{number:02d}00", status).write_bytes(content)
    return home


async def found(home: Path, query: Query) -> bytes:
    return b"".join([chunk async for chunk in grep(home, "mail_logs", query)])


def in_blocks(text: bytes, query: Query, size: int) -> bytes:
    """What is selected when the text comes in blocks of about `size` bytes."""
    selector, selected, at = Selector(query), [], 0
    while at < len(text) and not selector.finished:
        end = text.find(b"\n", min(at + size, len(text) - 1)) + 1
        selected.append(selector.select(text[at:end], end - at))
        at = end
    return b"".join(selected)


def gnu(text: bytes, *options: str) -> bytes:
    if shutil.which("grep") is None:
        pytest.skip("there is no grep to compare with")
    environment = {"LC_ALL": "C.UTF-8", "PATH": "/usr/bin:/bin"}
    return subprocess.run(
        ["grep", "-a", "-E", *options], input=text, capture_output=True, check=False, env=environment
    ).stdout


def corpus(count: int = 4000) -> bytes:
    chance = random.Random(5)
    texts = [
        "ICID {n} TLS failed: [Errno 0] Error",
        "ICID {n} TLS success protocol TLSv1.3 cipher TLS_AES_256_GCM_SHA384",
        "TLS failed before ICID {n}",
        "Delivery start DCID {n} MID {n} to RID [0]",
        "Delivery start Delivery start {n}",
        "MID {n} ICID {n} From: <Jörg.Straße{n}@example.com>",
        "MID {n} queued for delivery",
        "ICID {n} close",
        "",
    ]
    lines = [
        (STAMP + text if text else text).format(n=chance.randrange(9999))
        for text in chance.choices(texts, k=count)
    ]
    return "\n".join(lines).encode() + b"\n"


CORPUS = corpus()
PATTERNS = [
    "ICID.*TLS failed",
    "Delivery start",
    "Info",
    "MID [0-9]+ queued",
    "(close|queued)",
    "^$",
    "^Sat.*close$",
    "close$",
    "x*",
    ".",
    "[0-9]{4} close",
    "<[^@>]+@example[.]com>",
    "ICID 12?3+ ",
    "Straße",
    "Jö?rg",
    r"\bclose\b",
    r"ICID .*ICID",
    r"[a-z]\s[S]",
    "ICID.*TLS success",
    "Info.*start",
    "start.*Delivery",
    "Info.*ICID.*a",
    "nothing at all",
    "(TLS|DCID) .*(failed|RID)",
    "[[]Errno",
    "a{2}|e{2}|o{3}",
]


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("size", [1, 700, 1 << 18])
def test_the_lines_are_those_of_gnu_grep_whatever_the_blocks(pattern: str, size: int) -> None:
    assert in_blocks(CORPUS, Query(pattern=pattern), size) == gnu(CORPUS, pattern)
    assert in_blocks(CORPUS, Query(pattern=pattern, invert=True), size) == gnu(CORPUS, "-v", pattern)


@pytest.mark.parametrize("pattern", ["tls FAILED", "STRASSE|STRAße", "^SAT.*close", "icid.*tls", "İ|k"])
def test_case_is_ignored_as_gnu_grep_ignores_it(pattern: str) -> None:
    assert in_blocks(CORPUS, Query(pattern=pattern, ignore_case=True), 5000) == gnu(CORPUS, "-i", pattern)


def test_letters_that_fold_with_one_outside_of_ascii_are_found_there_too() -> None:
    text = "300 \u212aelvin\nDelivery \u017ftart\n".encode()
    assert in_blocks(text, Query(pattern="(300|y) [ks](elvin|tart)", ignore_case=True), 1) == text
    assert in_blocks(text, Query(pattern="kelvin", ignore_case=True), 1) == text.splitlines(keepends=True)[0]
    assert in_blocks(text, Query(pattern="Y START", ignore_case=True), 1) == text.splitlines(keepends=True)[1]


@pytest.mark.parametrize("pattern", ["TLS failed", "close$", "^$", "ICID 1", "Info", "nothing at all"])
@pytest.mark.parametrize("lines", [1, 3, 50])
@pytest.mark.parametrize("size", [1, 300, 1 << 18])
def test_context_is_that_of_gnu_grep_across_blocks_too(pattern: str, lines: int, size: int) -> None:
    text = corpus(600)
    query = Query(pattern=pattern, context=lines)
    assert in_blocks(text, query, size) == gnu(text, f"-C{lines}", pattern)


@given(
    st.lists(st.sampled_from([b"a", b"b", b"ab", b"ba a", b""]), min_size=1, max_size=30),
    st.integers(1, 4),
    st.integers(1, 12),
    st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_context_and_inversion_agree_with_gnu_grep_on_any_lines(
    lines: list[bytes], context: int, size: int, invert: bool
) -> None:
    text = b"".join(line + b"\n" for line in lines)
    query = Query(pattern="a", context=context, invert=invert)
    assert in_blocks(text, query, size) == gnu(text, f"-C{context}", *(["-v"] if invert else []), "a")


def test_a_limit_stops_the_search_and_still_gives_the_context_behind() -> None:
    text = b"a1\nb\na2\nc\nd\na3\n"
    assert in_blocks(text, Query(pattern="a", limit=2), 1) == b"a1\na2\n"
    assert in_blocks(text, Query(pattern="a", limit=2, context=1), 100) == gnu(text, "-m2", "-C1", "a")
    assert in_blocks(text, Query(pattern="[bcd]", limit=2), 100) == b"b\nc\n"


async def test_all_files_are_searched_from_the_oldest_to_the_newest(tmp_path: Path) -> None:
    home = home_with(tmp_path, b"hit 1\nno\n", b"hit 2\n", b"", b"no\nhit 3\n")
    assert await found(home, Query(pattern="hit")) == b"hit 1\nhit 2\nhit 3\n"


async def test_context_goes_over_the_end_of_a_file(tmp_path: Path) -> None:
    home = home_with(tmp_path, b"one\ntwo\n", b"hit\nthree\n")
    assert await found(home, Query(pattern="hit", context=1)) == b"two\nhit\nthree\n"


async def test_a_line_without_its_end_is_found_and_given_one(tmp_path: Path) -> None:
    home = home_with(tmp_path, b"hit 1\nhit cut by a cra", b"hit 2")
    assert await found(home, Query(pattern="hit")) == b"hit 1\nhit cut by a cra\nhit 2\n"


async def test_lines_longer_than_a_block_are_whole(tmp_path: Path) -> None:
    long = b"hit " + b"x" * (3 * searching.BLOCK) + b" end\n"
    home = home_with(tmp_path, b"no\n" + long + b"no\n" + long)
    assert await found(home, Query(pattern="hit.*end")) == long * 2


async def test_a_large_log_comes_in_chunks_of_whole_lines(tmp_path: Path) -> None:
    home = home_with(tmp_path, CORPUS * 30)
    chunks = [chunk async for chunk in grep(home, "mail_logs", Query(pattern="Info"))]
    assert len(chunks) > 2
    assert all(chunk.endswith(b"\n") for chunk in chunks)
    assert b"".join(chunks) == gnu(CORPUS * 30, "Info")


@pytest.mark.parametrize("pattern", ["(a+)+$", "(a|aa)+$", "(.*a){25}", "(a*)*b", "([a-z]+.?)+X"])
async def test_patterns_that_hang_a_backtracking_engine_end(tmp_path: Path, pattern: str) -> None:
    hostile = b"a" * 3000 + b"!\n"
    home = home_with(tmp_path, hostile * 20)
    assert await found(home, Query(pattern=pattern)) == gnu(hostile * 20, pattern)


async def test_a_search_that_is_cancelled_lets_go_of_its_files(tmp_path: Path) -> None:
    home = home_with(tmp_path, CORPUS * 50)
    stream: AsyncIterator[bytes] = grep(home, "mail_logs", Query(pattern="nothing at all"))
    task = asyncio.ensure_future(anext(stream))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_the_tail_is_searched_and_then_what_is_written(tmp_path: Path) -> None:
    home = home_with(tmp_path, b"hit 1\n" + b"no\n" * 10 + b"hit 2\n")
    path = next((home / "logs" / "mail_logs").iterdir())
    clock = ManualClock()
    stream = grep(home, "mail_logs", Query(pattern="hit", limit=2), wait=polling(clock, 1), lines=10)
    assert await anext(stream) == b"hit 2\n"
    with path.open("ab") as file:
        file.write(b"no\nhit 3\nhit 4\n")
    rest = [chunk async for chunk in stream]
    assert rest == [b"hit 3\n"]


def test_a_log_that_does_not_exist_is_named_with_those_that_do(tmp_path: Path) -> None:
    home = home_with(tmp_path, b"")
    for name in ("mail_log", "../logs/mail_logs", "", "."):
        with pytest.raises(UnknownLog, match="mail_logs"):
            grep(home, name, Query(pattern="x"))
    with pytest.raises(UnknownLog, match="none yet"):
        grep(tmp_path / "elsewhere", "mail_logs", Query(pattern="x"))


def test_the_table_of_logs_has_names_and_types(tmp_path: Path) -> None:
    home = home_with(home_with(tmp_path, b"x\n"), b"x\n", name="json_logs")
    assert [(entry.name, entry.kind) for entry in subscriptions(home)] == [
        ("json_logs", "JSON Event Logs"),
        ("mail_logs", "Text Mail Logs"),
    ]


@pytest.mark.parametrize(
    ("pattern", "sentence"),
    [
        ("ICID (", "missing ), unterminated subpattern at character 6"),
        ("a**", "multiple repeat at character 3"),
        ("[a-", "unterminated character set at character 1"),
        (r"(ICID) \1", "a back-reference is not supported at character 8"),
        ("(?P<n>a)(?P=n)", "a back-reference is not supported at character 9"),
        ("a(?=b)", "a look-ahead is not supported at character 2"),
        ("(?<!a)b", "a negative look-behind is not supported at character 1"),
        ("(?>a)b", "an atomic group is not supported at character 1"),
        ("x a++", "a possessive quantifier is not supported at character 5"),
        ("(?x) a", "the flag x is not supported at character 1"),
        ("a{1,2000}", "more than 1000"),
        ("((a{100}){100}){100}", "more than 1000"),
        ("x" * 1001, "it has 1001 characters"),
        ("(" * 490 + ")" * 490, "nested too deeply"),
        (r"\q", r"bad escape \q at character 1"),
        ("\ud800", "half a character at character"),
    ],
)
def test_a_pattern_that_cannot_be_run_is_refused_with_place_and_remedy(pattern: str, sentence: str) -> None:
    with pytest.raises(PatternError) as refusal:
        compile_pattern(pattern)
    assert sentence in str(refusal.value)
    assert str(refusal.value).endswith(".")


@pytest.mark.parametrize(
    ("pattern", "line", "matches"),
    [
        (r"\AICID", "ICID", True),
        (r"close\Z", "close", True),
        (r"a{,2}b", "b", True),
        (r"^a{,1}b", "aab", False),
        (r"[[:x]", "[", True),
        (r"[]a]", "]", True),
        (r"[^]a]", "]", False),
        (r"\x49CID", "ICID", True),
        (r"\u00f6", "ö", True),
        (r"\101", "A", True),
        (r"a{", "a{", True),
        (r"a{x}", "a{x}", True),
        (r"(?i)icid", "ICID", True),
        (r"(?i:i)cid", "Icid", True),
        (r"(?s).(?m:^|b)", "ab", True),
        (r"a(?#a remark)b", "ab", True),
        (r"(?P<name>I)CID", "ICID", True),
        (r"I\nC", "IC", False),
        (r"[^x]$", "", False),
        (r"[\b]", "b", False),
        (r"a+?b", "aab", True),
        (r"\[0\]", "[0]", True),
    ],
)
def test_the_dialect_is_pythons(pattern: str, line: str, matches: bool) -> None:
    text = f"{line}\n".encode()
    assert (in_blocks(text, Query(pattern=pattern), 1) == text) is matches
