"""One server through the stages: what each fault looks like, and what stays untested."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from lab.ca import Authority, Issued
from lab.hostile import Hostile, bad_certificates
from lab.place import free_port
from lab.script import Behaviour
from mxseal.examine.report import Verdict
from mxseal.examine.stages import Trust
from mxseal.examine.talk import Manners, Place
from tests.examine.examining import MANNERS, codes, examined, one, states, trusting

Start = Callable[..., Hostile]
OK, FAIL, NOT = "ok", "fail", "untested"


@pytest.fixture
def trust(authority: Authority, tmp_path: Path) -> Trust:
    return trusting(authority, tmp_path)


async def test_a_good_server_passes_every_stage_and_gets_no_message(
    hostile: Start, issue: Callable[..., Issued], trust: Trust
) -> None:
    server = hostile("no-pipelining", issue("mx.lab.test"))
    host = await one(server, trust)
    assert states(host) == [OK] * 7
    assert (host.verdict, host.protocol, host.score.value) == ("secure", "TLSv1.3", 100)
    assert (host.address, host.connections) == ("127.0.0.1", 1)
    (session,) = server.wait_sessions()
    assert session.commands[-3:] == ["MAIL FROM:<postmaster@tester.lab.test>", "RSET", "QUIT"]
    assert session.ended == "quit"
    assert not server.taken


FAULTS: list[tuple[str, list[str], Verdict, str]] = [
    ("banner-554", [OK, FAIL, NOT, NOT, NOT, NOT, NOT], "untested", "The connection was answered 554"),
    ("banner-421", [OK, NOT, NOT, NOT, NOT, NOT, NOT], "untested", "does not want to talk now"),
    ("banner-closes", [OK, FAIL, NOT, NOT, NOT, NOT, NOT], "untested", "gave no greeting"),
    ("banner-garbage", [OK, FAIL, NOT, NOT, NOT, NOT, NOT], "untested", "gave no greeting"),
    ("banner-endless", [OK, FAIL, NOT, NOT, NOT, NOT, NOT], "untested", "gave no greeting"),
    ("helo-only", [OK, OK, FAIL, NOT, NOT, NOT, NOT], "no-tls", "EHLO was answered 502"),
    ("ehlo-garbage", [OK, OK, FAIL, NOT, NOT, NOT, NOT], "untested", "broke off on EHLO"),
    ("no-starttls", [OK, OK, OK, FAIL, NOT, NOT, NOT], "no-tls", "EHLO does not list STARTTLS"),
    ("starttls-454", [OK, OK, OK, NOT, NOT, NOT, NOT], "untested", "STARTTLS was answered 454"),
    ("starttls-502", [OK, OK, OK, FAIL, NOT, NOT, NOT], "tls-broken", "STARTTLS was answered 502"),
    ("starttls-closes", [OK, OK, OK, FAIL, NOT, NOT, NOT], "tls-broken", "broke off on STARTTLS"),
    ("tls-closes", [OK, OK, OK, OK, NOT, FAIL, NOT], "tls-broken", "closed"),
    ("tls-resets", [OK, OK, OK, OK, NOT, FAIL, NOT], "tls-broken", "reset"),
    ("tls-garbage", [OK, OK, OK, OK, NOT, FAIL, NOT], "tls-broken", ""),
    ("tls-cleartext", [OK, OK, OK, OK, NOT, FAIL, NOT], "tls-broken", "clear text"),
    ("tls-alert", [OK, OK, OK, OK, NOT, FAIL, NOT], "tls-broken", "handshake"),
    ("mail-451", [OK, OK, OK, OK, OK, OK, NOT], "secure", "MAIL FROM was answered 451"),
    ("mail-550", [OK, OK, OK, OK, OK, OK, FAIL], "secure", "MAIL FROM was answered 550"),
    ("mail-closes", [OK, OK, OK, OK, OK, OK, FAIL], "secure", "broke off on MAIL FROM"),
    ("ehlo-closes-in-tls", [OK, OK, OK, OK, OK, FAIL, NOT], "tls-broken", "broke off behind the handshake"),
    ("quit-closes", [OK] * 7, "secure", ""),
    ("trickles", [OK] * 7, "secure", ""),
]  # fmt: skip


@pytest.mark.parametrize(("fault", "seen", "verdict", "why"), FAULTS, ids=[each[0] for each in FAULTS])
async def test_each_fault_fails_its_own_stage_and_leaves_the_later_ones_untested(  # noqa: PLR0917
    fault: str,
    seen: list[str],
    verdict: str,
    why: str,
    hostile: Start,
    issue: Callable[..., Issued],
    trust: Trust,
) -> None:
    server = hostile(fault, issue("mx.lab.test"))
    host = await one(server, trust)
    assert (states(host), host.verdict) == (seen, verdict)
    told = host.trouble.why if host.trouble else ""
    assert why in told
    assert (host.score.value is None) == (verdict == "untested")


async def test_only_a_server_that_was_heard_to_have_no_tls_is_said_to_have_none(
    hostile: Start, issue: Callable[..., Issued], trust: Trust
) -> None:
    verdicts = {}
    for fault in ("no-starttls", "helo-only", "banner-421", "starttls-454", "banner-closes"):
        verdicts[fault] = (await one(hostile(fault, issue("mx.lab.test")), trust)).verdict
    assert {fault for fault, verdict in verdicts.items() if verdict == "no-tls"} == {
        "no-starttls",
        "helo-only",
    }


async def test_a_server_that_refuses_helo_too_says_nothing_about_tls(
    hostile: Start, issue: Callable[..., Issued], trust: Trust
) -> None:
    rude = Behaviour(replies={"EHLO": "502 5.5.1 no", "HELO": "554 5.7.1 go away"})
    host = await one(hostile(rude, issue("mx.lab.test")), trust)
    assert (host.verdict, host.stages[2].state) == ("untested", FAIL)


async def test_a_server_that_greets_late_is_given_up_after_its_time(
    hostile: Start, issue: Callable[..., Issued], trust: Trust
) -> None:
    hasty: Manners = msgspec.structs.replace(MANNERS, reply_seconds=0.05, handshake_seconds=0.05)
    silent = await one(hostile("banner-silent", issue("mx.lab.test")), trust, manners=hasty)
    assert states(silent)[:2] == [OK, FAIL]
    assert silent.stages[1].why.endswith("no answer in time.")
    hasty = msgspec.structs.replace(hasty, reply_seconds=20.0)
    stalled = await one(hostile("tls-stalls", issue("mx.lab.test")), trust, manners=hasty)
    assert (stalled.verdict, stalled.stages[5].state) == ("tls-broken", FAIL)


async def test_a_firewall_that_masks_starttls_is_named(
    hostile: Start, issue: Callable[..., Issued], trust: Trust
) -> None:
    masked = Behaviour(starttls=False, extensions=("SIZE 1000", "XXXXXXXA"))
    host = await one(hostile(masked, issue("mx.lab.test")), trust)
    assert host.verdict == "no-tls"
    assert "SMTP inspection" in host.stages[3].remedy


async def test_a_port_on_which_nobody_listens_is_unreachable_and_scores_fifty(trust: Trust) -> None:
    place = Place(host="mx.lab.test", port=free_port(), addresses=("127.0.0.1",))
    report, _ = await examined([place], trust)
    (host,) = report.hosts
    assert (host.verdict, host.score.value, states(host)) == ("unreachable", 50, [FAIL] + [NOT] * 6)


async def test_the_next_address_is_tried_where_one_does_not_answer(
    hostile: Start, issue: Callable[..., Issued], trust: Trust
) -> None:
    server = hostile("no-pipelining", issue("mx.lab.test"))
    place = Place(host="mx.lab.test", port=server.port, addresses=("127.0.0.9", "127.0.0.1"))
    report, _ = await examined([place], trust)
    (host,) = report.hosts
    assert (host.address, host.verdict, host.connections) == ("127.0.0.1", "secure", 2)


CERTIFICATES = {
    "self-signed": ({"self-signed"}, 80),
    "expired": ({"expired"}, 80),
    "not-yet-valid": ({"not-yet-valid"}, 80),
    "other-name": ({"name-mismatch"}, 85),
    "unknown-authority": ({"untrusted", "missing-intermediate"}, 80),
    "client-only": ({"no-server-auth"}, 80),
    "intermediate-missing": ({"missing-intermediate"}, 80),
}


@pytest.mark.parametrize("fault", CERTIFICATES)
async def test_each_thing_that_is_wrong_with_a_certificate_is_named(
    fault: str, hostile: Start, authority: Authority, trust: Trust
) -> None:
    server = hostile("no-pipelining", bad_certificates(authority, "mx.lab.test")[fault])
    host = await one(server, trust)
    expected, score = CERTIFICATES[fault]
    assert codes(host) & expected
    assert host.stages[4].state == FAIL
    assert (host.verdict, host.score.value) == ("encrypted", score)
    assert host.stages[4].why


async def test_untidy_chains_are_told_and_cost_little(
    hostile: Start, authority: Authority, intermediate: Authority, trust: Trust
) -> None:
    good = intermediate.issue("mx.lab.test")
    leaf, issuer = good.chain
    twice = sending(good, (leaf, issuer, issuer, authority.certificate))
    host = await one(hostile("no-pipelining", twice), trust)
    assert {"duplicate-intermediate", "superfluous-root"} <= codes(host)
    assert "sent 2 times" in " ".join(problem.text for problem in host.certificate.problems)  # type: ignore[union-attr]
    assert (host.verdict, host.score.value) == ("secure", 98)


def sending(issued: Issued, chain: tuple[object, ...]) -> Issued:
    return Issued(certificate=issued.certificate, key=issued.key, chain=chain, root=issued.root)  # type: ignore[arg-type]


async def test_the_dialogue_has_everything_that_was_said_with_the_marks_of_clear_text_and_tls(
    hostile: Start, issue: Callable[..., Issued], trust: Trust
) -> None:
    host = await one(hostile("no-pipelining", issue("mx.lab.test")), trust)
    lines = [f"{said.mark} {said.text}".strip() for said in host.dialogue]
    expected = [
        "Server answered",
        "<-- 220 hostile.lab.test ESMTP ready",
        "We are allowed to connect",
        "--> EHLO tester.lab.test",
        "<-- 250 STARTTLS",
        "We can use this server",
        "TLS is an option on this server",
        "--> STARTTLS",
        "STARTTLS command works on this server",
        "Connection converted to SSL",
        "SSLVersion in use: TLSv1_3",
        "Perfect Forward Secrecy: yes",
        "Certificate 1 of 2 in chain: Cert VALIDATED: ok",
        "Cert Hostname VERIFIED (mx = mx.lab.test, cert = mx.lab.test)",
        "~~> EHLO tester.lab.test",
        "TLS successfully started on this server",
        "~~> MAIL FROM:<postmaster@tester.lab.test>",
        "<~~ 250 2.1.0 sender ok",
        "Sender is OK",
        "~~> QUIT",
    ]
    assert [line for line in lines if line in expected] == expected


# --- clear text refused -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("replies", "seen"),
    [
        ({}, FAIL),
        ({"MAIL": "530 5.7.0 Must issue a STARTTLS command first"}, OK),
        ({"RCPT": "450 4.7.1 Session encryption is required"}, OK),
        ({"MAIL": "554 5.7.10 no"}, OK),
        ({"MAIL": "550 5.7.1 we do not know you"}, NOT),
        ({"RCPT": "450 4.2.0 greylisted"}, NOT),
        ({"CONNECT": "421 4.3.2 too busy"}, NOT),
    ],
)
async def test_clear_text_counts_as_refused_only_where_the_refusal_is_about_encryption(
    replies: dict[str, str], seen: str, hostile: Start, issue: Callable[..., Issued], trust: Trust
) -> None:
    server = hostile(Behaviour(replies=replies), issue("mx.lab.test"))
    place = Place(host="mx.lab.test", port=server.port, addresses=("127.0.0.1",))
    report, _ = await examined([place], trust, assure=True)
    (host,) = report.hosts
    assert host.stages[-1].state == seen
    assert report.score.value == {OK: 100, FAIL: 0, NOT: None}[seen]
    assert not server.taken
    assert all("STARTTLS" not in command for command in server.sessions[0].commands)


async def test_a_certificate_with_thousands_of_names_is_told_within_bounds(
    hostile: Start, issue: Callable[..., Issued], trust: Trust
) -> None:
    many = issue("mx.lab.test", *(f"host{number}.lab.test" for number in range(2000)))
    host = await one(hostile("no-pipelining", many), trust)
    assert host.verdict == "secure"
    assert len(host.certificate.names) == 100  # type: ignore[union-attr]
    assert all(len(said.text) <= 500 for said in host.dialogue)
