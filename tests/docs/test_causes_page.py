"""docs/tls-causes.md is what the list of causes says."""

from __future__ import annotations

import re

from mxseal.tls.causes import CAUSES
from tests.docs import causes_page
from tests.docs.pages import ROOT

PAGE = ROOT / "docs" / "tls-causes.md"


def test_the_page_of_causes_is_up_to_date() -> None:
    assert PAGE.read_text() == causes_page.document(), (
        "run: python -m tests.docs.causes_page > docs/tls-causes.md"
    )


def test_each_cause_has_its_row_and_no_place_is_left_open() -> None:
    rows = re.findall(r"^\| `([a-z0-9-]+)` \|", PAGE.read_text(), re.MULTILINE)
    assert rows == list(CAUSES)
    assert not set("{}") & set(PAGE.read_text())
