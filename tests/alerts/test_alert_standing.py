"""Conditions that stand: expiry by the reference's days, chains, revocation lists, disk, queue."""

from __future__ import annotations

from typing import Any

import pytest

from mxseal.alerts.standing import (
    DAYS_BEFORE,
    CrlFacts,
    Dated,
    Oldest,
    chain_problems,
    dated,
    disk_low,
    expiring,
    expiry_mark,
)
from mxseal.alerts.watch import OFTEN_SECONDS, REMINDER_SECONDS
from mxseal.clock import ManualClock
from mxseal.config.model import Document
from tests.alerts.desk import Desk, MemoryFacts, document_with
from tests.certs.authority import DAY, NOW, Wish, authority, cert_pem, ec_key, issue

LONG = Wish(ca=True, names=(), eku=None, end=3000)


def entry(left: float, life: float = 400) -> Dated:
    """A certificate with `left` days left of `life`."""
    end = NOW + left * DAY
    return Dated(
        kind="certificate-expires",
        what="The certificate mx",
        used="listener IncomingMail (inbound TLS)",
        remedy="Renew it.",
        sha256="AB",
        not_before=end - life * DAY,
        not_after=end,
    )


ROOT = authority("Alert Root", None, LONG)
NEAR = authority("Alert Near", ROOT, LONG)


def served(days: float = 365, *, chain: bool = True) -> dict[str, Any]:
    """The keys of a document whose listener shows a certificate with `days` left; another is not used."""
    leaf = issue("mx.example.com", ec_key("alert"), NEAR, Wish(begin=-30, end=days)).certificate
    profile = {"certificate": cert_pem(leaf).decode()}
    intermediates = [cert_pem(NEAR.certificate).decode()] if chain else []
    return {
        "listeners": [{"name": "IncomingMail", "port": 2525, "certificate": "mx"}],
        "certificates": [
            {"name": "mx", "intermediates": intermediates} | profile,
            {"name": "old"} | profile,
        ],
    }


# --- expiry -----------------------------------------------------------------------------------------------


def test_expiry_is_marked_at_the_reference_s_days_and_then_weekly() -> None:
    marks = [expiry_mark(entry(left), NOW) for left in range(120, -30, -1)]
    changes = [mark for index, mark in enumerate(marks) if index == 0 or mark != marks[index - 1]]
    assert changes == [None, *DAYS_BEFORE, -1, -8, -15, -22, -29]


def test_the_mark_changes_on_the_very_second() -> None:
    assert expiry_mark(entry(31 - 1e-5), NOW) == 30
    assert expiry_mark(entry(31), NOW) == 60
    assert expiry_mark(entry(1e-5), NOW) == 0
    assert expiry_mark(entry(-1e-5), NOW) == -1


def test_a_certificate_for_90_days_is_not_told_of_as_soon_as_it_is_made() -> None:
    assert expiry_mark(entry(89.9, life=90), NOW) is None
    assert expiry_mark(entry(60, life=90), NOW) == 60


@pytest.mark.parametrize(
    ("left", "severity", "words"),
    [
        (89, "information", "expires in 89 days"),
        (30, "warning", "expires in 30 days"),
        (1.5, "critical", "expires in 1 day"),
        (0.5, "critical", "expires today"),
        (-3, "critical", "has expired"),
    ],
)
def test_the_nearer_the_end_the_more_severe(left: float, severity: str, words: str) -> None:
    (told,) = expiring([entry(left)], NOW)
    assert told.alert.severity == severity
    assert told.alert.title == f"The certificate mx {words}"
    assert ("Used by", "listener IncomingMail (inbound TLS)") in told.alert.details


def test_watched_are_certificates_in_use_their_intermediates_and_custom_authorities() -> None:
    custom = [{"name": "Partner CA", "certificate": cert_pem(ROOT.certificate).decode()}]
    document = document_with(**served(), trust={"authorities": custom})
    found = [(each.kind, each.what) for each in dated(document, NOW)]
    assert found[0] == ("certificate-expires", "The certificate mx")
    assert found[1] == ("certificate-expires", "The intermediate Alert Near of the certificate mx")
    assert found[2] == ("authority-expires", "The custom authority Partner CA")
    assert len(found) == 3


def test_a_document_whose_certificates_can_t_be_read_is_watched_without_them() -> None:
    plain = served()
    plain["certificates"][0]["certificate"] = "nonsense"
    assert dated(document_with(**plain), NOW) == []
    assert list(chain_problems(document_with(**plain), NOW, None)) == []
    assert dated(Document(), NOW) == []


async def test_each_mark_is_told_once_also_across_a_restart_until_the_certificate_is_renewed() -> None:
    facts, clock, old = MemoryFacts(), ManualClock(NOW), served(15.5)
    async with Desk(facts, clock, **old) as desk:
        assert desk.kinds == ["certificate-expires"]
        assert any("Warning: The certificate mx expires in 15 days" in line for line in desk.lines())
        for _ in range(5):
            await desk.pass_time(3600)
        assert desk.kinds == ["certificate-expires"]
    async with Desk(facts, clock, **old) as desk:
        assert desk.kinds == []
        desk.alerts.configure(document_with(**served(400)))
        await desk.settle()
        assert desk.kinds == []
        desk.alerts.configure(document_with(**served(14.5)))
        await desk.settle()
        assert desk.kinds == ["certificate-expires"]


async def test_the_next_mark_comes_by_the_clock() -> None:
    async with Desk(clock=ManualClock(NOW), **served(6.5)) as desk:
        for _ in range(10 * 24):
            await desk.pass_time(3600)
        titles = [event.title.removeprefix("The certificate mx ") for event in desk.raised]
    assert titles == [
        "expires in 6 days",
        *(f"expires in {days} days" for days in (5, 4, 3, 2)),
        "expires in 1 day",
        "expires today",
        "has expired",
    ]


# --- chains and lists -------------------------------------------------------------------------------------


async def test_a_chain_without_its_intermediate_is_told_when_the_document_comes_into_force() -> None:
    async with Desk(clock=ManualClock(NOW), **served()) as desk:
        assert desk.kinds == []
        broken = document_with(**served(chain=False))
        desk.alerts.configure(broken)
        await desk.settle()
        assert desk.kinds == ["chain-problem"]
        assert "missing" in desk.raised[0].title
        desk.alerts.configure(broken)
        await desk.settle()
        assert desk.kinds == ["chain-problem"]


async def test_a_list_of_revoked_certificates_that_is_out_of_date_is_told_once() -> None:
    async with Desk(clock=ManualClock(NOW)) as desk:
        desk.world.lists = [CrlFacts(name="Partner CA", next_update=NOW + 7000, problem="timed out")]
        await desk.pass_time(3600)
        assert desk.kinds == []
        for _ in range(3):
            await desk.pass_time(3600)
        assert desk.kinds == ["crl-overdue"]
        desk.world.lists = [CrlFacts(name="Partner CA", next_update=NOW + 20_000)]
        for _ in range(3):
            await desk.pass_time(3600)
        assert desk.kinds == ["crl-overdue", "crl-overdue"]


# --- disk and queue ---------------------------------------------------------------------------------------


def test_a_disk_at_the_limit_does_not_flap() -> None:
    assert disk_low(9, 100, 10, was_low=False)
    assert not disk_low(10, 100, 10, was_low=False)
    assert disk_low(10, 100, 10, was_low=True)
    assert not disk_low(11, 100, 10, was_low=True)
    assert not disk_low(0, 100, 0, was_low=True)


async def test_a_nearly_full_disk_is_told_reminded_of_daily_and_its_end_told() -> None:
    async with Desk(clock=ManualClock(NOW)) as desk:
        desk.world.disk = (5 << 30, 100 << 30)
        await desk.pass_time(OFTEN_SECONDS)
        assert desk.kinds == ["disk-nearly-full"]
        assert "5120 MiB" in desk.raised[0].text
        for _ in range(int(REMINDER_SECONDS // OFTEN_SECONDS)):
            await desk.pass_time(OFTEN_SECONDS)
        assert desk.kinds == ["disk-nearly-full"] * 2
        desk.world.disk = (50 << 30, 100 << 30)
        for _ in range(5):
            await desk.pass_time(OFTEN_SECONDS)
        assert desk.kinds == ["disk-nearly-full"] * 2 + ["disk-has-space"]


async def test_mail_that_waits_too_long_is_told_with_its_domain_and_reason() -> None:
    async with Desk(clock=ManualClock(NOW), alerts={"queue_age": 3600.0}) as desk:
        desk.world.oldest = Oldest(mid=12, queued_at=NOW, domain="slow.example", last_error="451 busy")
        await desk.pass_time(3500)
        assert desk.kinds == []
        await desk.pass_time(OFTEN_SECONDS)
        await desk.pass_time(OFTEN_SECONDS)
        assert desk.kinds == ["queue-age"]
        assert "MID 12 to slow.example" in desk.raised[0].title
        assert "451 busy" in desk.raised[0].text
        desk.world.oldest = None
        for _ in range(5):
            await desk.pass_time(OFTEN_SECONDS)
        assert desk.kinds == ["queue-age", "queue-age-well"]


async def test_without_a_limit_the_age_of_the_queue_is_no_matter() -> None:
    async with Desk(clock=ManualClock(NOW), alerts={"queue_age": 0.0}) as desk:
        desk.world.oldest = Oldest(mid=12, queued_at=0.0)
        await desk.pass_time(OFTEN_SECONDS)
    assert desk.kinds == []
