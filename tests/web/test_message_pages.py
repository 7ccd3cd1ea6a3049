"""Message tracking in the browser: found by what is known, told with the TLS of both sides, exported."""

from __future__ import annotations

import csv
import io
import json
import ssl
from collections.abc import Iterator

import httpx2
import pytest

from lab.browser import Browser
from mxseal.faces.web.sessions import COOKIE
from tests.web.looking import window
from tests.web.serving import WebServing
from tests.web.tracked import FAILED, STRANGE, VERIFIED


@pytest.fixture
def rhea(web: WebServing) -> Iterator[httpx2.Client]:
    """Who may only read, without a browser."""
    trust = ssl.create_default_context(cadata=web.authority.root.pem.decode())
    cookies = {COOKIE: web.token("rhea")}
    with httpx2.Client(base_url=web.address, verify=trust, cookies=cookies, timeout=20) as client:
        yield client


def test_why_a_mail_failed_is_found_from_its_recipient(web: WebServing, browser: Browser) -> None:
    operator = window(web, browser, "otto")
    page = operator.page
    operator.open("/messages")
    page.fill("#s-to", "masked.example")
    page.select_option("#s-tls", "failed")
    operator.press("Find messages")
    page.get_by_role("link", name=str(FAILED), exact=True).click()
    hop = page.locator(".strip > li").nth(2).inner_text()
    assert "mx.masked.example" in hop
    assert "TLS failed" in hop
    told = page.locator(".notice.bad").inner_text()
    assert "overwritten the offer of STARTTLS" in told
    assert "Whoever runs what lies between has to act." in told
    assert page.get_by_role("button", name="Deliver now").is_visible()
    operator.close()


def test_the_strip_tells_protocol_cipher_group_and_who_vouched(rhea: httpx2.Client) -> None:
    page = rhea.get(f"/messages/{VERIFIED}").text
    for told in ("X25519MLKEM768", "verified by Example Issuing CA", "out: level required-verify"):
        assert told in page
    assert "Deliver now" not in page


def test_older_messages_follow_with_what_was_looked_for(web: WebServing, browser: Browser) -> None:
    reader = window(web, browser, "rhea")
    reader.open("/messages?to=bank.example&tls=verified")
    first = reader.page.locator(".rows tbody a").first.inner_text()
    reader.press("Older ones")
    assert "to=bank.example" in reader.page.url
    assert int(reader.page.locator(".rows tbody a").first.inner_text()) < int(first)
    reader.press("To the newest")
    assert reader.page.locator(".rows tbody a").first.inner_text() == first
    reader.close()


def test_what_is_found_is_exported_whole(rhea: httpx2.Client) -> None:
    answer = rhea.get("/messages/export?to=masked.example&format=csv")
    assert "attachment" in answer.headers["content-disposition"]
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert [row["mid"] for row in rows] == [str(FAILED)]
    answer = rhea.get("/messages/export?from=sender0.example&format=json")
    assert len(json.loads(answer.content)) > 50


def test_what_was_refused_is_found_too(rhea: httpx2.Client) -> None:
    page = rhea.get("/messages?refused=recipient&to=no@bank.example").text
    assert "by RAT" in page
    assert f'href="/messages/{VERIFIED}"' in page


def test_what_makes_no_sense_is_told_beside_the_form(rhea: httpx2.Client) -> None:
    answer = rhea.get("/messages?since=yesterday&to=bank.example")
    assert answer.status_code == 400
    assert "yesterday" in answer.text
    assert 'value="bank.example"' in answer.text
    assert rhea.get("/messages?mid=many").status_code == 400


def test_what_a_stranger_wrote_stays_text(rhea: httpx2.Client) -> None:
    for path in ("/messages", f"/messages/{STRANGE}", "/messages?host=<script>alert(1)"):
        page = rhea.get(path).text
        assert "<script>alert" not in page
        assert "<b>" not in page
        assert "\u202e" not in page
        assert "\x1b" not in page


@pytest.mark.parametrize(
    ("typed", "path"),
    [
        (str(VERIFIED), f"/messages/{VERIFIED}"),
        ("mid 101", "/queue/101"),
        ("ICID 1801", "/messages?icid=1801"),
        ("dan@masked.example", "/messages?to=dan%40masked.example"),
        ("ann@sender0.example", "/messages?from=ann%40sender0.example"),
        ("jan@example.org", "/queue?match=jan%40example.org"),
        ("example.net", "/queue/host/example.net"),
    ],
)
def test_the_search_of_the_bar_leads_straight_to_the_thing(
    rhea: httpx2.Client, typed: str, path: str
) -> None:
    answer = rhea.get("/find", params={"q": typed}, follow_redirects=False)
    assert answer.headers["location"] == path
