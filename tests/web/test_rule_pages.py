"""Trust, revocation and rules for all mail in the browser."""

from __future__ import annotations

import pytest

from lab.browser import Browser
from lab.ca import Authority, pem
from tests.web.looking import window
from tests.web.serving import WebServing


def test_a_profile_is_chosen_where_it_says_whom_it_refuses(web: WebServing, browser: Browser) -> None:
    operator = window(web, browser, "otto")
    operator.open("/policies/tls")
    assert "Exchange on Windows Server 2019" in operator.text()
    operator.press("Inbound SMTP")
    operator.page.select_option("#f-profile", "modern")
    operator.page.locator("form.stack button.primary").click()
    operator.page.locator(".notice.good", has_text="Refused: Peers without TLS 1.3").wait_for()
    found = web.do(lambda: web.services.history.candidate("user:otto").ssl)
    assert (found.inbound.profile, found.outbound.profile) == ("modern", "intermediate")
    operator.close()


def test_a_domain_is_taken_and_left_only_after_a_question(web: WebServing, browser: Browser) -> None:
    operator = window(web, browser, "otto")
    page = operator.page
    operator.open("/policies/domains")
    page.fill("#f-domains", "new.example, other.example")
    page.locator("form.stack button.primary").click()
    page.get_by_role("button", name="Remove new.example").click()
    assert "550" in operator.text()
    page.locator("button.danger").click()
    page.wait_for_url("**/policies/domains")
    access = web.do(lambda: web.services.history.candidate("user:otto").recipient_access)
    assert access.domains == ("example.com", ".example.com", "other.example")
    operator.close()


def test_an_override_for_nobody_is_refused_and_one_for_a_recipient_added_and_removed(
    web: WebServing, browser: Browser
) -> None:
    operator = window(web, browser, "otto")
    page = operator.page
    operator.open("/policies/overrides/new")
    assert page.locator('input[value="default"]').count() == 0
    page.locator("form.stack button.primary").click()
    page.locator(".notice.bad", has_text="one of both").wait_for()
    page.fill("#f-recipient", "law.example")
    page.locator("form.stack button.primary").click()
    page.wait_for_url("**/policies/overrides")
    page.get_by_role("button", name="Remove law.example").click()
    page.locator(".notice.good", has_text="was removed").wait_for()
    assert page.get_by_role("button", name="Remove law.example").count() == 0
    assert page.get_by_role("button", name="Remove board@example.com").count() == 1
    operator.close()


def test_a_sender_group_moves_up_and_the_default_policy_is_chosen_from_those_there_are(
    web: WebServing, browser: Browser
) -> None:
    operator = window(web, browser, "otto")
    page = operator.page
    operator.open("/policies/order")
    page.get_by_role("button", name="Move BLOCKLIST up").click()
    page.locator(".notice.good").wait_for()
    operator.open("/policies/default-policy")
    assert page.input_value("#f-name") == "ACCEPTED"
    page.select_option("#f-name", "BLOCKED")
    page.locator("form.stack button.primary").click()
    page.wait_for_url("**/policies/flow")
    document = web.do(lambda: web.services.history.candidate("user:otto"))
    assert [group.name for group in document.sender_groups][:2] == ["BLOCKLIST", "RELAYLIST"]
    assert document.default_policy == "BLOCKED"
    operator.close()


def test_an_authority_is_imported_exported_and_deleted_by_the_officer(
    web: WebServing, browser: Browser
) -> None:
    officer = window(web, browser, "cora")
    page = officer.page
    officer.open("/trust/import")
    other = pem(Authority("Ministry Root").root.certificate)
    page.set_input_files("#f-file", {"name": "ca.pem", "mimeType": "text/plain", "buffer": other})
    page.fill("#f-name", "ministry")
    page.locator("form.stack button.primary").click()
    page.get_by_role("link", name="ministry").click()
    with page.expect_download() as saved:
        officer.press("Export")
    assert saved.value.path().read_bytes().strip() == other.strip()
    officer.press("Delete the authority")
    page.locator("button.danger").click()
    page.wait_for_url("**/trust")
    assert page.get_by_role("link", name="ministry").count() == 0
    page.get_by_role("button", name="The list of your own: Believe it").click()
    page.locator(".notice.good", has_text="custom list is enabled").wait_for()
    officer.close()


@pytest.mark.parametrize("address", ["/trust/import", "/revocation/new", "/revocation/setup"])
def test_an_operator_does_not_decide_whom_to_believe(web: WebServing, browser: Browser, address: str) -> None:
    operator = window(web, browser, "otto")
    assert operator.open(address).status == 403
    operator.close()
