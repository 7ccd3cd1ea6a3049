"""What `testreceiver` finds about real servers is what testssl.sh finds: versions, ciphers, certificate."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from lab import Unavailable
from lab.ca import Authority, Issued, Validity
from lab.debs import unpacked
from lab.exim import Exim
from lab.exim import Settings as EximSettings
from lab.postfix import Postfix, Settings
from lab.testssl import Opinion, second_opinion
from mxseal.examine.report import HostReport
from tests.examine.examining import one, trusting

NAME = "mx.lab.test"
# OpenSSL, with few suites: testssl.sh takes a second of processor time for each that it asks for.
POSTFIX = {
    "smtpd_tls_protocols": ">=TLSv1.2",
    "smtpd_tls_ciphers": "high",
    "tls_high_cipherlist": "ECDHE-RSA-AES128-GCM-SHA256:AES256-SHA256:DHE-RSA-AES256-SHA",
}
# GnuTLS, with an old version and without the newest.
EXIM = {
    "tls_require_ciphers": "NONE:+VERS-TLS1.2:+VERS-TLS1.1:+AES-128-GCM:+AES-256-CBC:+ECDHE-RSA:+RSA"
    ":+SHA1:+AEAD:+SIGN-ALL:+GROUP-ALL:+COMP-NULL:%COMPAT"
}


@pytest.fixture(autouse=True)
def _packaged() -> None:
    try:
        unpacked("testssl.sh")
    except Unavailable as reason:
        if os.environ.get("MXSEAL_LAB") == "required":
            raise
        pytest.skip(str(reason))


def spoiled(authority: Authority) -> Issued:
    """Expired, for another name, and without its intermediate."""
    whole = authority.intermediate().issue("other.lab.test", kind="rsa2048", validity=Validity(expired=True))
    return Issued(certificate=whole.certificate, key=whole.key, chain=whole.chain[:1], root=whole.root)


def versions(host: HostReport) -> dict[str, bool]:
    assert host.survey is not None
    return {each.name: each.state == "accepted" for each in host.survey.versions}


def ciphers(host: HostReport, version: str) -> set[str]:
    assert host.survey is not None
    assert version in host.survey.listed
    return {each.name for each in host.survey.ciphers if each.version == version}


def agree_about_the_certificate(host: HostReport, theirs: Opinion) -> None:
    found = host.certificate
    assert found is not None
    say = theirs.findings
    assert found.links[0].fingerprint.replace(":", "") == say["cert_fingerprintSHA256"]
    assert len(found.links) == int(say["certs_countServer"])
    codes = {problem.code for problem in found.problems}
    assert ("expired" in codes) == (say["cert_expirationStatus"] == "expired")
    assert (found.matched is not None) == say["cert_trust"].startswith("Ok via SAN")
    assert found.validated == (say["cert_chain_of_trust"] == "passed.")
    assert ("missing-intermediate" in codes) == ("chain incomplete" in say["cert_chain_of_trust"])


async def test_testssl_agrees_about_postfix_and_exim(
    postfix: Callable[[Settings], Postfix], exim: Callable[[EximSettings], Exim], tmp_path: Path
) -> None:
    authority = Authority(kind="rsa2048")
    good = authority.intermediate().issue(NAME, kind="rsa2048")
    first = postfix(Settings(hostname=NAME, certificate=good, options=POSTFIX))
    second = exim(EximSettings(hostname=NAME, certificate=spoiled(authority), options=EXIM))
    trust = trusting(authority, tmp_path)
    theirs, others = await asyncio.gather(
        second_opinion(tmp_path / "1", first.port, NAME, authority.pem, ["-p", "-S", "-E"]),
        second_opinion(tmp_path / "2", second.port, NAME, authority.pem, ["-p", "-S"]),
    )
    ours = await one(first, trust, NAME, versions=True)
    assert ours.verdict == "secure"
    assert versions(ours) == theirs.versions
    for version in ("TLSv1.3", "TLSv1.2"):
        assert ciphers(ours, version) == theirs.ciphers(version) != set()
    agree_about_the_certificate(ours, theirs)
    ours = await one(second, trust, NAME, versions=True)
    assert ours.verdict == "encrypted"
    assert versions(ours) == others.versions
    agree_about_the_certificate(ours, others)
