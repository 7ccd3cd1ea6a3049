"""Where the system's grep is asked, it selects what our own search selects."""

from __future__ import annotations

from pathlib import Path

import pytest

from mxseal.logs.search import Query, Selector, grep
from mxseal.logs.system import usable

TEXT = (
    "Info: ICID 1 TLS success protocol TLSv1.3\nInfo: ICID 2 lost\nInfo: DCID 3 TLS failed: [Errno 0] Error\n"
    'Info: MID 4217 Subject "größe"\nInfo: Bounced: DCID 3 MID 12\nInfo: MID 7 queued for delivery\n\nabab\n'
)
PATTERNS = [
    "ICID.*TLS success",
    "(lost|Bounced: )",
    "MID [0-9]+ queued",
    "^Info: (M|D)C?ID [0-9]*",
    "a(ba)*b$",
    "TLS.*Error$",
    "x*",
    "(a|b)+",
]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "logs" / "mail_logs"
    folder.mkdir(parents=True)
    (folder / "mail.@20260101T000000.s").write_text(TEXT)
    (folder / "mail.@20260102T000000.current").write_text(TEXT + "Info: MID 8 queued, torn")
    return tmp_path


@pytest.mark.parametrize("invert", [False, True])
@pytest.mark.parametrize("ignore_case", [False, True])
@pytest.mark.parametrize("pattern", PATTERNS)
async def test_both_select_the_same_lines(pattern: str, ignore_case: bool, invert: bool, home: Path) -> None:
    assert usable(pattern)
    query = Query(pattern=pattern, ignore_case=ignore_case, invert=invert)
    found = b"".join([chunk async for chunk in grep(home, "mail_logs", query)])
    selector = Selector(query)
    expected = b""
    for part in (TEXT, TEXT + "Info: MID 8 queued, torn\n"):
        block = part.encode()
        expected += selector.select(block, len(block))
    assert found == expected


@pytest.mark.parametrize(
    "pattern",
    [
        r"\d+",
        "a.b",
        "[^a]",
        "a{2}",
        "(",
        ")(",
        "()",
        "(|a)",
        "a||b",
        "[[:alpha:]]",
        "é",
        "(?i)a",
        "a\\",
        "a$b",
        "",
    ],
)
def test_what_might_mean_something_else_is_not_given_away(pattern: str) -> None:
    assert not usable(pattern)


async def test_a_search_that_is_given_up_leaves_no_process(home: Path) -> None:
    chunks = grep(home, "mail_logs", Query(pattern="I.*n"))
    async for _ in chunks:
        break
    await chunks.aclose()  # type: ignore[attr-defined]
