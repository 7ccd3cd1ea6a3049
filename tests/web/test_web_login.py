"""Logging in with a browser: password, authenticator app, passkey, keyboard alone; and what Chromium says."""

from __future__ import annotations

import re
from base64 import b32decode
from collections.abc import Iterator

import pytest

from lab.browser import Browser
from mxseal.config.model import Web
from mxseal.events.types import LoginFailed, SecondFactorChanged
from mxseal.faces.web import totp
from mxseal.storage.users import User
from mxseal.storage.web import Totp
from tests.commands.gateway import NOW
from tests.web.looking import Window, window
from tests.web.serving import CHEAP, PASSWORD, WebServing

SECRET = b"12345678901234567890"
"""Of RFC 6238's examples."""


@pytest.fixture
def seen(web: WebServing, browser: Browser) -> Iterator[Window]:
    """A stranger's window; afterwards nobody has a second factor."""
    found = window(web, browser, None)
    yield found
    found.close()
    assert found.complaints == []
    web.do(lambda: web.services.web.delete_factors("anna"))
    web.do(lambda: web.services.web.delete_factors("otto"))
    web.do(lambda: web.site.second.failures.forget("anna"))


def log_in(seen: Window, user: str = "anna", path: str = "/login") -> None:
    seen.open(path)
    seen.page.fill("#name", user)
    seen.page.fill("#password", PASSWORD)
    seen.page.press("#password", "Enter")
    seen.page.wait_for_load_state()


def give_app(web: WebServing, user: str = "anna") -> None:
    entry = Totp(user=user, secret=SECRET, step=0, added=NOW)
    web.do(lambda: web.services.web.put_totp(entry))
    codes = [totp.recovery_digest(user, f"abcd-efgh-jkmn-pqr{n}") for n in "st"]
    web.do(lambda: web.services.web.put_recovery(user, codes))


def code(web: WebServing) -> str:
    return totp.code_at(SECRET, int(web.services.now() // 30))


def type_code(seen: Window, text: str) -> None:
    seen.page.fill("#code", text)
    seen.page.press("#code", "Enter")
    seen.page.wait_for_load_state()


def test_the_padlock_is_valid_without_a_switch_that_ignores_anything(seen: Window) -> None:
    session = seen.page.context.new_cdp_session(seen.page)
    states: list[str] = []
    session.on(
        "Security.visibleSecurityStateChanged",
        lambda e: states.append(e["visibleSecurityState"]["securityState"]),
    )
    session.send("Security.enable")
    log_in(seen)
    assert states[-1] == "secure"


def test_a_password_leads_to_the_page_that_was_asked_for(seen: Window) -> None:
    log_in(seen, path="/queue?match=jan")
    assert seen.page.url.endswith("/queue?match=jan")
    assert seen.page.locator("h1").inner_text() == "Queue"


def test_a_login_and_a_page_need_the_keyboard_alone(seen: Window) -> None:
    page = seen.page
    seen.open("/login")
    page.keyboard.type("anna")
    page.keyboard.press("Tab")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("/$"))
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "content"
    page.locator(".menu > summary").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.getAttribute('href')") == "/account"
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
    page.keyboard.press("Escape")
    assert page.locator(".menu").get_attribute("open") is None


def test_with_an_app_the_password_alone_opens_nothing(web: WebServing, seen: Window) -> None:
    give_app(web)
    log_in(seen)
    assert "/login/factor" in seen.page.url
    seen.open("/queue")
    assert "/login/factor" in seen.page.url
    type_code(seen, code(web))
    assert seen.page.url == f"{web.address}/"


def test_a_code_is_good_once_and_a_wrong_one_never(web: WebServing, seen: Window) -> None:
    web.advance(60)
    give_app(web)
    log_in(seen)
    type_code(seen, "000000")
    assert "This code is not valid now." in seen.text()
    used = code(web)
    type_code(seen, used)
    assert seen.page.url == f"{web.address}/"
    seen.log_out()
    log_in(seen)
    type_code(seen, used)
    assert "This code was used already." in seen.text()
    failed = [event for event in web.services.events if isinstance(event, LoginFailed)]
    assert [event.reason for event in failed[-2:]] == ["the code is wrong", "the code is used"]


def test_behind_five_wrong_codes_the_right_one_is_not_looked_at_whoever_has_the_password(
    web: WebServing, seen: Window
) -> None:
    give_app(web)
    for _ in range(5):
        seen.log_out()
        log_in(seen)
        type_code(seen, "000000")
    type_code(seen, code(web))
    assert "Too many wrong codes. Wait 5 minutes" in seen.text()
    web.advance(301)
    log_in(seen)
    type_code(seen, code(web))
    assert seen.page.url == f"{web.address}/"


def test_a_recovery_code_lets_in_once(web: WebServing, seen: Window) -> None:
    give_app(web)
    for good in (True, False):
        seen.log_out()
        log_in(seen)
        type_code(seen, "ABCD efgh jkmn pqrs")
        assert (seen.page.url == f"{web.address}/") is good
    changes = [event.what for event in web.services.events if isinstance(event, SecondFactorChanged)]
    assert changes[-1] == "a recovery code was used"


def test_a_password_that_waits_for_its_code_is_forgotten_after_five_minutes(
    web: WebServing, seen: Window
) -> None:
    give_app(web)
    log_in(seen)
    web.advance(301)
    seen.open("/login/factor")
    assert seen.page.url.startswith(f"{web.address}/login?")


def test_an_app_is_set_up_with_its_picture_and_asked_for_from_then_on(web: WebServing, seen: Window) -> None:
    seen.log_in("otto")
    seen.open("/account")
    seen.press("Set up an app")
    seen.page.click("summary:has-text('scan')")
    spelled = "".join(seen.page.locator("code.groups span").all_inner_texts())
    assert seen.page.locator(".qr svg path").count() > 0
    secret = b32decode(spelled)
    type_code(seen, "000000")
    assert "not valid" in seen.text()
    type_code(seen, totp.code_at(secret, int(web.services.now() // 30)))
    assert seen.page.url.endswith("/account/codes")
    codes = seen.page.locator("ol.codes code").all_inner_texts()
    assert len(codes) == len(set(codes)) == totp.RECOVERY_CODES
    seen.open("/account/codes")
    assert seen.page.locator("ol.codes").count() == 0
    seen.log_out()
    log_in(seen, "otto")
    type_code(seen, codes[0])
    assert seen.page.url == f"{web.address}/"


def test_where_a_second_factor_is_required_who_has_none_sets_one_up_first(
    web: WebServing, seen: Window
) -> None:
    current = web.services.history.current().document
    required = current.model_copy(update={"web": Web(second_factor="required")})
    web.do(lambda: web.put(required))
    try:
        log_in(seen)
        assert "/login/enrol" in seen.page.url
        seen.open("/queue")
        assert "/login/enrol" in seen.page.url
        spelled = "".join(seen.page.locator("code.groups span").all_text_contents())
        secret = b32decode(spelled)
        type_code(seen, totp.code_at(secret, int(web.services.now() // 30)))
        assert seen.page.locator("ol.codes code").count() == totp.RECOVERY_CODES
        seen.open("/account")
        seen.page.click("summary:has-text('Remove the app')")
        seen.page.fill("details[open] input[name=password]", PASSWORD)
        seen.page.click("details[open] form button")
        assert "set up another one before you remove this one" in seen.text()
    finally:
        web.do(lambda: web.put(current))


def test_a_passkey_is_made_and_lets_in_and_the_gateway_asks_for_the_one_of_its_own_name(
    web: WebServing, seen: Window
) -> None:
    session = seen.page.context.new_cdp_session(seen.page)
    session.send("WebAuthn.enable")
    options = {
        "protocol": "ctap2", "transport": "usb", "hasResidentKey": False, "hasUserVerification": True,
        "isUserVerified": True, "automaticPresenceSimulation": True,
    }  # fmt: skip
    session.send("WebAuthn.addVirtualAuthenticator", {"options": options})
    seen.log_in("anna")
    seen.open("/account")
    seen.page.fill("#passkey-name", "Anna's key")
    seen.press("Add a passkey")
    seen.page.wait_for_url("**/account/codes")
    (made,) = web.do(lambda: web.services.web.passkeys("anna"))
    assert (made.name, made.host) == ("Anna's key", "localhost")
    seen.log_out()
    log_in(seen, path="/queue")
    assert "/login/factor" in seen.page.url
    seen.press("Use a passkey")
    seen.page.wait_for_url("**/queue")
    (used,) = web.do(lambda: web.services.web.passkeys("anna"))
    assert used.count > made.count
    assert used.used is not None


def test_a_password_is_changed_in_the_account_and_ends_all_other_sessions(
    web: WebServing, seen: Window
) -> None:
    user = User(name="dora", role="operator", password=CHEAP.hash(PASSWORD))
    web.do(lambda: web.services.users.put(user))
    other = web.token("dora")
    seen.log_in("dora")
    seen.open("/account/password")
    page = seen.page
    for new, again, told in (
        ("one way to say it", "another way to say", "typed in two ways"),
        ("short", "short", "12 to 1024 characters"),
        ("four words make one", "four words make one", "Your password was changed."),
    ):
        page.fill("#f-old", PASSWORD)
        page.fill("#f-new", new)
        page.fill("#again", again)
        page.click("button:has-text('Change the password')")
        assert told in seen.text()
    assert page.url.endswith("/account")
    assert web.do(lambda: web.site.sessions.find(other)) is None
    web.do(lambda: web.services.users.delete("dora"))


def test_a_session_is_ended_from_another_one(web: WebServing, seen: Window) -> None:
    other = web.token("otto")
    seen.log_in("otto")
    seen.open("/account")
    seen.press("End all other sessions")
    assert "The session has ended." in seen.text()
    assert web.do(lambda: web.site.sessions.find(other)) is None
    assert seen.page.locator("text=this one").count() == 1


def test_the_language_is_the_users_choice_over_the_browsers(web: WebServing, seen: Window) -> None:
    seen.log_in("otto")
    seen.open("/account")
    seen.page.select_option("#chosen", "nl")
    seen.press("Use it")
    assert seen.page.locator("html").get_attribute("lang") == "nl"
    seen.page.select_option("#chosen", "")
    seen.press("Gebruiken")
    assert seen.page.locator("html").get_attribute("lang") == "en"
