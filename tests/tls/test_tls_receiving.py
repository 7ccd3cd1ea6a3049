"""The table of receiving, every cell, and what a client's certificate says."""

from __future__ import annotations

import datetime as dt

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from mxseal.tls.client_identity import ClientIdentity, client_identity
from mxseal.tls.receiving import CORE, LEVELS, OUTCOMES, VERIFYING, WORDS, Level, Met, Outcome, met, outcome

# Reference §3.1, written out a second time.
CELLS: list[tuple[Level, Met, Outcome]] = [
    ("off", "clear", "take"),
    ("preferred", "clear", "take"),
    ("preferred", "no-certificate", "take"),
    ("preferred", "invalid", "take"),
    ("preferred", "valid", "take"),
    ("required", "clear", "ask-for-tls"),
    ("required", "no-certificate", "take"),
    ("required", "invalid", "take"),
    ("required", "valid", "take"),
    ("preferred-verify", "clear", "take"),
    ("preferred-verify", "no-certificate", "take"),
    ("preferred-verify", "invalid", "turn-away"),
    ("preferred-verify", "valid", "take"),
    ("required-verify", "clear", "ask-for-tls"),
    ("required-verify", "no-certificate", "turn-away"),
    ("required-verify", "invalid", "turn-away"),
    ("required-verify", "valid", "take"),
]


@pytest.mark.parametrize(("level", "how", "expected"), CELLS)
def test_each_cell_of_the_receiving_table(level: Level, how: Met, expected: Outcome) -> None:
    assert outcome(level, how) == expected


def test_the_table_has_no_cell_more() -> None:
    assert sum(map(len, OUTCOMES.values())) == len(CELLS)
    assert set(OUTCOMES) == set(LEVELS) == set(CORE) == set(WORDS)


def test_tls_on_an_implicit_port_is_taken_where_the_level_is_off() -> None:
    assert outcome("off", "valid") == "take"
    assert outcome("off", "invalid") == "take"


@pytest.mark.parametrize("level", LEVELS)
def test_the_protocol_demands_tls_where_the_table_does(level: Level) -> None:
    assert (CORE[level] == "required") is (outcome(level, "clear") == "ask-for-tls")
    assert (level in VERIFYING) is any(cell == "turn-away" for cell in OUTCOMES[level].values())


def test_how_a_client_was_met() -> None:
    assert met(shown=False, verified=False) == "no-certificate"
    assert met(shown=True, verified=False) == "invalid"
    assert met(shown=True, verified=True) == "valid"


# --- identities -------------------------------------------------------------------------------------------


def leaf(*names: str, common_name: str = "", issuer: str = "Lab Root") -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    now = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)

    def subject(name: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)] if name else [])

    builder = (
        x509.CertificateBuilder()
        .subject_name(subject(common_name))
        .issuer_name(subject(issuer))
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + dt.timedelta(days=1))
    )
    if names:
        alternative = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
        builder = builder.add_extension(alternative, critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


def test_a_certificate_is_known_by_its_fingerprint_and_its_dns_names() -> None:
    der = leaf("Relay.Partner.Example", "b.example", common_name="cn.example")
    found = client_identity(der)
    digest = hashes.Hash(hashes.SHA256())
    digest.update(der)
    assert found.carries(f"sha256:{digest.finalize().hex()}")
    assert found.carries("relay.partner.example")
    assert found.carries("b.example")
    assert not found.carries("cn.example"), "the common name is no host name any more"
    assert not found.carries("partner.example")
    assert found.label == f"relay.partner.example sha256:{found.sha256}"


def test_a_wildcard_stands_for_no_client() -> None:
    found = client_identity(leaf("*.partner.example"))
    assert not found.carries("relay.partner.example")
    assert not found.carries(".partner.example")


def test_names_that_only_look_like_the_wanted_one_do_not_count() -> None:
    found = client_identity(leaf("relay.partner.example\0.evil.example", "relay.partner.example."))
    assert not found.carries("relay.partner.example")


def test_without_dns_names_the_label_has_the_common_name_or_the_fingerprint_alone() -> None:
    assert client_identity(leaf(common_name="box 7")).label.startswith("box 7 sha256:")
    assert client_identity(leaf()).label.startswith("sha256:")


def test_what_a_stranger_writes_into_a_certificate_is_bounded_and_printable() -> None:
    many = client_identity(leaf(*(f"host{number}.example" for number in range(500)), "x" * 60_000))
    assert len(many.dns_names) == 100
    odd = client_identity(leaf(common_name="a\nInfo: forged \x1b[2J", issuer="\u202eevil"))
    assert odd.common_name == "a?Info: forged ?[2J"
    assert odd.issuer == "?evil"


@given(st.binary(max_size=300))
def test_a_certificate_that_cannot_be_read_is_a_fingerprint(der: bytes) -> None:
    found = client_identity(der)
    assert isinstance(found, ClientIdentity)
    assert len(found.sha256) == 64
    assert found.dns_names == ()


@given(st.data())
def test_a_certificate_with_changed_bytes_never_raises(data: st.DataObject) -> None:
    der = bytearray(_SAMPLE)
    for _ in range(data.draw(st.integers(1, 4))):
        der[data.draw(st.integers(0, len(der) - 1))] = data.draw(st.integers(0, 255))
    assert len(client_identity(bytes(der)).sha256) == 64


_SAMPLE = leaf("relay.partner.example", common_name="relay")
