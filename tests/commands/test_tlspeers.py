"""`tlspeers`: the table, all about a domain, and what would break under a level."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from mxseal.commands import peers
from mxseal.commands.context import Role
from mxseal.commands.registry import Registry
from mxseal.storage.peers import JUDGED, Facts, Peer, PeersFile
from tests.commands.desk import Desk
from tests.commands.gateway import NOW

COMMANDS = Registry((peers,))
BEFORE = NOW - 86_400.0
ALL = ("off", *JUDGED)
LESS = ("off", "preferred", "preferred-verify")
SECURE: dict[str, Any] = {
    "protocol": "TLSv1.3",
    "cipher": "TLS_AES_256_GCM_SHA384",
    "group": "X25519MLKEM768",
}
LEAF: dict[str, Any] = {
    "subject": "CN=mx.bank.example",
    "issuer": "CN=R11",
    "sha256": "ab" * 32,
    "expires": NOW + 9e6,
}


def counts(**given: int) -> dict[str, int]:
    return dict.fromkeys(JUDGED, 0) | {name.replace("_", "-"): count for name, count in given.items()}


BANK = Peer(
    direction="out",
    domain="bank.example",
    host="mx.bank.example",
    first=BEFORE,
    last=NOW,
    tls=7,
    messages_tls=9,
    passed=dict.fromkeys(JUDGED, 7),
    refused=counts(),
    facts_at=NOW,
    facts=Facts(
        outcome="tls",
        level="preferred",
        trusted=True,
        names="matched",
        names_hosted="matched",
        name="mx.bank.example",
        expected="mx.bank.example",
        sent=2,
        passes=ALL,
        **SECURE,
        **LEAF,
    ),
)
PLAIN = Peer(
    direction="out",
    domain="plain.example",
    host="mx.plain.example",
    first=BEFORE,
    last=NOW - 60,
    clear=3,
    failed=1,
    messages_clear=4,
    passed=counts(preferred=4, preferred_verify=4),
    refused=counts(required=4, required_verify=4, required_verify_hosted=4),
    facts_at=NOW - 60,
    facts=Facts(outcome="clear", level="preferred", passes=LESS, reason="The server offers no STARTTLS."),
)
MENDED = Peer(
    direction="out",
    domain="mended.example",
    host="mx.mended.example",
    first=BEFORE,
    last=NOW,
    tls=5,
    failed=2,
    passed=counts(required=5),
    refused=counts(required=2, required_verify=7),
    facts_at=NOW,
    facts=Facts(
        outcome="tls",
        trusted=False,
        chain_error="certificate has expired",
        passes=(*LESS[:2], "required"),
        names="differs",
        names_hosted="differs",
        name="old.example",
        expected="mended.example",
        **SECURE,
    ),
)
OFF = Peer(
    direction="out",
    domain="off.example",
    host="mx.off.example",
    first=BEFORE,
    last=NOW,
    clear=2,
    messages_clear=2,
    passed=counts(),
    refused=counts(),
    facts_at=NOW,
    facts=Facts(outcome="clear", level="off", passes=("off",), undecided=JUDGED),
)
SENDER = Peer(
    direction="in",
    domain="sender.example",
    host="",
    first=BEFORE,
    last=NOW,
    tls=1,
    clear=1,
    messages_tls=1,
    messages_clear=1,
    passed=counts(required=1),
    refused=counts(required=1),
    facts_at=NOW,
    facts=Facts(outcome="clear", passes=LESS, undecided=("required-verify-hosted",)),
)
GONE = Peer(
    direction="out",
    domain="gone.example",
    host="mx.gone.example",
    first=BEFORE,
    last=NOW,
    broken=3,
    passed=counts(),
    refused=counts(),
)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return sitting(tmp_path, BANK, PLAIN, MENDED, OFF, SENDER, GONE)


def sitting(folder: Path, *found: Peer, role: Role = "read-only") -> Desk:
    made = Desk(COMMANDS, role)
    file = PeersFile(folder / "peers.db")
    file.prepare()
    file.write(found, NOW)
    made.services.peers = file  # type: ignore[attr-defined]
    return made


async def test_the_table_shows_each_peer_with_the_levels_that_would_let_it_pass(desk: Desk) -> None:
    rows = await desk.ok("tlspeers")
    assert [row["domain"] for row in rows] == [
        "bank.example",
        "gone.example",
        "mended.example",
        "off.example",
        "plain.example",
        "sender.example",
    ]
    assert "out bank.example mx.bank.example TLSv1.3 yes all 7 0 0" in desk.text
    assert "mx.mended.example TLSv1.3 no preferred, required 5 0 2" in desk.text
    assert "mx.plain.example none - preferred, preferred-verify 0 3 1" in desk.text
    assert "mx.gone.example - - - 0 0 3" in desk.text


async def test_one_direction_can_be_asked_for(desk: Desk) -> None:
    assert [row["domain"] for row in await desk.ok("tlspeers", "--direction", "in")] == ["sender.example"]


async def test_all_that_is_known_of_a_domain_is_told(desk: Desk) -> None:
    (found,) = await desk.ok("tlspeers", "Bank.Example")
    for told in (
        "Deliveries to bank.example at mx.bank.example",
        "Messages over TLS: 9",
        "TLS_AES_256_GCM_SHA384, X25519MLKEM768",
        "Chain: verified",
        "Names: match",
        "Issued by: CN=R11",
        "required-verify-hosted: passes (7 passed, 0 would not)",
    ):
        assert told in desk.text
    assert found["levels"]["required"] == {"passes": True, "passed": 7, "refused": 0}
    assert found["facts"]["sha256"] == "ab" * 32
    await desk.ok("tlspeers", "mended.example")
    assert "Chain: certificate has expired" in desk.text
    assert "Nearest name: old.example for mended.example" in desk.text


async def test_a_domain_that_was_never_seen_is_a_failure_with_a_hint(desk: Desk) -> None:
    assert "Nothing is recorded about nobody.example" in await desk.refused("tlspeers", "nobody.example")


async def test_what_would_break_under_required_comes_first_with_totals(desk: Desk) -> None:
    found = await desk.ok("tlspeers", "--direction", "out", "--would-fail", "required")
    assert [peer["domain"] for peer in found["peers"]] == ["plain.example", "mended.example"]
    assert "mx.plain.example would fail 4 4 3 1 4" in desk.text
    assert "The server offers no STARTTLS." in desk.text
    assert "mx.mended.example passes 2 7 0 2 0" in desk.text
    assert found["totals"] == {
        "domains": 5,
        "domains_failing_now": 1,
        "domains_failed_before": 1,
        "domains_not_known": 1,
        "connections": 20,
        "connections_failing": 6,
        "messages": 15,
        "messages_in_clear": 6,
    }
    assert "1 would fail now under required and 1 did before; of 1 it is not known." in desk.text
    assert "6 of 20 connections would have failed; 6 of 15 messages went in clear." in desk.text


async def test_what_is_wrong_with_a_certificate_is_the_reason_under_verification(desk: Desk) -> None:
    found = await desk.ok("tlspeers", "--would-fail", "required-verify", "--direction", "out")
    assert [peer["domain"] for peer in found["peers"]] == ["mended.example", "plain.example"]
    assert "certificate has expired" in desk.text


async def test_the_question_can_be_asked_about_one_domain(desk: Desk) -> None:
    await desk.ok("tlspeers", "bank.example", "--would-fail", "required")
    assert "Nothing that was recorded would fail under required. Of 1 domains" in desk.text


async def test_rows_beyond_the_limit_are_counted(tmp_path: Path, desk: Desk) -> None:
    assert len(await desk.ok("tlspeers", "--limit", "2")) == 2
    assert "4 more are not shown" in desk.text
    found = await desk.ok("tlspeers", "--would-fail", "required", "--limit", "1")
    assert len(found["peers"]) == 1
    assert found["totals"]["domains_failing_now"] == 2


async def test_names_of_strangers_can_not_draw_on_the_terminal(tmp_path: Path) -> None:
    desk = sitting(tmp_path, msgspec.structs.replace(BANK, domain="bank\x1b[2j.example", host="a\nb"))
    await desk.ok("tlspeers")
    assert "\x1b" not in desk.text
    await desk.ok("tlspeers", "bank\x1b[2j.example")
    assert "\x1b" not in desk.text


async def test_an_empty_record_says_so(tmp_path: Path) -> None:
    desk = sitting(tmp_path)
    assert await desk.ok("tlspeers") == []
    assert "Nothing is recorded yet." in desk.text
    await desk.ok("tlspeers", "--would-fail", "required")
    assert "Nothing is recorded yet." in desk.text


async def test_a_record_that_cannot_be_read_is_told_with_the_remedy(tmp_path: Path) -> None:
    desk = sitting(tmp_path)
    (tmp_path / "peers.db").write_bytes(b"nothing" * 2000)
    assert "can't be read" in await desk.refused("tlspeers")
