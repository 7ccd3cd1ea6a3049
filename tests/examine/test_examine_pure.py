"""Scores, the three names of one's own domain, and the report as text: decided without a network."""

from __future__ import annotations

import msgspec
import pytest

from mxseal.certs.facts import error, warning
from mxseal.config.model import Document
from mxseal.examine.own import interface_names, is_own, name_row
from mxseal.examine.render import as_data, as_text
from mxseal.examine.report import (
    STAGES,
    CertificateReport,
    DomainReport,
    HostReport,
    Link,
    Said,
    Stage,
    StageName,
    State,
)
from mxseal.examine.score import BREAKPOINTS, assure_score, domain_score, host_score
from mxseal.tls.survey import CipherSeen, Survey, VersionSeen


def stage(name: StageName, state: State = "ok", why: str = "") -> Stage:
    return Stage(name=name, state=state, seconds=0.012, why=why)


GOOD = CertificateReport(
    links=(Link(subject="mx.example.com", issuer="CA", names=("mx.example.com",), key="ECDSA P-256"),),
    validated=True,
    wanted="mx.example.com",
    matched="mx.example.com",
)


def host(**values: object) -> HostReport:
    plain = {
        "host": "mx.example.com",
        "verdict": "secure",
        "protocol": "TLSv1.3",
        "cipher": "TLS_AES_256_GCM_SHA384",
        "certificate": GOOD,
        "stages": tuple(map(stage, STAGES)),
        "connections": 1,
    }
    return HostReport(**(plain | values))  # type: ignore[arg-type]


def scored(**values: object) -> HostReport:
    found = host(**values)
    return msgspec.structs.replace(found, score=host_score(found))


def test_the_breakpoints_rise_in_the_order_of_the_reference() -> None:
    names = ["no-tls", "unreachable", "SSLv3", "TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"]
    points = [BREAKPOINTS[name] for name in names]
    assert points == sorted(points)
    assert BREAKPOINTS["unreachable"] == 50
    assert [name for name in names if BREAKPOINTS[name] >= 90] == ["TLSv1.2", "TLSv1.3"]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, "100 (TLSv1.3, strong) = 100"),
        (
            {"protocol": "TLSv1.2", "cipher": "AES256-GCM-SHA384"},
            "95 (TLSv1.2, good) - 5 (no forward secrecy) = 90",
        ),
        (
            {"protocol": "TLSv1", "cipher": "ECDHE-RSA-AES256-SHA"},
            "70 (TLSv1, very weak) = 70",
        ),
        (
            {"certificate": msgspec.structs.replace(GOOD, validated=False, matched=None)},
            "100 (TLSv1.3, strong) - 20 (certificate not valid) - 15 (name does not fit) = 65",
        ),
        (
            {"certificate": msgspec.structs.replace(GOOD, problems=(error("weak-key", "", ""),))},
            "100 (TLSv1.3, strong) - 10 (weak key) = 90",
        ),
        (
            {"certificate": msgspec.structs.replace(GOOD, problems=(warning("wrong-order", "", ""),))},
            "100 (TLSv1.3, strong) - 2 (chain untidy) = 98",
        ),
        (
            {"stages": (*map(stage, STAGES[:-1]), stage("From", "fail"))},
            "100 (TLSv1.3, strong) - 2 (MAIL FROM refused) = 98",
        ),
        ({"verdict": "no-tls"}, "20 (no encryption) = 20"),
        ({"verdict": "unreachable"}, "50 (could not connect) = 50"),
        (
            {"verdict": "untested", "stages": (stage("Answer"), stage("Connect", "untested", "busy"))},
            "untested: busy",
        ),
    ],
)
def test_a_score_shows_its_arithmetic(values: dict[str, object], expected: str) -> None:
    assert host_score(host(**values)).arithmetic() == expected


def test_old_versions_and_broken_ciphers_that_are_also_taken_cost_points() -> None:
    survey = Survey(
        versions=(
            VersionSeen(name="TLSv1.3", state="accepted"),
            VersionSeen(name="TLSv1", state="accepted"),
        ),
        ciphers=(
            CipherSeen(version="TLSv1", name="TLS_RSA_WITH_3DES_EDE_CBC_SHA", grade="broken"),
            CipherSeen(version="TLSv1", name="TLS_DHE_RSA_WITH_AES_128_CBC_SHA", grade="old", dh_bits=1024),
        ),
    )
    assert host_score(host(survey=survey)).arithmetic() == (
        "100 (TLSv1.3, strong) - 2 (TLSv1 also accepted) - 5 (broken ciphers accepted) "
        "- 5 (Diffie-Hellman of 1024 bits) = 88"
    )


def test_a_domain_has_the_mean_of_the_servers_that_could_be_tested() -> None:
    hosts = [scored(), scored(verdict="no-tls"), scored(verdict="untested")]
    assert domain_score(hosts).value == 60
    assert domain_score([scored(verdict="untested")]).value is None


def test_clear_text_must_be_refused_by_every_server() -> None:
    refuses = host(stages=(stage("Refused"),))
    takes = host(stages=(stage("Refused", "fail"),))
    unknown = host(stages=(stage("Refused", "untested"),))
    assert assure_score([refuses, refuses]).value == 100
    assert assure_score([refuses, takes, unknown]).value == 0
    assert assure_score([refuses, unknown]).value is None
    assert assure_score([]).value is None


# --- one's own domain -------------------------------------------------------------------------------------


def own_document() -> Document:
    return Document.model_validate(
        {
            "hostname": "gw.example.com",
            "listeners": [
                {"name": "In", "hostname": "mx.example.com"},
                {"name": "Out", "type": "private", "port": 587, "hostname": "out.example.com"},
            ],
            "recipient_access": {"domains": ["example.com", ".sub.example.com"]},
        }
    )


@pytest.mark.parametrize(
    ("subject", "expected"),
    [
        ("example.com", True),
        ("a.sub.example.com", True),
        ("sub.example.com", False),
        ("mx.example.com", True),
        ("GW.example.com.", True),
        ("example.org", False),
    ],
)
def test_a_domain_is_our_own_by_recipient_access_and_host_names(subject: str, expected: bool) -> None:
    assert is_own(own_document(), subject) is expected


def test_interfaces_are_those_that_take_mail_from_the_internet() -> None:
    assert interface_names(own_document()) == ("mx.example.com",)


@pytest.mark.parametrize(
    ("mx", "greeted", "carried", "agree", "change"),
    [
        ("mx.example.com", "mx.example.com", ("mx.example.com",), True, ""),
        ("mx.example.com", "mx.example.com", ("*.example.com",), True, ""),
        ("mx2.example.com", "mx.example.com", ("mx2.example.com",), False, "set hostname of the listener"),
        ("mx.example.com", "mx.example.com", ("www.example.com",), False, "get a certificate with the name"),
        ("mx.example.com", "mx.example.com", (), False, "make TLS work first"),
        ("mx.example.com", "", (), False, "was not heard"),
        ("mx.example.com", "other.example.net", ("mx.example.com",), False, "no listener of this gateway"),
    ],
)
def test_the_three_names_must_agree_and_what_to_change_is_said(
    mx: str, greeted: str, carried: tuple[str, ...], agree: bool, change: str
) -> None:
    links = (Link(subject="x", issuer="CA", names=carried),) if carried else ()
    found = host(host=mx, certificate=CertificateReport(links=links, wanted=mx))
    row = name_row(found, greeted, ("mx.example.com",))
    assert row.agree is agree
    assert change in row.change
    assert (row.mx, row.interface, row.certificate) == (mx, greeted, carried)


# --- text -------------------------------------------------------------------------------------------------


def report() -> DomainReport:
    broken = (stage("Answer"), stage("Connect", "untested", "It said 421."))
    rest = tuple(Stage(name=name, state="untested") for name in STAGES[2:])
    hosts = (
        scored(preference=10),
        scored(host="mx2.example.com", preference=20, verdict="untested", stages=broken + rest, protocol="",
               certificate=None),
    )  # fmt: skip
    return DomainReport(subject="example.com", at=0.0, hosts=hosts, score=domain_score(hosts))


def test_the_table_has_the_columns_and_cells_of_the_reference_and_an_average() -> None:
    text = as_text(report(), dialogue=False)
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert "MX Server Pref Answer Connect HELO TLS Cert Secure From Score" in lines
    assert "mx.example.com 10" + " OK (12ms)" * 7 + " 100" in lines
    assert "mx2.example.com 20 OK (12ms)" + " not tested" * 6 + " -" in lines
    assert "Average 100% (12ms)" + " 50% (12ms)" * 6 + " 100" in lines
    assert "2 connections opened; no message was sent." in lines
    head = "Score of example.com: 100 of 100 (90 and more count as secure)."
    assert f"{head} Of its 2 servers 1 could not be tested." in lines


def test_the_dialogue_is_given_to_programs_only_when_it_was_asked_for() -> None:
    said = msgspec.structs.replace(
        report().hosts[0], dialogue=(Said(at=0.162, mark="<--", text="220 hello"),)
    )
    whole = msgspec.structs.replace(report(), hosts=(said,))
    assert as_data(whole, dialogue=False)["hosts"][0]["dialogue"] == ()  # type: ignore[index]
    assert len(as_data(whole, dialogue=True)["hosts"][0]["dialogue"]) == 1  # type: ignore[index]
    assert "[000.162] <-- 220 hello" in as_text(whole, dialogue=True)
    assert "[000.162]" not in as_text(whole, dialogue=False)
