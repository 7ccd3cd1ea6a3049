"""`tlsverify`: the reference's questions and lines, the Verify rules, and why it failed."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from lab.ca import Authority, Issued, self_signed
from lab.exim import Exim
from lab.exim import Settings as EximSettings
from lab.hostile import Hostile
from lab.place import free_port
from lab.postfix import Postfix, Settings
from mxseal.commands.checks import _HOST
from mxseal.tls.reasons import STARTTLS_UNAVAILABLE
from tests.conftest import Starter
from tests.examine.asking import Desk
from tests.examine.examining import At

Issue = Callable[..., Issued]
MakeDesk = Callable[..., Desk]
ZONES = {"lab.test": "@ MX 10 mx1\n@ MX 20 mx2\nmx1 A 127.0.0.1\nmx2 A 127.0.0.2"}


def without_cipher(lines: list[str]) -> list[str]:
    return [line.split(", cipher ")[0] for line in lines]


def succeeded(port: int, host: str, match: str, common: str = "") -> list[str]:
    """Reference §6.3, to the letter."""
    return [
        f"Connecting to 127.0.0.1 on port {port}.",
        "Connected to 127.0.0.1 from interface 127.0.0.1.",
        "Checking TLS connection.",
        "TLS connection established: protocol TLSv1.3",
        "Verifying peer certificate.",
        f"Verifying certificate common name {common or match}.",
        f"TLS certificate match {match}",
        "TLS certificate verified.",
        "TLS connection to 127.0.0.1 succeeded.",
        "",
        f"TLS successfully connected to {host}.",
        "TLS verification completed.",
    ]


async def test_against_postfix_the_lines_are_those_of_the_reference(
    desk: MakeDesk, postfix: Callable[[Settings], Postfix], issue: Issue
) -> None:
    server = postfix(Settings(certificate=issue("lab.test", "mx1.lab.test")))
    shown = await desk(ZONES).ask("tlsverify", "lab.test", f"mx1.lab.test:{server.port}")
    assert shown.ended.status == 0
    assert without_cipher(shown.lines) == succeeded(server.port, "mx1.lab.test", "lab.test")
    assert ", cipher TLS_AES_256_GCM_SHA384." in shown.text
    assert shown.values[-1]["outcome"]["verified"] is True
    assert "disconnect" in server.wait_log("disconnect from")
    assert not server.messages()


async def test_against_exim_a_wildcard_for_the_domains_parent_matches(
    desk: MakeDesk, exim: Callable[[EximSettings], Exim], issue: Issue
) -> None:
    server = exim(EximSettings(certificate=issue("*.lab.test")))
    shown = await desk({"sub.lab.test": "mx A 127.0.0.1"}).ask(
        "tlsverify", "sub.lab.test", f"mx.sub.lab.test:{server.port}"
    )
    assert "TLS certificate match *.lab.test" in shown.lines
    assert shown.ended.status == 0


async def test_without_words_the_questions_of_the_reference_are_asked(
    desk: MakeDesk, hostile: Callable[..., Hostile], issue: Issue
) -> None:
    server = hostile("no-pipelining", issue("lab.test"))
    asking = desk(ZONES)
    shown = await asking.ask("tlsverify", answers=["lab.test", f"mx1.lab.test:{server.port}"])
    assert asking.client.questions == [
        "Enter the TLS domain to verify against: []",
        f"{_HOST} [lab.test]",
    ]
    assert shown.lines[-2:] == ["TLS successfully connected to mx1.lab.test.", "TLS verification completed."]
    silent = await asking.ask("tlsverify")
    assert (silent.ended.status, silent.ended.message) == (
        2, "Missing: DOMAIN. 'help tlsverify' shows how it is used.",
    )  # fmt: skip


async def test_without_a_host_the_servers_are_tried_as_on_delivery(
    desk: MakeDesk, running: Starter, issue: Issue, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()
    for name in ("places", "outside"):
        monkeypatch.setattr(f"mxseal.examine.receiver.{name}.__defaults__", (port,))
    running(lambda: At("127.0.0.1", port, "no-starttls", certificate=issue("lab.test")))
    running(lambda: At("127.0.0.2", port, certificate=issue("lab.test")))
    shown = await desk(ZONES).ask("tlsverify", "lab.test")
    assert "TLS was required but could not be successfully negotiated." in shown.lines
    assert shown.lines[-2] == "TLS successfully connected to mx2.lab.test."
    assert shown.ended.status == 0


async def test_a_route_is_where_the_mail_goes(
    desk: MakeDesk, hostile: Callable[..., Hostile], issue: Issue
) -> None:
    server = hostile("no-pipelining", issue("lab.test"))
    asking = desk(ZONES, smtp_routes={"lab.test": [f"127.0.0.1:{server.port}"]})
    shown = await asking.ask("tlsverify", "lab.test", "lab.test")
    assert shown.lines[0] == f"Connecting to 127.0.0.1 on port {server.port}."
    assert shown.ended.status == 0


async def test_the_common_name_counts_against_the_name_that_the_address_has(
    desk: MakeDesk, hostile: Callable[..., Hostile], authority: Authority
) -> None:
    # 127.0.0.1 is localhost for the resolver, whatever the reverse zone says.
    server = hostile("no-pipelining", authority.issue("localhost"))
    shown = await desk(ZONES).ask("tlsverify", "lab.test", f"mx1.lab.test:{server.port}")
    assert "TLS certificate match localhost" in shown.lines
    assert shown.ended.status == 0


FAILURES = [
    ("no-starttls", STARTTLS_UNAVAILABLE, "does not offer STARTTLS"),
    ("starttls-454", "STARTTLS unexpected response", "answers 454"),
    ("banner-554", "554 5.7.1 no SMTP service for you", "does not want to talk"),
    ("tls-alert", "('SSL routines:ssl3_read_bytes:sslv3 alert handshake failure')", "handshake"),
    ("tls-resets", "[Errno 54] Connection reset by peer", "reset"),
]  # fmt: skip


@pytest.mark.parametrize(("fault", "reason", "why"), FAILURES, ids=[each[0] for each in FAILURES])
async def test_a_connection_without_tls_fails_in_the_reference_words_and_says_why_in_ours(  # noqa: PLR0917
    fault: str, reason: str, why: str, desk: MakeDesk, hostile: Callable[..., Hostile], issue: Issue
) -> None:
    server = hostile(fault, issue("lab.test"))
    shown = await desk(ZONES).ask("tlsverify", "lab.test", f"mx1.lab.test:{server.port}")
    assert shown.lines[-4:] == [
        f"TLS connection to 127.0.0.1 failed: {reason}.",
        "TLS was required but could not be successfully negotiated.",
        "Failed to connect to [lab.test].",
        "TLS verification completed.",
    ]
    assert shown.ended.status == 1
    assert why in shown.ended.message


@pytest.mark.parametrize(
    ("certificate", "reason", "why"),
    [
        ("self-signed", "self signed certificate", "is self-signed"),
        ("other-name", "hostname mismatch", "should carry lab.test or localhost; its names are: other.test"),
        ("exchanger", "hostname mismatch", "the level required-verify-hosted accepts that"),
        ("unknown", "unable to get local issuer certificate", "which signed lab.test, is missing"),
    ],
)
async def test_a_certificate_that_is_not_verified_is_refused_with_the_reason(  # noqa: PLR0917
    certificate: str,
    reason: str,
    why: str,
    desk: MakeDesk,
    hostile: Callable[..., Hostile],
    issue: Issue,
) -> None:
    shown_certificate = {
        "self-signed": self_signed("lab.test"),
        "other-name": issue("other.test"),
        "exchanger": issue("mx1.lab.test"),
        "unknown": Authority("Somebody Else").issue("lab.test"),
    }[certificate]
    server = hostile("no-pipelining", shown_certificate)
    shown = await desk(ZONES).ask("tlsverify", "lab.test", f"mx1.lab.test:{server.port}")
    assert f"Certificate verification failed: {reason}." in shown.lines
    assert "TLS connection to 127.0.0.1 failed: verify error." in shown.lines
    assert shown.lines[-2:] == ["Failed to connect to [lab.test].", "TLS verification completed."]
    assert shown.ended.status == 1
    assert why in shown.ended.message


async def test_only_the_versions_of_the_outbound_settings_are_offered(
    desk: MakeDesk, hostile: Callable[..., Hostile], issue: Issue
) -> None:
    server = hostile("tls-1.0-only", issue("lab.test"))
    shown = await desk(ZONES).ask("tlsverify", "lab.test", f"mx1.lab.test:{server.port}")
    assert shown.ended.status == 1
    shown = await desk(ZONES, ssl={"outbound": {"profile": "old"}}).ask(
        "tlsverify", "lab.test", f"mx1.lab.test:{server.port}"
    )
    assert any("protocol TLSv1," in line for line in shown.lines)
    assert shown.ended.status == 0


async def test_a_port_on_which_nobody_listens_and_a_name_without_address_fail_to_connect(
    desk: MakeDesk,
) -> None:
    shown = await desk(ZONES).ask("tlsverify", "lab.test", f"mx1.lab.test:{free_port()}")
    assert shown.lines[1:] == [
        "Connection to 127.0.0.1 failed: [Errno 61] Connection refused.",
        "Failed to connect to [lab.test].",
        "TLS verification completed.",
    ]
    shown = await desk(ZONES).ask("tlsverify", "lab.test", "gone.lab.test")
    assert shown.lines == ["Failed to connect to [lab.test].", "TLS verification completed."]
    assert "NXDomain" in shown.ended.message


async def test_the_custom_list_counts_where_it_is_enabled(
    desk: MakeDesk, hostile: Callable[..., Hostile]
) -> None:
    other = Authority("Partner Root")
    server = hostile("no-pipelining", other.intermediate().issue("lab.test"))
    entry = {"name": "Partner", "certificate": other.pem.decode()}
    words = ("tlsverify", "lab.test", f"mx1.lab.test:{server.port}")
    for custom, status in ((False, 1), (True, 0)):
        trust = {"system": False, "custom": custom, "authorities": [entry]}
        shown = await desk(ZONES, trust=trust).ask(*words)
        assert shown.ended.status == status
    asking = desk({"lab.test": "@ A 127.0.0.1"}, trust=trust)
    shown = await asking.ask("testreceiver", f"lab.test:{server.port}")
    assert shown.report["hosts"][0]["certificate"]["problems"] == []
