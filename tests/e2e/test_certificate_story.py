"""The life of a certificate through the command line of a running gateway, and what the wire shows of it."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from lab.ca import Authority, Validity, key_pem, new_key, pem
from lab.client import s_client
from lab.gateway import Gateway
from lab.place import free_port
from tests.e2e.estate import HOSTNAME, LISTENER, Starter, at, document
from tests.faces.terminal import run

USE = f"listener {LISTENER} (inbound TLS)"
LONG = Validity(days=90)
"""A check complains of less than 30 days."""
SERVICE = f"listener:{LISTENER}"


class Site:
    """The gateway, its port, and where files go."""

    def __init__(self, gateway: Gateway, port: int, folder: Path) -> None:
        self.gateway, self.port, self.folder = gateway, port, folder

    def file(self, name: str, *parts: bytes) -> str:
        path = self.folder / name
        path.write_bytes(b"".join(parts))
        return str(path)

    def served(self, roots: Path) -> tuple[int | None, list[bytes]]:
        """What OpenSSL says of the chain, and the chain."""
        seen = s_client(at(self.port), "-CAfile", str(roots), "-servername", HOSTNAME)
        return seen.verify_code, [entry.strip() + b"\n" for entry in seen.chain]


@pytest.fixture(scope="module")
def lasting_site(lasting: Starter, roots: Path, ground: Path) -> Site:
    port = free_port()
    return Site(lasting(lambda: Gateway(document(port, delivery={"ca_file": str(roots)}))), port, ground)


@pytest.fixture
def site(lasting_site: Site) -> Site:
    """With the demonstration certificate alone, and no changes."""
    lasting_site.gateway.text("clearchanges", "--yes")
    return lasting_site


def test_from_a_signing_request_to_a_renewal_on_the_wire(
    site: Site, authority: Authority, roots: Path
) -> None:
    gateway, first, second = site.gateway, authority.intermediate("First"), authority.intermediate("Second")
    made = gateway.text("certconfig", "new", "Mx", "--common-name", HOSTNAME, "--key", "ecdsa-p256")
    assert "-----BEGIN CERTIFICATE REQUEST-----" in made
    assert gateway.command("certconfig", "show", "Mx")["status"] == "Awaiting signed certificate"

    request = gateway.text("certconfig", "csr", "Mx").encode()
    answer = first.sign_request(request, validity=LONG)
    gateway.text("certconfig", "replace", "Mx", site.file("answer.pem", pem(answer), first.pem))
    assert "Mx is in order" in gateway.text("certconfig", "check", "Mx")
    gateway.text("certconfig", "assign", "Mx", SERVICE)
    said = gateway.text("commit", "a signed certificate")
    assert f"Listener {LISTENER} serves the certificate Mx: SHA-256 " in said
    assert site.served(roots) == (0, [pem(answer), first.pem])

    renewed = second.sign_request(gateway.text("certconfig", "csr", "Mx").encode(), validity=LONG)
    gateway.text("certconfig", "replace", "Mx", site.file("renewed.pem", pem(renewed), second.pem))
    assert site.served(roots) == (0, [pem(answer), first.pem])
    gateway.text("commit", "renewed")
    assert site.served(roots) == (0, [pem(renewed), second.pem])
    assert gateway.command("certconfig", "show", "Mx")["uses"] == [USE]

    refused = run(gateway.home, "certconfig", "delete", "Mx")
    assert refused.returncode == 1
    assert USE.encode() in refused.stderr
    gateway.text("certconfig", "assign", "Demo", SERVICE)
    gateway.text("certconfig", "delete", "Mx")
    gateway.text("commit", "back to the demonstration certificate")
    assert site.served(roots)[0] == 18  # self-signed
    assert [entry["name"] for entry in gateway.command("certconfig", "list")] == ["Demo"]


def test_pkcs12_goes_out_and_in_again_with_its_passphrase_only(site: Site, authority: Authority) -> None:
    gateway, issued = site.gateway, authority.intermediate().issue(HOSTNAME)
    gateway.text("certconfig", "import", "Out", site.file("out.pem", issued.key_pem, issued.chain_pem))
    target = site.folder / "out.p12"
    gateway.text("certconfig", "export", "Out", str(target), "--passphrase", "pass:rosebuds")
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    wrong = run(gateway.home, "certconfig", "import", "In", str(target), "--passphrase", "pass:rosehips")
    assert wrong.returncode == 1
    assert b"passphrase" in wrong.stderr
    gateway.text("certconfig", "import", "In", str(target), "--passphrase", "stdin", stdin="rosebuds\n")
    shown = [gateway.command("certconfig", "show", name) for name in ("Out", "In")]
    assert shown[0]["fingerprint"] == shown[1]["fingerprint"]
    assert [link["fingerprint"] for link in shown[0]["chain"]] == [
        link["fingerprint"] for link in shown[1]["chain"]
    ]


def test_what_can_not_work_is_not_imported_and_all_reasons_are_told(site: Site, authority: Authority) -> None:
    issued = authority.issue("client.lab.test", usages=("client",))
    file = site.file("bad.pem", issued.cert_pem, key_pem(new_key()))
    refused = run(site.gateway.home, "certconfig", "import", "Bad", file)
    said = refused.stderr.decode()
    assert refused.returncode == 1
    assert "Nothing was stored" in said
    assert "key" in said
    assert "Bad" not in [entry["name"] for entry in site.gateway.command("certconfig", "list")]
    assert site.gateway.command("showchanges") == []


def test_a_chain_in_disorder_is_found_by_the_check_and_repaired_on_request(
    site: Site, authority: Authority, roots: Path
) -> None:
    gateway, above = site.gateway, authority.intermediate()
    issued = above.issue(HOSTNAME, validity=LONG)
    gateway.text("certconfig", "import", "Mess", site.file("mess.pem", issued.chain_pem, issued.key_pem))
    gateway.text(
        "certconfig", "intermediates", "add", "Mess", site.file("more.pem", authority.pem, above.pem)
    )
    found = run(gateway.home, "certconfig", "check", "Mess")
    assert found.returncode == 1
    gateway.text("certconfig", "check", "Mess", "--repair")
    listed = gateway.command("certconfig", "intermediates", "list", "Mess")
    assert [link["common_name"] for link in listed] == ["MXSeal Lab Intermediate"]
