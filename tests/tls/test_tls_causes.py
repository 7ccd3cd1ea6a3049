"""The closed list of causes: for each, facts that lead to it, its side, its sentences in both languages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mxseal.language import LANGUAGES, translations
from mxseal.tls.causes import CAUSES
from mxseal.tls.diagnosis import (
    OurSettings,
    diagnose_certificate,
    diagnose_inbound,
    diagnose_outbound,
    diagnose_stage,
    diagnose_unavailable,
    diagnose_verification,
    diagnose_without_tls,
    remark_chain,
)
from mxseal.tls.facts import (
    ChainFault,
    ChainFinding,
    ClientOffer,
    Diagnosis,
    IdentityFinding,
    StageTimes,
    TlsFault,
)
from mxseal.tls.identity import NameVerdict
from mxseal.tls.observed import times_text
from mxseal.tls.policy import LEVELS
from mxseal.tls.telling import PHRASES
from mxseal.tls.verification import Link, Verification

HOST = "mx.example.com"
OURS = OurSettings(certificate="Main", key_types=("RSA",))
MODERN = ClientOffer(
    versions=("TLSv1.2",),
    ciphers=("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",),
    cipher_count=1,
    groups=("x25519",),
    signature_algorithms=("rsa_pkcs1_sha256",),
)


def _failed(reason: str, **facts: Any) -> TlsFault:
    return TlsFault(kind="local-error", library="SSL routines", reason=reason, **facts)


def _alert(name: str) -> TlsFault:
    return TlsFault(kind="alert-received", reason=f"tls alert {name}", alert=name)


def _in(fault: TlsFault, ours: OurSettings = OURS) -> Diagnosis:
    return diagnose_inbound(fault, ours, times=StageTimes(handshake=0.5))


def _out(fault: TlsFault, ours: OurSettings = OURS) -> Diagnosis:
    return diagnose_outbound(fault, host=HOST, ours=ours, times=StageTimes(connect=0.01, handshake=0.5))


def _no_cipher(*suites: str, **changes: Any) -> TlsFault:
    offer = msgspec.structs.replace(MODERN, ciphers=suites, cipher_count=len(suites), **changes)
    return _failed("no shared cipher", offer=offer)


def _link(subject: str, issuer: str, begin: float = 0.0, end: float = 2e9) -> Link:
    return Link(
        subject=f"CN={subject}",
        issuer=f"CN={issuer}",
        sha256="ab" * 32,
        spki_sha256="cd" * 32,
        not_before=begin,
        not_after=end,
    )


CHAIN = ChainFinding(
    certificates=(_link(HOST, "R11", end=1.75e9), _link("R11", "Root X1", begin=1.9e9, end=1.76e9)),
    path=(0, 1),
    issuer="CN=Root X1",
    issuer_at="http://x1.example/ca.der",
)
ALONE = msgspec.structs.replace(CHAIN, certificates=CHAIN.certificates[:1], path=(0,), issuer="CN=R11")
NO_ISSUER = "unable to get local issuer certificate"


def _with(kind: Any, at: int = 0, detail: str = "RSA 1024") -> ChainFinding:
    return msgspec.structs.replace(CHAIN, faults=(ChainFault(kind=kind, at=at, detail=detail),))


def _cert(error: str | None, chain: ChainFinding | None = CHAIN, **more: Any) -> Diagnosis:
    found = diagnose_certificate("server", HOST, verify_error=error, chain=chain, trust="system list", **more)
    assert found is not None
    return found


def _odd(kind: Any, at: int = 1) -> Diagnosis:
    found = remark_chain("server", HOST, _with(kind, at))
    assert found is not None
    return found


def _gone(**facts: Any) -> TlsFault:
    return TlsFault(kind="peer-gone", **facts)


def _late(**facts: Any) -> TlsFault:
    return TlsFault(kind="timeout", **facts)


def _stage(stage: Any, reason: str, reply: str = "") -> Diagnosis:
    return diagnose_stage(stage, None, HOST, reason=reason, reply=reply, times=StageTimes(connect=1.0))


CLOSED = "[Errno 0] Error"
TABLE: dict[str, Callable[[], Diagnosis]] = {
    # --- before TLS
    "connect-refused": lambda: _stage("connect", "[Errno 61] Connection refused"),
    "connect-timeout": lambda: _stage("connect", "timeout"),
    "connect-unreachable": lambda: _stage("connect", "[Errno 65] No route to host"),
    "connect-failed": lambda: _stage("connect", "[Errno 24] Too many open files"),
    "banner-timeout": lambda: _stage("banner", "timeout"),
    "banner-closed": lambda: _stage("banner", CLOSED),
    "banner-refused": lambda: _stage("banner", "", "554 5.7.1 no"),
    "not-smtp": lambda: _stage("banner", "the server's reply is no SMTP"),
    "ehlo-timeout": lambda: _stage("ehlo", "timeout"),
    "ehlo-closed": lambda: _stage("ehlo", "[Errno 54] Connection reset by peer"),
    "ehlo-refused": lambda: _stage("ehlo", "", "550 5.7.1 who are you"),
    "no-esmtp": lambda: diagnose_unavailable("no-esmtp", HOST),
    "no-starttls": lambda: diagnose_unavailable("no-starttls", HOST, offered=("SIZE 1", "8BITMIME")),
    "starttls-masked": lambda: diagnose_unavailable("no-starttls", HOST, offered=("SIZE 1", "XXXXXXXA")),
    "starttls-refused": lambda: diagnose_unavailable("starttls-refused", HOST, reply="502 no"),
    "starttls-not-now": lambda: diagnose_unavailable("starttls-refused", HOST, reply="454 4.7.0 later"),
    "starttls-timeout": lambda: _stage("starttls", "timeout"),
    "starttls-closed": lambda: _stage("starttls", CLOSED),
    "starttls-not-used": diagnose_without_tls,
    "sender-without-tls": lambda: diagnose_without_tls(sender=True),
    # --- the handshake: silence
    "peer-gone": lambda: _in(_gone(heard=300, offer=MODERN)),
    "peer-gone-silent": lambda: _in(_gone()),
    "peer-gone-in-hello": lambda: _in(_gone(heard=300)),
    "server-gone-silent": lambda: _out(_gone()),
    "peer-closed": lambda: _out(_gone(alert="close notify")),
    "peer-closed-later": lambda: _out(_gone(during="transfer")),
    "reset": lambda: _out(TlsFault(kind="reset", errno=104)),
    "timeout": lambda: _in(_late(heard=300, offer=MODERN)),
    "timeout-silent": lambda: _out(_late()),
    "timeout-in-hello": lambda: _in(_late(heard=300)),
    # --- no TLS
    "http-request": lambda: _in(TlsFault(kind="not-tls", reason="http request", clear_text="GET /")),
    "clear-text": lambda: _in(TlsFault(kind="not-tls", reason="wrong version number", clear_text="EHLO a")),
    "clear-text-answer": lambda: _out(
        TlsFault(kind="not-tls", reason="wrong version number", clear_text="454 no")
    ),
    # --- nothing in common
    "client-too-old": lambda: _in(
        _failed("unsupported protocol", offer=msgspec.structs.replace(MODERN, versions=("TLSv1",)))
    ),
    "server-too-old": lambda: _out(_failed("unsupported protocol")),
    "no-common-version": lambda: _in(_failed("unsupported protocol", offer=MODERN)),
    "sslv2-hello": lambda: _in(
        _failed("unsupported protocol", offer=msgspec.structs.replace(MODERN, versions=("TLSv1", "SSLv2")))
    ),
    "only-broken-ciphers": lambda: _in(_no_cipher("TLS_RSA_WITH_RC4_128_SHA", "TLS_RSA_WITH_NULL_SHA")),
    "only-rsa-key-exchange": lambda: _in(_no_cipher("TLS_RSA_WITH_AES_128_CBC_SHA")),
    "only-dhe": lambda: _in(_no_cipher("TLS_DHE_RSA_WITH_AES_128_GCM_SHA256")),
    "only-ecdsa": lambda: _in(_no_cipher("TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256")),
    "only-rsa-certificates": lambda: _in(
        _no_cipher("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"), OurSettings(key_types=("ECDSA",))
    ),
    "no-shared-cipher": lambda: _in(_no_cipher("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256")),
    "no-common-group": lambda: _in(_failed("no suitable key share", offer=MODERN)),
    "no-common-signature": lambda: _in(_failed("no suitable signature algorithm", offer=MODERN)),
    "inappropriate-fallback": lambda: _in(_failed("inappropriate fallback", offer=MODERN)),
    "weak-key-exchange": lambda: _out(_failed("dh key too small")),
    "legacy-renegotiation": lambda: _out(_failed("unsafe legacy renegotiation disabled")),
    # --- the peer said no
    "demonstration-certificate": lambda: _in(_alert("unknown ca"), OurSettings(demonstration=True)),
    "our-certificate-untrusted": lambda: _in(_alert("unknown ca")),
    "our-certificate-self-signed": lambda: _in(
        _alert("unknown ca"), OurSettings(chain_faults=("self-signed",))
    ),
    "our-chain-incomplete": lambda: _in(
        _alert("unknown ca"), OurSettings(certificate="Main", chain_faults=("missing-intermediate",))
    ),
    "our-chain-disordered": lambda: _in(
        _alert("bad certificate"), OurSettings(certificate="Main", chain_faults=("wrong-order",))
    ),
    "our-certificate-expired": lambda: _in(_alert("certificate expired")),
    "our-certificate-revoked": lambda: _in(_alert("certificate revoked")),
    "our-certificate-rejected": lambda: _in(_alert("certificate unknown")),
    "our-certificate-unsupported": lambda: _in(_alert("unsupported certificate")),
    "client-certificate-required": lambda: _out(_alert("certificate required")),
    "no-client-certificate": lambda: _in(
        _failed("peer did not return a certificate", verify_error="no certificate from client")
    ),
    "peer-certificate-rejected": lambda: _in(_failed("certificate verify failed")),
    "handshake-failure": lambda: _out(_alert("handshake failure")),
    "version-refused": lambda: _out(_alert("protocol version")),
    "insufficient-security": lambda: _out(_alert("insufficient security")),
    "name-refused": lambda: _out(_alert("unrecognized name")),
    "peer-internal-error": lambda: _out(_alert("internal error")),
    "peer-cannot-read-us": lambda: _out(_alert("decode error")),
    "peer-cannot-decrypt": lambda: _out(_alert("bad record mac")),
    "cancelled": lambda: _out(_alert("user cancelled")),
    "alert": lambda: _out(_alert("no application protocol")),
    # --- we said no
    "damaged-record": lambda: _in(_failed("decryption failed or bad record mac")),
    "malformed-message": lambda: _in(_failed("length mismatch")),
    "bad-signature": lambda: _out(_failed("bad signature")),
    "peer-key-too-weak": lambda: _out(_failed("ee key too small")),
    "our-internal-error": lambda: _out(_failed("malloc failure")),
    "our-settings": lambda: _out(_failed("no protocols available")),
    "unexplained": lambda: _out(_failed("something nobody has seen")),
    # --- encrypted, not verified
    "certificate-expired": lambda: _cert("certificate has expired", _with("expired")),
    "certificate-not-yet-valid": lambda: _cert("certificate is not yet valid", _with("not-yet-valid")),
    "intermediate-expired": lambda: _cert("certificate has expired", _with("expired", 1)),
    "intermediate-not-yet-valid": lambda: _cert("certificate is not yet valid", _with("not-yet-valid", 1)),
    "certificate-self-signed": lambda: _cert("self-signed certificate", _with("self-signed")),
    "authority-unknown": lambda: _cert("self-signed certificate in certificate chain"),
    "authority-unfit": lambda: _cert("certificate has expired", ALONE),
    "intermediate-missing": lambda: _cert(NO_ISSUER, ALONE),
    "chain-wrong-order": lambda: _odd("wrong-order"),
    "chain-duplicate": lambda: _odd("duplicate"),
    "chain-leftover": lambda: _cert(
        NO_ISSUER, msgspec.structs.replace(_with("unrelated", 1), path=(0,), issuer="CN=R12")
    ),
    "authority-key-mismatch": lambda: _cert(
        NO_ISSUER, msgspec.structs.replace(_with("key-identifier", 1), path=(0,), issuer="CN=R12")
    ),
    "name-mismatch": lambda: _cert(
        None, identity=IdentityFinding(wanted=("example.com",), names=("a.test", HOST), nearest=HOST)
    ),
    "certificate-without-names": lambda: _cert(None, identity=IdentityFinding(wanted=("example.com",))),
    "weak-key": lambda: _cert("EE certificate key too weak", _with("weak-key")),
    "weak-signature": lambda: _cert("CA signature digest algorithm too weak", _with("weak-signature", 1)),
    "wrong-usage": lambda: _cert("unsuitable certificate purpose", _with("wrong-usage", 0, "code signing")),
    "authority-not-allowed": lambda: _cert("path length constraint exceeded"),
    "certificate-signature-wrong": lambda: _cert("certificate signature failure"),
    "certificate-revoked": lambda: _cert(None, besides="revoked"),
    "revocation-unknown": lambda: _cert("unable to get certificate CRL"),
    "certificate-missing": lambda: _cert("", ChainFinding()),
    "certificate-unreadable": lambda: _cert("unspecified error", _with("unreadable")),
    "certificate-not-pinned": lambda: _cert(None, besides="not-pinned"),
    "certificate-unverified": lambda: _cert("something nobody has seen"),
}  # fmt: skip


def test_the_list_is_closed_and_each_cause_has_facts_that_lead_to_it() -> None:
    assert list(TABLE) == list(CAUSES)
    assert len(CAUSES) >= 35


@pytest.mark.parametrize("cause", CAUSES)
def test_facts_lead_to_their_cause_and_to_whole_sentences_in_every_language(cause: str) -> None:
    diagnosis = TABLE[cause]()
    assert (diagnosis.cause, diagnosis.side) == (cause, CAUSES[cause].side)
    told = [_told(diagnosis, language) for language in LANGUAGES]
    assert told[0] != told[1]
    for sentence in told:
        assert sentence.isprintable()
        assert not set("{}") & set(sentence)
        assert sentence[0].isupper()
        assert sentence.endswith(".")
        for phrase in (*PHRASES["nothing"], "niets bekend", "geen reden"):
            assert phrase not in sentence
    assert diagnosis.sentence() == told[0]


def _told(diagnosis: Diagnosis, language: Any) -> str:
    translate = translations(language, "diagnosis").gettext
    parts = [diagnosis.tell_summary(translate), diagnosis.tell_remedy(translate)]
    assert all(parts)
    assert (diagnosis.evidence == "") == (diagnosis.tell_evidence(translate) == "")
    return diagnosis.sentence(translate)


@pytest.mark.parametrize("cause", CAUSES)
def test_what_a_diagnosis_says_of_its_cause_is_one_sentence_each(cause: str) -> None:
    for text in (CAUSES[cause].summary, CAUSES[cause].remedy):
        assert text.endswith(".")
        assert ". " not in text


def test_a_diagnosis_keeps_what_it_says_through_the_json_log() -> None:
    for made in TABLE.values():
        diagnosis = made()
        assert msgspec.json.decode(msgspec.json.encode(diagnosis), type=Diagnosis) == diagnosis


def test_a_cause_of_another_release_is_told_by_its_name() -> None:
    diagnosis = Diagnosis(cause="of-a-later-release", side="ours")
    assert diagnosis.sentence() == "of-a-later-release"


# --- which facts decide -----------------------------------------------------------------------------------


@pytest.mark.parametrize("reply", ["454 4.7.0 no", "421 4.3.2 busy"])
def test_a_refusal_with_4xx_is_one_for_the_moment(reply: str) -> None:
    assert diagnose_unavailable("starttls-refused", HOST, reply=reply).cause == "starttls-not-now"


def test_what_a_server_offers_in_the_place_of_starttls_is_evidence() -> None:
    lines = ("PIPELINING", "SIZE 1000\x1b[0m", *(f"X{number}" for number in range(30)))
    evidence = diagnose_unavailable("no-starttls", HOST, offered=lines).evidence
    assert evidence.startswith("It offered PIPELINING, SIZE 1000")
    assert evidence.endswith("X9, ….")
    assert evidence.isprintable()


def test_times_are_told_without_an_exponent() -> None:
    times = StageTimes(lookup=0.0000421, connect=0.00598, banner=1234.0)
    assert times_text(times) == "DNS 0.0000, connect 0.00598, banner 1234"


@pytest.mark.parametrize("line", ["XXXXXXXA", "XXXX", "xxxxxxxa", "********", "XXXXXXXA 1"])
def test_an_overwritten_offer_is_seen_in_the_lines_of_ehlo(line: str) -> None:
    found = diagnose_unavailable("no-starttls", HOST, offered=("PIPELINING", line))
    assert found.cause == "starttls-masked"
    assert line in found.summary


@pytest.mark.parametrize("line", ["X-EXPS LOGIN", "XCLIENT", "XX", "XFORWARD", "SIZE"])
def test_extensions_of_servers_are_no_overwritten_offer(line: str) -> None:
    assert diagnose_unavailable("no-starttls", HOST, offered=(line,)).cause == "no-starttls"


def test_a_client_that_offers_five_hundred_suites_is_told_with_five_hundred() -> None:
    offer = msgspec.structs.replace(
        MODERN, ciphers=("TLS_A", "TLS_B", "TLS_C", "TLS_D") * 25, cipher_count=512
    )
    evidence = _in(_failed("no shared cipher", offer=offer)).evidence
    assert "with 512 cipher suites (TLS_A, TLS_B, TLS_C, …)" in evidence


def test_who_sent_which_alert_is_told() -> None:
    assert "It sent the alert “handshake failure”." in _out(_alert("handshake failure")).evidence
    ours = _in(_no_cipher("TLS_RSA_WITH_AES_128_CBC_SHA"))
    assert "alert" not in ours.evidence
    sent = msgspec.structs.replace(_failed("no shared cipher", offer=MODERN), alert_sent="handshake failure")
    assert "This gateway ended the handshake with the alert “handshake failure”." in _in(sent).evidence


def test_what_this_gateway_allows_is_told_where_the_two_have_nothing_in_common() -> None:
    evidence = TABLE["client-too-old"]().evidence
    assert "This gateway allows TLSv1.2, TLSv1.3." in evidence
    assert "This listener has certificates of the type RSA." in evidence


def test_the_time_of_each_stage_is_told_where_nobody_said_what_was_wrong() -> None:
    times = StageTimes(connect=0.0121, banner=0.5, ehlo=0.02, starttls=0.03, handshake=30.0)
    diagnosis = diagnose_outbound(_late(heard=100), host=HOST, times=times)
    assert diagnosis.evidence == (
        "It had sent 100 bytes of TLS by then. "
        "Seconds for each stage: connect 0.0121, banner 0.5, EHLO 0.02, STARTTLS 0.03, handshake 30."
    )


def test_the_chain_is_told_with_fingerprints_and_where_the_missing_one_can_be_had() -> None:
    evidence = TABLE["intermediate-missing"]().evidence
    assert f"SHA-256 {'ab' * 32}" in evidence
    assert "It sent no other certificate." in evidence
    assert "The missing certificate can be had at http://x1.example/ca.der." in evidence
    assert "Trusted here: system list." in evidence


def test_a_name_mismatch_tells_the_nearest_name_all_names_and_those_wanted() -> None:
    diagnosis = TABLE["name-mismatch"]()
    assert f"the nearest is {HOST}" in diagnosis.summary
    assert f"The certificate is for a.test, {HOST}; wanted was example.com." in diagnosis.evidence


def test_further_faults_of_a_chain_are_told_beside_the_one_that_decides() -> None:
    faults = (
        ChainFault(kind="expired"),
        ChainFault(kind="duplicate", at=1),
        ChainFault(kind="root-sent", at=1),
    )
    chain = msgspec.structs.replace(CHAIN, faults=faults)
    evidence = _cert("certificate has expired", chain).evidence
    assert "Besides, CN=R11 is sent twice. Besides, the root CN=R11 is sent" in evidence
    assert "Besides, CN=mx.example.com expired" not in evidence


def test_nothing_is_diagnosed_where_a_certificate_is_verified_and_has_the_name() -> None:
    matched = IdentityFinding(wanted=(HOST,), names=(HOST,), matched=HOST)
    assert diagnose_certificate("server", HOST, verify_error=None, chain=CHAIN, identity=matched) is None
    assert remark_chain("server", HOST, CHAIN) is None


def test_the_worst_finding_decides() -> None:
    mismatch = IdentityFinding(wanted=(HOST,), names=("a.test",), nearest="a.test")
    expired = _with("expired")
    assert (
        _cert("certificate has expired", expired, identity=mismatch, besides="revoked").cause
        == "certificate-revoked"
    )
    assert _cert("certificate has expired", expired, identity=mismatch).cause == "certificate-expired"
    assert _cert(None, CHAIN, identity=mismatch).cause == "name-mismatch"


def test_a_verification_is_diagnosed_by_the_rules_of_its_level() -> None:
    no = NameVerdict(matched=False, name="a.test", expected="example.com")
    yes = NameVerdict(matched=True, name=HOST, expected=HOST, against="mx-host")
    found = Verification(
        trusted=True, chain=CHAIN.certificates, names=("a.test", HOST), verify=no, hosted=yes
    )
    strict = diagnose_verification(found, "required-verify", HOST)
    assert strict is not None
    assert strict.cause == "name-mismatch"
    assert diagnose_verification(found, "required-verify-hosted", HOST) is None


def test_a_client_whose_certificate_is_refused_is_told_why() -> None:
    fault = _failed(
        "certificate verify failed", verify_error="certificate has expired", peer_certificates=(b"x",)
    )
    diagnosis = diagnose_inbound(fault, OURS, chain=_with("expired"))
    assert diagnosis.cause == "certificate-expired"
    assert diagnosis.summary == "The certificate of the client expired on 2025-06-15."


def test_every_level_has_rules_for_a_diagnosis() -> None:
    no = NameVerdict(matched=False)
    found = Verification(trusted=False, verify=no, hosted=no)
    for level in LEVELS:
        diagnosis = diagnose_verification(found, level, HOST)
        assert diagnosis is not None
        assert diagnosis.cause == "certificate-missing"


# --- whatever comes ---------------------------------------------------------------------------------------

_TEXT = st.text(max_size=20) | st.sampled_from(
    ["no shared cipher", "unknown ca", "timeout", "[Errno 61] x", "{peer}", "{", "550 no", "XXXXXXXA"]
)


_LINKS = st.builds(
    Link,
    subject=_TEXT,
    issuer=_TEXT,
    sha256=_TEXT,
    spki_sha256=_TEXT,
    not_before=st.floats(allow_nan=True),
    not_after=st.floats(allow_nan=True),
)
_CHAINS = st.builds(
    ChainFinding,
    certificates=st.lists(_LINKS, max_size=3).map(tuple),
    path=st.lists(st.integers(-1, 5), max_size=3).map(tuple),
    faults=st.lists(
        st.builds(
            ChainFault,
            kind=st.sampled_from(
                ["expired", "duplicate", "unrelated", "weak-key", "unreadable", "wrong-order"]
            ),
            at=st.integers(-1, 5),
            detail=_TEXT,
        ),
        max_size=3,
    ).map(tuple),
    issuer=_TEXT,
    issuer_at=_TEXT,
)
_NAMES = st.lists(_TEXT, max_size=3).map(tuple)
_OFFERS = st.builds(
    ClientOffer,
    versions=_NAMES,
    ciphers=_NAMES,
    groups=_NAMES,
    signature_algorithms=_NAMES,
    server_name=st.none() | _TEXT,
    cipher_count=st.integers(0, 9),
)
_FAULTS = st.builds(
    TlsFault,
    kind=st.sampled_from(["alert-received", "local-error", "peer-gone", "reset", "timeout", "not-tls"]),
    library=_TEXT,
    reason=_TEXT,
    alert=st.none() | _TEXT,
    alert_sent=st.none() | _TEXT,
    offer=st.none() | _OFFERS,
    verify_error=st.none() | _TEXT,
    heard=st.integers(0, 9),
    peer_certificates=st.lists(st.binary(max_size=9), max_size=2).map(tuple),
    during=st.sampled_from(["handshake", "transfer"]),
    clear_text=_TEXT,
)
_TIMES = st.builds(StageTimes, connect=st.none() | st.floats(), handshake=st.none() | st.floats())
_OURS = st.builds(
    OurSettings,
    versions=_NAMES,
    key_types=st.lists(st.sampled_from(["RSA", "ECDSA"]), max_size=2).map(tuple),
    certificate=_TEXT,
    demonstration=st.booleans(),
    chain_faults=_NAMES,
)
_IDENTITIES = st.builds(
    IdentityFinding, wanted=_NAMES, names=_NAMES, matched=st.none() | _TEXT, nearest=st.none() | _TEXT
)


def _is_told(diagnosis: Diagnosis) -> None:
    assert diagnosis.cause in CAUSES
    for language in LANGUAGES:
        sentence = diagnosis.sentence(translations(language, "diagnosis").gettext)
        assert len(sentence) < 5000


@given(_FAULTS, _OURS, _TIMES, st.none() | _CHAINS, _TEXT)
def test_whatever_happens_in_a_handshake_gives_a_diagnosis(
    fault: TlsFault, ours: OurSettings, times: StageTimes, chain: ChainFinding | None, host: str
) -> None:
    _is_told(diagnose_inbound(fault, ours, times=times, chain=chain))
    _is_told(diagnose_outbound(fault, host=host, ours=ours, times=times, chain=chain))


@given(
    st.sampled_from(["connect", "banner", "ehlo", "starttls", "handshake", "ehlo_again"]),
    st.sampled_from(["no-esmtp", "no-starttls", "starttls-refused"]),
    _TEXT,
    _TEXT,
    _TIMES,
)
def test_whatever_happens_before_a_handshake_gives_a_diagnosis(
    stage: Any, condition: Any, reply: str, reason: str, times: StageTimes
) -> None:
    _is_told(diagnose_stage(stage, None, reply, reply=reply, reason=reason, times=times))
    _is_told(diagnose_unavailable(condition, reason, reply=reply, offered=(reason,)))


@given(
    st.none() | _TEXT,
    st.none() | _CHAINS,
    st.none() | _IDENTITIES,
    st.sampled_from([None, "revoked", "not-pinned"]),
    _TEXT,
)
def test_whatever_certificate_is_shown_gives_a_diagnosis_or_none(
    error: str | None, chain: ChainFinding | None, identity: IdentityFinding | None, besides: Any, trust: str
) -> None:
    found = diagnose_certificate(
        "client", "", verify_error=error, chain=chain, identity=identity, besides=besides, trust=trust
    )
    for diagnosis in (found, remark_chain("server", trust, chain)):
        if diagnosis is not None:
            _is_told(diagnosis)
