"""The Received line: what it says, how it is folded, and that strangers write nothing else into it."""

from __future__ import annotations

import re
from email import message_from_bytes, policy
from email.utils import parsedate_to_datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mxseal.mail.received import Received, render
from mxseal.tls.client_identity import ClientIdentity
from mxseal.tls.facts import TlsFacts

NOW = 1_700_000_000.9
HOP = Received(
    hello="mail.example.net",
    client_name="out.example.net",
    client_ip="192.0.2.1",
    hostname="mx.example.com",
    server_ip="2001:db8::1",
    mid=214,
)
TLS13 = TlsFacts(protocol="TLSv1.3", cipher="TLS_AES_256_GCM_SHA384", bits=256, group="X25519MLKEM768")
TLS12 = TlsFacts(protocol="TLSv1.2", cipher="ECDHE-RSA-AES256-GCM-SHA384", bits=256, group="P-256")


def change(**changes: object) -> Received:
    return msgspec.structs.replace(HOP, **changes)


def unfolded(line: bytes) -> str:
    return re.sub(r"\r\n +", " ", line.decode()).removesuffix("\r\n")


def test_a_plain_hop() -> None:
    assert render(HOP, NOW).decode() == (
        "Received: from mail.example.net (out.example.net [192.0.2.1]) by\r\n"
        "        mx.example.com ([IPv6:2001:db8::1]) with ESMTP id 214;\r\n"
        "        Tue, 14 Nov 2023 22:13:20 +0000\r\n"
    )


def test_a_hop_over_tls_tells_protocol_cipher_group_and_that_no_certificate_came() -> None:
    assert unfolded(render(change(tls=TLS13), NOW)) == (
        "Received: from mail.example.net (out.example.net [192.0.2.1])"
        " (using TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256 bits) group X25519MLKEM768,"
        " no client certificate) by mx.example.com ([IPv6:2001:db8::1]) with ESMTPS id 214"
        " tls TLS_AES_256_GCM_SHA384 group X25519MLKEM768; Tue, 14 Nov 2023 22:13:20 +0000"
    )


def test_the_tls_clause_has_the_registrys_names() -> None:
    # RFC 8314 §4.3.
    line = unfolded(render(change(tls=TLS12, recipient="c@d.example"), NOW))
    assert "cipher ECDHE-RSA-AES256-GCM-SHA384 (256 bits) group P-256" in line
    assert "for <c@d.example> tls TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384 group secp256r1;" in line
    odd = TlsFacts(protocol="TLSv1.2", cipher="AES256-SHA", bits=256)
    assert " tls " not in unfolded(render(change(tls=odd), NOW))


@pytest.mark.parametrize(
    ("verified", "error", "words"),
    [
        (True, None, "verified OK"),
        (False, "self-signed certificate", "not verified: self-signed certificate"),
        (False, None, "not verified: unknown reason"),
        (False, "x)\r\nEvil: y", "not verified: xEvil y"),
    ],
)
def test_a_client_certificate_is_told_with_its_names_and_whether_it_was_verified(
    verified: bool, error: str | None, words: str
) -> None:
    facts = msgspec.structs.replace(
        TLS13, peer_certificates=(b"x",), verified=verified, verify_error=error, resumed=True
    )
    shown = ClientIdentity(sha256="ab" * 32, common_name="relay.example.net", issuer="Lab Root")
    line = unfolded(render(change(tls=facts, certificate=shown), NOW))
    told = f'(Client CN "relay.example.net", Issuer "Lab Root" ({words}))'
    assert f"group X25519MLKEM768 resumed) {told} by mx.example.com" in line


@pytest.mark.parametrize(
    ("name", "issuer", "told"),
    [
        ('a"))\r\nEvil: (b\\', "\x1b[2J", 'CN "a?????Evil: ?b?", Issuer "??2J"'),
        ("", "", 'CN "relay.example.net", Issuer ""'),
        ("two words", "x" * 300, f'CN "two words", Issuer "{"x" * 64}"'),
        ("bücher\u202e", " ", 'CN "b?cher?", Issuer " "'),
    ],
)
def test_a_clients_names_can_end_neither_their_quotes_nor_the_line(name: str, issuer: str, told: str) -> None:
    shown = ClientIdentity(
        sha256="ab" * 32, common_name=name, issuer=issuer, dns_names=("relay.example.net",)
    )
    facts = msgspec.structs.replace(TLS13, peer_certificates=(b"x",), verified=True)
    raw = render(change(tls=facts, certificate=shown), NOW)
    assert f"(Client {told} (verified OK))" in unfolded(raw)
    assert all(line.startswith((b"Received:", b" ")) for line in raw.splitlines())
    assert max(map(len, raw.splitlines())) < 78


@pytest.mark.parametrize(
    ("changes", "protocol"),
    [
        ({"extended": False}, "SMTP"),
        ({}, "ESMTP"),
        ({"tls": TLS13}, "ESMTPS"),
        ({"tls": TLS13, "extended": False}, "ESMTPS"),
        ({"smtputf8": True}, "UTF8SMTP"),
        ({"smtputf8": True, "tls": TLS13}, "UTF8SMTPS"),
    ],
)
def test_the_protocol_is_one_of_the_registry(changes: dict[str, object], protocol: str) -> None:
    assert f" with {protocol} id 214" in unfolded(render(change(**changes), NOW))


def test_what_is_not_known_is_left_out() -> None:
    bare = Received(hello="", client_name=None, client_ip="192.0.2.1", hostname="mx.example.com")
    line = unfolded(render(bare, NOW))
    assert line.startswith("Received: from unknown (unknown [192.0.2.1]) by mx.example.com with ESMTP; Tue,")


def test_a_recipient_beyond_ascii_is_shown_only_to_those_who_can_read_it() -> None:
    assert b" for " not in render(change(recipient="é@d.example"), NOW)
    assert "for <é@d.example>" in unfolded(render(change(recipient="é@d.example", smtputf8=True), NOW))


EVIL = st.text(max_size=300) | st.lists(
    st.sampled_from(["\r\n", "\n", "\r", "\0", "(", ")", "<", ">", ";", " ", "\\", '"', "Evil: 1", "é", "x"])
).map("".join)


@given(st.tuples(EVIL, EVIL, EVIL, EVIL), st.booleans(), st.floats(0, 4e9))
def test_strangers_can_not_add_a_field_a_comment_or_a_clause(
    texts: tuple[str, str, str, str], utf8: bool, now: float
) -> None:
    hello, name, recipient, reason = texts
    facts = msgspec.structs.replace(TLS13, peer_certificates=(b"x",), verify_error=reason)
    hop = change(hello=hello, client_name=name, recipient=recipient, smtputf8=utf8, tls=facts)
    line = render(hop, now)
    message = message_from_bytes(line + b"\r\nbody", policy=policy.SMTP)
    assert message.keys() == ["Received"]
    assert line.count(b"\r\n") == line.count(b"\n") == line.count(b"\r")
    assert line.count(b"(") == line.count(b")")
    assert line.count(b";") == 1
    assert int(parsedate_to_datetime(unfolded(line).rpartition("; ")[2]).timestamp()) == int(now)
    for folded in line.decode().split("\r\n"):
        assert len(folded) < 78 or " " not in folded.strip()
        assert folded.isprintable()
