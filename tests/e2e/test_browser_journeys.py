"""What administrators do in a browser, from the first page to the wire: a gateway, Chromium, real peers."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Error, Page

from lab.browser import Browser
from lab.ca import Authority, Validity, pem
from lab.client import Envelope, send
from lab.gateway import Gateway
from lab.hostile import Hostile
from lab.place import LOOPBACK, free_port
from lab.sink import Sink
from lab.slapd import BASE
from tests.directory.estate import directory
from tests.e2e.estate import HOSTNAME, Starter, document, hop, starter

PARTNER = "partner.test"


class Desk:
    """The gateway as its administrator has it: an address, a password, browsers."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        inside = tomllib.loads(gateway.text("showconfig"))
        self.address = f"https://{HOSTNAME}:{inside['interfaces'][0]['https_port']}"
        self.interface = inside["interfaces"][0]["name"]
        self.port = int(inside["listeners"][0]["port"])
        found = re.search(r"Password: +(\S+)", gateway.first_words)
        assert found is not None
        self.password = found[1]
        self.demo = next(each["certificate"] for each in inside["certificates"] if each["name"] == "Demo")

    def enter(self, page: Page) -> None:
        page.goto(f"{self.address}/login")
        page.fill("#name", "admin")
        page.fill("#password", self.password)
        page.locator("form button").first.click()
        page.wait_for_url(f"{self.address}/")

    def commit(self, page: Page, comment: str) -> None:
        page.goto(f"{self.address}/changes")
        page.fill("#comment", comment)
        page.locator("form:has(#comment) button.primary").click()
        page.locator(".notice.good").first.wait_for()


@pytest.fixture(scope="module")
def desk(lasting: Starter) -> Desk:
    relays = [{"name": "RELAYLIST", "members": [LOOPBACK], "policy": "RELAYED"}]
    interfaces = [{"name": "Management", "https_port": free_port()}]
    return Desk(lasting(lambda: Gateway(document(free_port(), interfaces=interfaces, sender_groups=relays))))


def security(page: Page, address: str) -> list[str]:
    """What Chromium says of the connection."""
    session = page.context.new_cdp_session(page)
    states: list[str] = []
    session.on(
        "Security.visibleSecurityStateChanged",
        lambda event: states.append(event["visibleSecurityState"]["securityState"]),
    )
    session.send("Security.enable")
    page.goto(address)
    return states


def _ours(page: Page, desk: Desk, authority: Authority, folder: Path) -> None:
    """From the signing request to the commit, as an administrator does it."""
    desk.enter(page)
    page.goto(f"{desk.address}/certificates/new")
    page.fill("#f-name", "web")
    page.fill("#f-common_name", HOSTNAME)
    page.locator("form:has(#f-name) button.primary").click()
    page.wait_for_url("**/certificates/web")
    with page.expect_download() as request:
        page.get_by_role("button", name="Download the signing request").first.click()
    issuer = authority.intermediate("Browser Issuing CA")
    signed = issuer.sign_request(Path(request.value.path()).read_bytes(), validity=Validity(days=90))
    answer = folder / "answer.pem"
    answer.write_bytes(pem(signed) + issuer.pem)
    page.goto(f"{desk.address}/certificates/web/replace")
    page.set_input_files("#f-file", str(answer))
    page.locator("form:has(#f-file) button.primary").click()
    page.wait_for_url("**/certificates/web")
    page.select_option("#service", f"interface:{desk.interface}")
    page.locator("form.assign button").click()
    desk.commit(page, "a certificate of our own for the web interface")


@pytest.fixture(scope="module")
def own(desk: Desk, lasting: Starter, authority: Authority, ground: Path) -> Browser:
    """Chromium that trusts the organisation's authority and its own list, nothing else, behind the journey to
    a certificate that this authority signed. Nothing is told to ignore anything."""
    organisation = [authority.root.pem]
    with starter() as start:
        before = start(lambda: Browser(organisation, [HOSTNAME]))
        with pytest.raises(Error, match="ERR_CERT_AUTHORITY_INVALID"):  # the demonstration certificate
            before.page().goto(desk.address)
    # who compared its fingerprint with that of `mxseal init` trusts it for the first steps
    with Browser([desk.demo.encode()], [HOSTNAME]) as first:
        _ours(first.page(), desk, authority, ground)
    return lasting(lambda: Browser(organisation, [HOSTNAME]))


def test_a_certificate_goes_from_its_request_to_the_padlock(desk: Desk, own: Browser) -> None:
    page = own.page()
    assert security(page, f"{desk.address}/login")[-1] == "secure"
    answered = page.goto(f"{desk.address}/login")
    assert answered is not None
    details = answered.security_details()
    assert details is not None
    assert (details["subjectName"], details["issuer"]) == (HOSTNAME, "Browser Issuing CA")
    page.context.close()


@pytest.fixture(scope="module")
def inside(desk: Desk, own: Browser) -> Iterator[Page]:
    """An administrator's window, behind the first journey."""
    page = own.page()
    desk.enter(page)
    yield page
    page.context.close()


def _route(page: Page, desk: Desk, domain: str, where: str) -> None:
    page.goto(f"{desk.address}/policies/routes/new")
    page.fill("#f-domain", domain)
    page.fill("#f-hosts", where)
    page.locator("form:has(#f-domain) button.primary").click()
    page.wait_for_url("**/policies/routes")


def _demand(page: Page, desk: Desk, domain: str) -> None:
    page.goto(f"{desk.address}/policies/destinations/new")
    page.fill("#f-domain", domain)
    page.check('input[name="tls"][value="required-verify"]')
    page.locator("form:has(#f-domain) button.primary").click()
    page.wait_for_url("**/policies/destinations")


def _mail(desk: Desk, recipient: str) -> str:
    """Send from a host that relays; gives the MID."""
    sent = send((LOOPBACK, desk.port), Envelope(sender="anna@example.test", recipients=(recipient,)))
    found = re.search(r"Message (\d+) accepted", sent.reply)
    assert found is not None, sent.reply
    return found[1]


def _story(desk: Desk, page: Page, mid: str, wanted: str) -> str:
    """The page of a message, once the indexer has come to `wanted`."""
    for _ in range(60):
        page.goto(f"{desk.address}/find?q={mid}")
        told = page.locator("main").inner_text()
        if wanted in told:
            return told
        page.wait_for_timeout(250)
    return page.locator("main").inner_text()


def _believe(page: Page, desk: Desk, authority: Authority) -> None:
    page.goto(f"{desk.address}/trust/import")
    page.set_input_files(
        "#f-file", {"name": "ca.pem", "mimeType": "text/plain", "buffer": authority.root.pem}
    )
    page.locator("form:has(#f-file) button.primary").click()
    page.wait_for_url("**/trust")
    believe = page.get_by_role("button", name="The list of your own: Believe it")
    if believe.count():
        believe.click()


def test_a_new_partner_gets_mail_at_required_verify(
    desk: Desk, inside: Page, authority: Authority, lasting: Starter
) -> None:
    sink = lasting(lambda: Sink(certificate=authority.issue(PARTNER, f"mx.{PARTNER}")))
    _believe(inside, desk, authority)
    _route(inside, desk, PARTNER, hop(sink))
    _demand(inside, desk, PARTNER)
    desk.commit(inside, "a partner at required-verify")
    mid = _mail(desk, f"jan@{PARTNER}")
    told = _story(desk, inside, mid, "encrypted and verified")
    assert "encrypted and verified" in told, told


def test_why_a_mail_failed_is_told_with_what_to_do(desk: Desk, inside: Page, lasting: Starter) -> None:
    backward = lasting(lambda: Hostile("no-starttls", hostname="mx.backward.test"))
    _route(inside, desk, "backward.test", f"{LOOPBACK}:{backward.port}")
    _demand(inside, desk, "backward.test")
    desk.commit(inside, "another partner")
    mid = _mail(desk, "els@backward.test")
    told = _story(desk, inside, mid, "The other side has to act.")
    assert "The other side has to act." in told
    assert "STARTTLS" in told


def _checked(page: Page, wanted: str) -> str:
    """The page of a check, once it tells `wanted`."""
    page.wait_for_url("**/system/checks/*")
    page.locator("main").get_by_text(wanted).first.wait_for()
    return page.locator("main").inner_text()


def test_a_directory_is_set_up_diagnosed_and_asked(desk: Desk, inside: Page) -> None:
    authority = Authority("Directory CA")
    with directory(authority.issue(LOOPBACK)) as slapd:
        inside.goto(f"{desk.address}/system/ldap/profiles/new")
        inside.fill("#f-name", "Staff")
        inside.fill("#f-hosts", f"{LOOPBACK}:{slapd.tls_port}")
        inside.fill("#f-base", BASE)
        inside.select_option("#f-type_", "active-directory")
        inside.check("#f-queries")
        inside.locator("form:has(#f-name) button.primary").click()
        inside.wait_for_url("**/system/ldap*")
        inside.locator('form[action$="/profiles/Staff/test"] button').first.click()
        told = _checked(inside, "TLS failed")
        assert "Directory CA" in told, told
        _believe(inside, desk, authority)
        inside.goto(f"{desk.address}/system/ldap")
        inside.locator('form[action$="/profiles/Staff/test"] button').first.click()
        assert "TLSv1.3" in _checked(inside, "verified")
        inside.goto(f"{desk.address}/system/ldap")
        inside.select_option("#f-query", "Staff.ldapaccept")
        inside.fill("#f-address", "bert@example.com")
        inside.locator("form:has(#f-address) button").last.click()
        _checked(inside, "bert@example.com")
