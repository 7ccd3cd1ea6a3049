"""Pages of certificates in the browser: from a signing request to a certificate that a listener uses."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.browser import Browser
from lab.ca import Authority, pem
from mxseal.faces.web.chains import picture
from tests.web.looking import Window, window
from tests.web.serving import WebServing


@pytest.fixture(scope="module")
def officer(web: WebServing, browser: Browser) -> Window:
    return window(web, browser, "cora")


def test_a_signed_certificate_with_its_intermediate_takes_the_place_of_the_self_signed_one(
    officer: Window, authority: Authority, tmp_path: Path
) -> None:
    page = officer.page
    officer.open("/certificates/new")
    page.fill("#f-name", "gateway")
    page.fill("#f-common_name", "gateway.example.com")
    officer.press("Make the certificate")
    page.get_by_text("self-signed until the authority has answered").wait_for()
    with page.expect_download() as download:
        officer.press("Download the signing request")
    middle = authority.intermediate("Example Issuing CA 2")
    signed = middle.sign_request(Path(download.value.path()).read_bytes())
    answer, link = tmp_path / "signed.pem", tmp_path / "issuer.pem"
    answer.write_bytes(pem(signed))
    link.write_bytes(pem(middle.certificate))
    officer.press("Put in the signed certificate")
    page.wait_for_url("**/replace")
    page.set_input_files("#f-file", answer)
    page.set_input_files("#f-file2", link)
    officer.press("Put in the certificate")
    page.locator(".chain .box.link", has_text="Example Issuing CA 2").wait_for()
    assert "self-signed until" not in officer.text()
    page.select_option("#service", label="Delivery")
    officer.press("Assign")
    page.get_by_text("Outbound delivery shows gateway").wait_for()
    assert officer.complaints == []


def test_a_file_that_is_no_certificate_is_refused_in_words_and_changes_nothing(
    officer: Window, tmp_path: Path
) -> None:
    odd = tmp_path / "odd.pem"
    odd.write_text("not a certificate")
    officer.open("/certificates/import")
    officer.page.fill("#f-name", "odd")
    officer.page.set_input_files("#f-file", odd)
    officer.press("Import certificate")
    officer.page.locator(".notice.bad").wait_for()
    officer.open("/certificates")
    assert officer.page.get_by_role("link", name="odd", exact=True).count() == 0


def test_a_reader_sees_certificates_and_no_button_that_changes_them(
    web: WebServing, browser: Browser
) -> None:
    reader = window(web, browser, "rhea")
    reader.open("/certificates/mx")
    assert "Example Issuing CA" in reader.text()
    assert reader.page.locator("main form").count() == 0
    assert reader.open("/certificates/new").status == 403
    reader.close()


def test_a_problem_stands_in_the_gap_below_the_certificate_that_it_is_about() -> None:
    def link(name: str, issuer: str) -> dict[str, str]:
        return {
            "common_name": name, "subject": f"CN={name}", "issuer": issuer, "not_after": "", "key": "",
            "fingerprint": name,
        }  # fmt: skip

    problems = [
        {
            "code": "unrelated",
            "text": "The intermediate Old, issued by X, signs nothing.",
            "remedy": "Remove it.",
        },
        {"code": "missing-intermediate", "text": "The certificate of Root is missing.", "remedy": "Add it."},
        {"code": "expires-soon", "text": "It expires.", "remedy": "Renew it."},
    ]
    found = picture(
        {"common_name": "mx", "issuer": "New", "chain": [link("New", "Root"), link("Old", "X")],
         "problems": problems}
    )  # fmt: skip
    assert [(box.kind, box.name) for box in found.boxes] == [
        ("root", "X"), ("link", "Old"), ("link", "New"), ("leaf", "mx"),
    ]  # fmt: skip
    assert [fault.remedy for fault in found.boxes[1].faults] == ["Remove it."]
    assert [fault.remedy for fault in found.above] == ["Add it."]
    assert [fault.remedy for fault in found.beside] == ["Renew it."]
