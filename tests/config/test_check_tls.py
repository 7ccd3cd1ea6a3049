"""Rules between the keys of receiving over TLS."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mxseal.config.check import advice, check
from mxseal.config.model import Document, MailFlowPolicy, SenderGroup, Ssl, TlsSettings, Trust
from tests.config.documents import document

HEX = "ab" * 32


def paths(**changes: Any) -> list[str]:
    return [problem.path for problem in check(document(**changes))]


def advised(**changes: Any) -> list[str]:
    return [problem.path for problem in advice(document(**changes))]


def policies(**levels: str) -> tuple[MailFlowPolicy, ...]:
    """The first home's policies, and these."""
    own = tuple(MailFlowPolicy.model_validate({"name": name, "tls": tls}) for name, tls in levels.items())
    return (*document().mail_flow_policies, *own)


@pytest.mark.parametrize(
    ("protocols", "broken"),
    [
        (("TLSv1.2", "TLSv1.3"), False),
        (("TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"), False),
        (("TLSv1.3", "TLSv1.2"), False),
        (("TLSv1", "TLSv1.2"), True),
        (("TLSv1.1", "TLSv1.3"), True),
        ((), True),
    ],
)
def test_versions_are_one_range(protocols: tuple[Any, ...], broken: bool) -> None:
    for use in ("gui", "inbound", "outbound"):
        ssl = Ssl.model_validate({use: {"protocols": protocols}})
        assert paths(ssl=ssl) == ([f"ssl.{use}.protocols"] if broken else [])


@pytest.mark.parametrize("text", ["NONSENSE", "aNULL", "", "HIGH:@SECLEVEL=9", "HIGH\0"])
def test_a_cipher_string_that_selects_nothing_is_told_with_its_place_and_remedy(text: str) -> None:
    for use in ("gui", "inbound", "outbound"):
        (problem,) = check(document(ssl=Ssl.model_validate({use: {"ciphers": text}})))
        assert problem.path == f"ssl.{use}.ciphers"
        assert "cipher string" in problem.text
        assert "sslconfig verify" in problem.remedy


def test_old_versions_need_suites_that_exist_in_them() -> None:
    values: dict[str, Any] = {"profile": "old", "ciphers": "ECDHE+AESGCM"}
    assert paths(ssl=Ssl(inbound=TlsSettings(**values))) == ["ssl.inbound.ciphers"]
    values["ciphers"] = "ECDHE+AES"
    assert paths(ssl=Ssl(inbound=TlsSettings(**values))) == []


def test_a_cipher_string_beside_tls_13_alone_is_advised_against() -> None:
    ssl = Ssl(inbound=TlsSettings(profile="modern", ciphers="ECDHE+AES"))
    assert "ssl.inbound.ciphers" in advised(ssl=ssl)
    ssl = Ssl(inbound=TlsSettings(profile="modern", ciphers="ECDHE+AES", protocols=("TLSv1.2", "TLSv1.3")))
    assert "ssl.inbound.ciphers" not in advised(ssl=ssl)


@pytest.mark.parametrize(
    ("level", "broken"),
    [
        ("off", True),
        ("preferred", True),
        ("required", True),
        ("preferred-verify", False),
        ("required-verify", False),
    ],
)
def test_a_group_of_certificates_needs_a_policy_that_verifies(level: str, broken: bool) -> None:
    group = SenderGroup(name="G", certificates=(f"sha256:{HEX}",), policy="P")
    found = paths(sender_groups=(group,), mail_flow_policies=policies(P=level))
    assert found == (["sender_groups.G.certificates"] if broken else [])


@pytest.mark.parametrize(
    ("trust", "broken"),
    [
        ({"system": True}, False),
        ({"system": False}, True),
        ({"system": False, "custom": True}, True),
        ({"system": False, "custom": True, "authorities": [{"name": "A", "certificate": "x"}]}, False),
        ({"system": False, "custom": False, "authorities": [{"name": "A", "certificate": "x"}]}, True),
    ],
)
def test_verifying_clients_needs_an_authority(trust: dict[str, Any], broken: bool) -> None:
    found = paths(trust=Trust.model_validate(trust), mail_flow_policies=policies(P="preferred-verify"))
    assert ("mail_flow_policies.P.tls" in found) is broken


def test_senders_that_need_tls_need_an_offer_of_it() -> None:
    def found(tls: str, **changes: Any) -> bool:
        policy = MailFlowPolicy.model_validate({"name": "P", "tls": tls, "tls_senders": ["bank.example"]})
        own = (*document().mail_flow_policies, policy)
        return "mail_flow_policies.P.tls_senders" in paths(mail_flow_policies=own, **changes)

    assert found("off")
    assert not found("preferred")
    implicit = tuple(each.model_copy(update={"implicit_tls": True}) for each in document().listeners)
    assert not found("off", listeners=implicit)


def test_certificates_that_nobody_can_show_are_told_as_advice() -> None:
    group = SenderGroup(name="G", certificates=("relay.partner.example",), policy="P")
    own = [
        policy.model_copy(update={"tls": "off"}) if policy.name == "ACCEPTED" else policy
        for policy in policies(P="required-verify")
    ]
    place = "sender_groups.G.certificates"
    assert place in advised(sender_groups=(group,), mail_flow_policies=tuple(own))
    assert place not in advised(sender_groups=(group,), mail_flow_policies=policies(P="required-verify"))
    later = SenderGroup(name="L", members=("192.0.2.1",), policy="P")
    assert place not in advised(sender_groups=(group, later), mail_flow_policies=tuple(own))


@given(
    st.builds(
        TlsSettings,
        profile=st.sampled_from(["modern", "intermediate", "old"]),
        protocols=st.none() | st.sets(st.sampled_from(["TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"])).map(tuple),
        ciphers=st.none() | st.text(max_size=20) | st.sampled_from(["ALL", "ECDHE+AES:RC4", "-ALL", "+"]),
    )
)
def test_any_settings_are_judged_without_an_exception(values: TlsSettings) -> None:
    found: Document = document(ssl=Ssl(inbound=values, outbound=values))
    assert all(problem.path and problem.text for problem in [*check(found), *advice(found)])
