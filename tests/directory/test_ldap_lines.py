"""The lines of ldap_debug: the document's two, and those that say what the original does not."""

from __future__ import annotations

from typing import Any

import pytest

from mxseal.config.model import Logs
from mxseal.events import directory as facts
from mxseal.events.event import Event
from mxseal.sinks.ldaplines import MAIL_SILENT, MAIL_TABLE, TABLE
from mxseal.sinks.maillog import Renderer
from mxseal.tls.diagnosis import diagnose_outbound
from mxseal.tls.facts import StageTimes, TlsFacts, TlsFault

UTC = Logs(time="utc", level="Debug")
AT = 1771989863.189580
GOLDEN = (
    "Wed Feb 25 03:24:23 2026 Debug: LDAP: (group) Query (proxyAddresses=smtp:user@example.com) "
    "to server LDAP (ldaps-esa.example.com:3269)\n"
    "Wed Feb 25 03:24:23 2026 Debug: LDAP: (group) Query (proxyAddresses=smtp:user@example.com) "
    "lookup success, (ldaps-esa.example.com:3269) returned 0 results timestamp=1771989863.189580\n"
)
"""The document's own example, letter for letter."""
QUESTION: dict[str, Any] = {
    "at": AT,
    "kind": "group",
    "query": "LDAP.ldapgroup",
    "profile": "LDAP",
    "filter": "(proxyAddresses=smtp:user@example.com)",
    "host": "ldaps-esa.example.com",
    "port": 3269,
}
SERVER: dict[str, Any] = {
    "at": AT, "profile": "LDAP", "host": "dc1.example.com", "port": 636, "security": "ldaps",
}  # fmt: skip


def shown(*events: Event) -> str:
    renderer = Renderer(UTC, TABLE)
    return b"".join(map(renderer.render, events)).decode()


def test_the_two_lines_of_the_document_come_out_letter_for_letter() -> None:
    asked = facts.LdapAsked(**QUESTION)
    lines = shown(asked, facts.LdapAnswered(**QUESTION, results=0, seconds=0.001))
    assert lines.startswith(GOLDEN)
    assert lines[len(GOLDEN) :].endswith("Debug: LDAP: (ldaps-esa.example.com:3269) search 1.0 ms\n")


def test_a_connection_says_its_tls_its_certificates_and_its_times() -> None:
    tls = TlsFacts(
        protocol="TLSv1.3",
        cipher="TLS_AES_256_GCM_SHA384",
        bits=256,
        peer_subject="CN=dc1.example.com",
        peer_sha256="ab" * 32,
    )
    verdict = "verified, dc1.example.com (the subject alternative name) matches"
    times = StageTimes(lookup=0.0012, connect=0.0003, handshake=0.0045)
    connected = facts.LdapConnected(
        **SERVER,
        address="192.0.2.1",
        facts=tls,
        verified=True,
        verdict=verdict,
        certificate="gateway",
        bind="external",
        times=times,
        bind_seconds=0.002,
    )
    lines = [line[25:] for line in shown(facts.LdapConnecting(**SERVER), connected).splitlines()]
    place, spent = "(dc1.example.com:636)", "DNS 1.2 ms, connect 0.3 ms, TLS 4.5 ms, bind 2.0 ms"
    assert lines == [
        f"Debug: LDAP: connecting to server LDAP {place}, LDAPS",
        f"Debug: LDAP: {place} TLS success protocol TLSv1.3 cipher TLS_AES_256_GCM_SHA384",
        f"Debug: LDAP: {place} TLS server certificate CN=dc1.example.com, SHA-256 {'ab' * 32}, {verdict}",
        f"Debug: LDAP: {place} TLS client certificate gateway",
        f"Debug: LDAP: connected to server LDAP {place}, bind by certificate (EXTERNAL), {spent}",
    ]


def test_a_failed_handshake_has_the_words_of_the_mail_log() -> None:
    fault = TlsFault(kind="alert-received", library="SSL routines", reason="sslv3 alert handshake failure",
                     alert="handshake failure")  # fmt: skip
    diagnosis = diagnose_outbound(fault, host="dc1.example.com")
    failed = facts.LdapConnectionFailed(
        **SERVER, stage="handshake", reason="TLS failed: because", fault=fault, diagnosis=diagnosis,
        times=StageTimes(),
    )  # fmt: skip
    lines = [line[25:] for line in shown(failed).splitlines()]
    assert lines[0] == "Warning: LDAP: server LDAP (dc1.example.com:636) TLS failed: because"
    assert lines[1] == f"Info: LDAP: (dc1.example.com:636) TLS diagnosis: {diagnosis.sentence()}"
    assert [line[25:] for line in Renderer(UTC).render(failed).decode().splitlines()] == lines


def test_a_lookup_that_fails_says_where_and_why() -> None:
    failed = facts.LdapFailed(**QUESTION, reason="no answer within 10 s")
    query = "LDAP: (group) Query (proxyAddresses=smtp:user@example.com) lookup failed,"
    assert shown(failed).endswith(f" {query} (ldaps-esa.example.com:3269) no answer within 10 s\n")
    nobody = facts.LdapFailed(**QUESTION | {"host": "", "port": 0}, reason="all rest")
    assert shown(nobody).endswith(f" {query} server LDAP: all rest\n")


@pytest.mark.parametrize("kind", [facts.LdapAsked, facts.LdapFailed])
def test_what_is_asked_stays_one_line_of_bounded_length(kind: type[Event]) -> None:
    more = {"reason": "x\ny"} if kind is facts.LdapFailed else {}
    event = kind(**QUESTION | {"filter": "(mail=" + "\n\x1b[2J" * 5000 + ")"} | more)
    line = shown(event)
    assert line.count("\n") == 1
    assert len(line) < 4100


def test_single_questions_are_told_in_ldap_debug_alone() -> None:
    assert facts.LdapAsked in MAIL_SILENT
    assert not MAIL_SILENT & set(MAIL_TABLE)
    assert Renderer(UTC).render(facts.LdapAsked(**QUESTION)) == b""
