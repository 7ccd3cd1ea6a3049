"""What is wrong with a certificate: real chains in real handshakes, verified by OpenSSL, then diagnosed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL import SSL
from OpenSSL._util import ffi, lib

from lab.ca import Authority, Issued, Validity, self_signed
from mxseal.certs.sent import read_sent
from mxseal.language import translations
from mxseal.tls.causes import CAUSES
from mxseal.tls.contexts import ClientTls, client_context
from mxseal.tls.diagnosis import diagnose_certificate, remark_chain
from mxseal.tls.facts import ChainFinding, Diagnosis, IdentityFinding, TlsFacts
from mxseal.tls.identity import Expected, by_hosted, names_of
from mxseal.tls.unverified import _BY_ERROR
from tests.tls.pairs import NOW, Pair

HOST = "mx.lab.test"
LATER = NOW.timestamp()


class Estate:
    """Two authorities, one of them trusted, with intermediates."""

    def __init__(self, folder: Path) -> None:
        self.root = Authority()
        self.near = self.root.intermediate("Near")
        self.far = self.near.intermediate("Far")
        self.stranger = Authority("Somebody Else")
        self.trust = folder / "trust.pem"
        self.trust.write_bytes(self.root.pem)

    def shown(self, issued: Issued, chain: Sequence[x509.Certificate] | None = None) -> TlsFacts:
        """What a client finds that meets `issued` with `chain`, in any order."""
        server = SSL.Context(SSL.TLS_SERVER_METHOD)
        server.set_cipher_list(b"ALL:@SECLEVEL=0")
        leaf, *others = chain or issued.chain
        server.use_certificate(leaf)
        server.use_privatekey(issued.key)
        for certificate in others:
            server.add_extra_chain_cert(certificate)
        pair = Pair(server, client_context(ClientTls(trust=str(self.trust))), name=HOST).handshake()
        assert pair.client.established
        return pair.client.facts()


@pytest.fixture(scope="module")
def estate(tmp_path_factory: pytest.TempPathFactory) -> Estate:
    return Estate(tmp_path_factory.mktemp("estate"))


def _read(facts: TlsFacts) -> ChainFinding:
    return read_sent(facts.peer_certificates, LATER)


def _identity(facts: TlsFacts, host: str = HOST) -> IdentityFinding:
    names = names_of(facts.peer_certificates[0])
    verdict = by_hosted(names, Expected(email_domain=host))
    return IdentityFinding(
        wanted=(host,),
        names=names.shown(),
        matched=host if verdict.matched else None,
        nearest=verdict.name,
    )


def _diagnosed(facts: TlsFacts, host: str = HOST) -> Diagnosis | None:
    return diagnose_certificate(
        "server", host, verify_error=facts.verify_error, chain=_read(facts), identity=_identity(facts, host)
    )


def _leaf_only(issued: Issued) -> list[x509.Certificate]:
    return [issued.certificate]


CASES: dict[str, Callable[[Estate], TlsFacts]] = {
    "certificate-expired": lambda e: e.shown(e.near.issue(HOST, validity=Validity(expired=True))),
    "certificate-not-yet-valid": lambda e: e.shown(e.near.issue(HOST, validity=Validity(future=True))),
    "intermediate-expired": lambda e: e.shown(
        e.root.intermediate("Old", validity=Validity(expired=True)).issue(HOST)
    ),
    "intermediate-not-yet-valid": lambda e: e.shown(
        e.root.intermediate("Young", validity=Validity(future=True)).issue(HOST)
    ),
    "certificate-self-signed": lambda e: e.shown(self_signed(HOST)),
    "authority-unknown": lambda e: e.shown(e.stranger.intermediate("Theirs").issue(HOST)),
    "intermediate-missing": lambda e: e.shown(issued := e.far.issue(HOST), _leaf_only(issued)),
    "chain-leftover": lambda e: e.shown(
        issued := e.far.issue(HOST), [issued.certificate, e.stranger.certificate]
    ),
    "name-mismatch": lambda e: e.shown(e.near.issue("www.lab.test", "other.test")),
    "wrong-usage": lambda e: e.shown(e.near.issue(HOST, usages=("client",))),
    "authority-not-allowed": lambda e: e.shown(_issued_by_a_leaf(e)),
}


def _issued_by_a_leaf(estate: Estate) -> Issued:
    """A certificate that an ordinary certificate signed, as a thief of its key could."""
    middle = estate.near.issue("shop.test")
    thief = Authority("shop.test", parent=estate.near)
    thief.key, thief.certificate = middle.key, middle.certificate
    return thief.issue(HOST)


@pytest.mark.parametrize("cause", CASES)
def test_a_chain_that_does_not_verify_has_its_cause(estate: Estate, cause: str) -> None:
    diagnosis = _diagnosed(CASES[cause](estate))
    assert diagnosis is not None
    assert diagnosis.cause == cause
    dutch = diagnosis.sentence(translations("nl", "diagnosis").gettext)
    for sentence in (diagnosis.sentence(), dutch):
        assert not set("{}") & set(sentence)
        assert "nothing known" not in sentence


def test_a_root_that_nobody_knows_is_named_also_where_it_is_sent(estate: Estate) -> None:
    issued = estate.stranger.issue(HOST)
    diagnosis = _diagnosed(estate.shown(issued, [issued.certificate, estate.stranger.certificate]))
    assert diagnosis is not None
    assert diagnosis.cause == "authority-unknown"
    assert "Somebody Else" in diagnosis.summary


def test_the_authority_that_issued_a_certificate_sent_alone_is_named(estate: Estate) -> None:
    diagnosis = _diagnosed(CASES["intermediate-missing"](estate))
    assert diagnosis is not None
    assert "CN=Far" in diagnosis.summary
    assert "It sent no other certificate." in diagnosis.evidence


def test_the_nearest_name_is_told_with_the_names_that_there_are(estate: Estate) -> None:
    diagnosis = _diagnosed(CASES["name-mismatch"](estate))
    assert diagnosis is not None
    assert "the nearest is www.lab.test" in diagnosis.summary
    assert "The certificate is for www.lab.test, other.test; wanted was mx.lab.test." in diagnosis.evidence


def test_the_expired_certificate_of_a_chain_is_named(estate: Estate) -> None:
    diagnosis = _diagnosed(CASES["intermediate-expired"](estate))
    assert diagnosis is not None
    assert "CN=Old" in diagnosis.summary


def test_a_chain_that_verifies_and_has_the_name_has_no_diagnosis(estate: Estate) -> None:
    facts = estate.shown(estate.far.issue(HOST))
    assert facts.verified
    assert _diagnosed(facts) is None
    assert remark_chain("server", HOST, _read(facts)) is None


ODD: dict[str, Callable[[Estate, Issued], list[x509.Certificate]]] = {
    "chain-wrong-order": lambda e, i: [i.certificate, e.near.certificate, e.far.certificate],
    "chain-duplicate": lambda e, i: [*i.chain, e.far.certificate],
    "chain-leftover": lambda e, i: [*i.chain, e.stranger.certificate],
}


@pytest.mark.parametrize("cause", ODD)
def test_what_openssl_puts_in_order_by_itself_is_remarked_upon(estate: Estate, cause: str) -> None:
    issued = estate.far.issue(HOST)
    facts = estate.shown(issued, ODD[cause](estate, issued))
    assert facts.verified
    assert _diagnosed(facts) is None
    remark = remark_chain("server", HOST, _read(facts))
    assert remark is not None
    assert remark.cause == cause


def test_a_key_that_is_too_weak_is_remarked_upon(estate: Estate) -> None:
    remark = remark_chain("server", HOST, _read(estate.shown(estate.near.issue(HOST, kind="rsa1024"))))
    assert remark is not None
    assert remark.cause == "weak-key"
    assert "RSA 1024" in remark.summary


def test_a_root_that_is_sent_along_is_no_reason_for_a_remark(estate: Estate) -> None:
    issued = estate.near.issue(HOST)
    finding = _read(estate.shown(issued, [*issued.chain, estate.root.certificate]))
    assert [fault.kind for fault in finding.faults] == ["root-sent"]
    assert remark_chain("server", HOST, finding) is None


def _openssl_reasons() -> set[str]:
    texts = (lib.X509_verify_cert_error_string(number) for number in range(1, 104))
    return {bytes(ffi.string(text)).decode() for text in texts}


def test_each_reason_that_leads_to_a_cause_is_one_of_openssls_or_our_own() -> None:
    ours = {"certificate is not yet valid", "no certificate from server"}
    assert _BY_ERROR.keys() - _openssl_reasons() == ours
    assert set(_BY_ERROR.values()) <= CAUSES.keys() | {"issuer"}


# --- reading what strangers send --------------------------------------------------------------------------


def _der(*certificates: x509.Certificate) -> list[bytes]:
    return [certificate.public_bytes(Encoding.DER) for certificate in certificates]


def test_the_path_is_found_whatever_the_order(estate: Estate) -> None:
    issued = estate.far.issue(HOST)
    leaf, far, near = issued.chain
    assert read_sent(_der(leaf, near, far), LATER).path == (0, 2, 1)
    assert read_sent(_der(leaf, far, near), LATER).path == (0, 1, 2)
    assert read_sent(_der(leaf, near), LATER).path == (0,)


def test_what_issued_the_top_of_the_path_is_told_where_it_was_not_sent(estate: Estate) -> None:
    issued = estate.far.issue(HOST)
    assert "CN=MXSeal Lab Root" in read_sent(_der(*issued.chain), LATER).issuer
    assert read_sent(_der(*issued.chain, estate.root.certificate), LATER).issuer == ""


@pytest.mark.parametrize("junk", [b"", b"nonsense", b"\x30\x82\x01"])
def test_what_is_no_certificate_is_told_as_unreadable(estate: Estate, junk: bytes) -> None:
    issued = estate.far.issue(HOST)
    finding = read_sent([junk, *_der(*issued.chain)], LATER)
    assert (finding.faults[0].kind, finding.faults[0].at, finding.path) == ("unreadable", 0, ())
    below = read_sent([*_der(*issued.chain[:2]), junk], LATER)
    assert [(fault.kind, fault.at) for fault in below.faults] == [("unreadable", 2)]


def test_of_a_chain_without_end_ten_certificates_are_read(estate: Estate) -> None:
    issued = estate.near.issue(HOST)
    assert len(read_sent(_der(*issued.chain) * 50, LATER).certificates) == 10


def test_nothing_sent_has_nothing_wrong() -> None:
    assert read_sent([], LATER) == ChainFinding()
