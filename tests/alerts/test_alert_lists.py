"""Lists of revoked certificates that can't be had, as alerts and in the mail log."""

from __future__ import annotations

from typing import Any, Literal

import pytest

from mxseal.alerts.alert import Alert
from mxseal.alerts.kinds import ENDING, Over, find
from mxseal.config.model import Logs
from mxseal.events.types import RevocationListFailed, RevocationListFetched
from mxseal.sinks.maillog import Renderer

AT = 1_771_096_828.0
URL = "http://crl.partner.example/ca.crl"
FETCHED: dict[str, Any] = {
    "at": AT, "source": "Partner CA", "url": URL, "issuer": "Partner Root", "revoked": 12,
    "this_update": AT, "next_update": AT + 86_400,
}  # fmt: skip
Kept = Literal["none", "outdated", "in-date"]


def failed(kept: Kept) -> RevocationListFailed:
    return RevocationListFailed(at=AT, source="Partner CA", url=URL, problem=f"{URL}: no answer", kept=kept)


def line(event: RevocationListFailed | RevocationListFetched) -> str:
    return Renderer(Logs(time="utc")).render(event).decode().rstrip("\n")[25:]


def test_a_source_without_any_list_is_an_alert_that_ends_when_the_list_is_there() -> None:
    alert, over = find(failed("none")), find(RevocationListFetched(**FETCHED, fresh=True))
    assert isinstance(alert, Alert)
    assert isinstance(over, Over)
    assert (alert.alert_class, alert.severity) == ("certificates", "warning")
    assert alert.title == "The list of revoked certificates Partner CA can't be had"
    assert over.key == alert.key
    assert alert.kind in ENDING


@pytest.mark.parametrize("kept", ["outdated", "in-date"])
def test_of_a_source_with_a_list_the_standing_condition_tells(kept: Kept) -> None:
    assert find(failed(kept)) is None


@pytest.mark.parametrize(
    ("kept", "told"),
    [
        ("none", "there is no list, so its certificates count as not checked"),
        ("outdated", "the last list is out of date, so its certificates count as not checked"),
        ("in-date", "the last list stays in use"),
    ],
)
def test_the_log_says_what_a_failure_leaves(kept: Kept, told: str) -> None:
    assert line(failed(kept)) == f"Warning: CRL Partner CA: not fetched: {URL}: no answer; {told}"


def test_the_log_tells_of_each_list_that_came() -> None:
    told = (
        f"Info: CRL Partner CA: list of Partner Root with 12 revoked certificates from {URL}, valid until "
        "2026-02-15 19:20 UTC"
    )
    assert line(RevocationListFetched(**FETCHED, fresh=True)) == told
    assert line(RevocationListFetched(**FETCHED, fresh=False)) == f"{told}, unchanged"
