"""Whose certificate it is: the two sets of rules of the reference's §3.4, cell by cell."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from mxseal.tls.identity import (
    Against,
    CertificateNames,
    Expected,
    Source,
    by_hosted,
    by_verify,
    matches,
    names_of,
)
from tests.tls.certificates import certificate

DOMAIN = "bank.example"
FULL = Expected(
    email_domain=DOMAIN,
    reverse_name="out7.provider.example",
    mx_hosts=("mx1.provider.example", "mx2.provider.example"),
    route_host="relay.inside.example",
)
Match = tuple[Source, Against, str] | None

# names in SAN, common name, Verify, Hosted Verify
CELLS: list[tuple[tuple[str, ...], str, Match, Match]] = [
    # SAN with the email domain
    (("bank.example",), "x", ("san", "email-domain", DOMAIN), ("san", "email-domain", DOMAIN)),
    # CN with the email domain: Hosted ignores it where there is a SAN name
    ((), "bank.example", ("cn", "email-domain", DOMAIN), ("cn", "email-domain", DOMAIN)),
    (("x.example",), "bank.example", ("cn", "email-domain", DOMAIN), None),
    # the reverse name: for the CN only, under Verify only
    ((), "out7.provider.example", ("cn", "reverse-name", "out7.provider.example"), None),
    (("x.example",), "out7.provider.example", ("cn", "reverse-name", "out7.provider.example"), None),
    (("out7.provider.example",), "x", None, None),
    # MX hosts: under Hosted only, any of them
    (("mx1.provider.example",), "x", None, ("san", "mx-host", "mx1.provider.example")),
    (("mx2.provider.example",), "x", None, ("san", "mx-host", "mx2.provider.example")),
    ((), "mx2.provider.example", None, ("cn", "mx-host", "mx2.provider.example")),
    (("x.example",), "mx2.provider.example", None, None),
    # the host of the SMTP route: under Hosted only, after the others
    (("relay.inside.example",), "x", None, ("san", "route-host", "relay.inside.example")),
    ((), "relay.inside.example", None, ("cn", "route-host", "relay.inside.example")),
    (
        ("relay.inside.example", "mx2.provider.example"),
        "x",
        None,
        ("san", "mx-host", "mx2.provider.example"),
    ),
    (
        ("mx1.provider.example", "bank.example"),
        "x",
        ("san", "email-domain", DOMAIN),
        ("san", "email-domain", DOMAIN),
    ),
    # wildcards stand for one label
    (("*.provider.example",), "x", None, ("san", "mx-host", "mx1.provider.example")),
    ((), "*.provider.example", ("cn", "reverse-name", "out7.provider.example"),
     ("cn", "mx-host", "mx1.provider.example")),
    (("*.bank.example",), "x", None, None),
    (("*.example",), "x", None, None),
    # nothing fits
    (("bank.example.evil.test", "notbank.example"), "bank", None, None),
    ((), "", None, None),
]  # fmt: skip


@pytest.mark.parametrize(("dns", "common", "verify", "hosted"), CELLS)
def test_each_step_of_both_sets_of_rules(
    dns: tuple[str, ...], common: str, verify: Match, hosted: Match
) -> None:
    names = CertificateNames(dns=dns, common=(common,) if common else ())
    for verdict, wanted in ((by_verify(names, FULL), verify), (by_hosted(names, FULL), hosted)):
        found = (verdict.source, verdict.against, verdict.expected) if verdict.matched else None
        assert found == wanted


@pytest.mark.parametrize(
    ("presented", "host", "expected"),
    [
        ("mx.example.com", "MX.Example.COM.", True),
        ("MX.EXAMPLE.COM", "mx.example.com", True),
        ("*.example.com", "mx.example.com", True),
        ("*.example.com", "a.mx.example.com", False),
        ("*.example.com", "example.com", False),
        ("m*.example.com", "mx.example.com", False),
        ("mx.*.com", "mx.example.com", False),
        ("*", "example", False),
        ("*.com", "example.com", False),
        ("*.*.com", "mx.example.com", False),
        ("bücher.example", "xn--bcher-kva.example", True),
        ("xn--bcher-kva.example", "bücher.example", True),
        ("*.xn--bcher-kva.example", "mx.bücher.example", True),
        ("192.0.2.1", "192.0.2.1", False),
        ("example.com\0.evil.test", "example.com", False),
        (" example.com", "example.com", False),
        ("example.com", "[192.0.2.1]", False),
        ("", "", False),
        ("example.com", "", False),
        ("a" * 64 + ".example", "a" * 64 + ".example", False),
    ],
)
def test_names_are_compared_as_a_labels_label_by_label(presented: str, host: str, expected: bool) -> None:
    assert matches(presented, host) is expected


LABEL = st.from_regex(r"[a-z][a-z0-9]{0,8}", fullmatch=True)


@given(st.lists(LABEL, min_size=2, max_size=5), st.lists(LABEL, min_size=2, max_size=5))
def test_a_name_without_a_wildcard_is_one_host_only(one: list[str], other: list[str]) -> None:
    assert matches(".".join(one), ".".join(other)) == (one == other)


@given(st.text(max_size=40), st.text(max_size=40))
def test_no_text_of_a_stranger_is_too_odd_to_be_compared(presented: str, host: str) -> None:
    matches(presented, host)
    names = CertificateNames(dns=(presented,), common=(host,))
    by_verify(names, Expected(email_domain=host, reverse_name=presented))
    by_hosted(names, Expected(email_domain=host, mx_hosts=(presented,)))


def test_the_nearest_name_is_told_when_none_matches() -> None:
    names = CertificateNames(dns=("www.bank.example", "mail.other.example", "bnak.example"), common=("zzz",))
    verdict = by_verify(names, FULL)
    assert (verdict.matched, verdict.name, verdict.expected) == (False, "www.bank.example", DOMAIN)
    assert "www.bank.example" in verdict.words()
    assert verdict.wanted == ("bank.example", "out7.provider.example")
    assert by_hosted(CertificateNames(), FULL).wanted == (
        "bank.example",
        "mx1.provider.example",
        "mx2.provider.example",
        "relay.inside.example",
    )


def test_a_reverse_name_that_nobody_asked_for_leaves_verify_undecided() -> None:
    unasked = Expected(email_domain=DOMAIN)
    assert by_verify(CertificateNames(common=("out7.provider.example",)), unasked).undecided
    assert not by_verify(CertificateNames(common=("bank.example",)), unasked).undecided
    assert not by_verify(CertificateNames(dns=("x.example",)), unasked).undecided
    assert not by_verify(CertificateNames(common=("Example Bank Ltd",)), unasked).undecided
    without = Expected(email_domain=DOMAIN, reverse_name="")
    assert not by_verify(CertificateNames(common=("out7.provider.example",)), without).undecided


def test_thousands_of_names_take_no_time_worth_speaking_of() -> None:
    names = CertificateNames(dns=tuple(f"h{number}.example" for number in range(8000)))
    expected = Expected(email_domain=DOMAIN, mx_hosts=tuple(f"mx{number}.example" for number in range(20)))
    assert not by_hosted(names, expected).matched
    assert by_hosted(names, Expected(email_domain="h7999.example")).matched
    assert len(names.shown()) == 20


def test_names_are_read_from_a_certificate() -> None:
    both = certificate(None, common="Mail", names=["a.example", "*.b.example"]).certificate
    found = names_of(both.public_bytes(Encoding.DER))
    assert found == CertificateNames(dns=("a.example", "*.b.example"), common=("Mail",))
    assert names_of(
        certificate(None, common="mx.example", names=None).certificate.public_bytes(Encoding.DER)
    ) == (CertificateNames(common=("mx.example",)))
    assert names_of(b"no certificate") == CertificateNames()
