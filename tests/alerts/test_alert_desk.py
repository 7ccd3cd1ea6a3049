"""Alerts of a running gateway: what is told, when, with what, and what is remembered; the clock in hand."""

from __future__ import annotations

from typing import Any

import pytest

from mxseal.alerts.memory import FACT
from mxseal.clock import ManualClock
from mxseal.config.model import Alerts as AlertSettings
from mxseal.events.types import (
    CertificateServed,
    ReloadRefused,
    StorageRecovered,
    StorageTrouble,
    WorkerDied,
)
from mxseal.relay.routing import Routing
from mxseal.tls.diagnosis import diagnose_unavailable
from tests.alerts.desk import ADMIN, Desk, MemoryFacts, document_with

CALM_SECONDS = AlertSettings().calm_time
SERVED: dict[str, Any] = {"at": 0.0, "listener": "IncomingMail", "certificate": "mx", "sha256": "AB:CD"}


# --- required TLS -----------------------------------------------------------------------------------------


async def test_a_required_tls_connection_that_fails_is_told_with_all_that_helps() -> None:
    async with Desk() as desk:
        desk.world.waiting = 17
        diagnosis = diagnose_unavailable("starttls-refused", "mx.partner.example", reply="454 no")
        await desk.fail(diagnosis=diagnosis)
    (raised,) = desk.raised
    assert (raised.alert_class, raised.severity, raised.kind) == ("system", "warning", "tls-failed")
    assert raised.title == (
        "TLS connection to partner.example was required but could not be established: "
        "STARTTLS unexpected response"
    )
    words = " ".join(raised.text.split())
    assert "Domain: partner.example" in words
    assert "Host: mx.partner.example" in words
    assert "Reason: STARTTLS unexpected response" in words
    assert "Messages waiting: 17" in words
    assert " ".join(diagnosis.summary.split()) in words
    assert " ".join(diagnosis.remedy.split()) in words
    assert diagnosis.cause in words


async def test_tls_that_is_not_required_and_fails_is_nothing_to_alert() -> None:
    async with Desk() as desk:
        await desk.fail(required=False)
    assert desk.raised == []


@pytest.mark.parametrize(
    ("switch", "own", "told"),
    [
        (False, None, False),
        (True, None, True),
        (True, False, False),  # narrowed
        (False, True, True),  # widened
    ],
)
async def test_the_switch_is_global_and_a_destination_can_say_otherwise(
    switch: bool, own: bool | None, told: bool
) -> None:
    document = document_with(
        delivery={"alert_on_tls_failure": switch, "certificate": None},
        destinations=[{"domain": "partner.example", "tls": "required", "alert": own}],
    )
    async with Desk() as desk:
        for domain in ("partner.example", "other.example"):
            await desk.fail(domain, alert=Routing(document).target(domain).alert)
    assert desk.kinds == ["tls-failed"] * (int(told) + int(switch))


async def test_a_certificate_that_a_level_refuses_is_told_in_the_log_s_words() -> None:
    async with Desk() as desk:
        await desk.fail(reason="verification", verify_error="certificate has expired")
    assert desk.raised[0].title.endswith("established: verify error: certificate has expired")


async def test_it_is_told_when_mail_flows_again_once_nothing_failed_for_a_while() -> None:
    async with Desk() as desk:
        await desk.fail()
        await desk.work()
        assert desk.kinds == ["tls-failed"]
        await desk.pass_time(CALM_SECONDS)
        await desk.work()
        await desk.pass_time(CALM_SECONDS)
    assert desk.kinds == ["tls-failed", "tls-works-again"]
    assert "partner.example" in desk.raised[1].title
    assert (desk.raised[1].alert_class, desk.raised[1].severity) == ("system", "information")


async def test_for_how_long_nothing_may_fail_the_document_says() -> None:
    async with Desk(alerts={"calm_time": 7}) as desk:
        await desk.fail()
        await desk.work()
        await desk.pass_time(6)
        assert desk.kinds == ["tls-failed"]
        await desk.pass_time(1)
        assert desk.kinds == ["tls-failed", "tls-works-again"]


async def test_one_host_that_works_beside_one_that_does_not_is_no_end_of_the_trouble() -> None:
    async with Desk() as desk:
        for _ in range(10):
            await desk.fail(host="mx1.partner.example")
            await desk.work()
            await desk.pass_time(CALM_SECONDS / 2)
        assert "tls-works-again" not in desk.kinds
        await desk.work()
        await desk.pass_time(CALM_SECONDS)
        assert desk.kinds[-1] == "tls-works-again"


async def test_nothing_is_told_to_work_again_that_was_not_told_to_fail() -> None:
    async with Desk() as desk:
        await desk.work()
        await desk.fail("other.example")
        await desk.work()
        await desk.pass_time(10 * CALM_SECONDS)
    assert desk.kinds == ["tls-failed"]


async def test_duplicates_are_held_back_and_summed_up_by_the_clock() -> None:
    async with Desk(alerts={"first_wait": 5, "longest_wait": 60}) as desk:
        started = desk.clock.now()
        for _ in range(130):
            await desk.fail()
            await desk.pass_time(1)
        times = [round(event.at - started) for event in desk.raised]
    assert times == [0, 5, 15, 35, 60, 120]
    assert [event.held_back for event in desk.raised] == [0, 4, 10, 20, 25, 60]
    assert "held back 60 times" in " ".join(desk.raised[-1].text.split())


async def test_what_was_held_back_is_in_the_alert_that_it_is_over() -> None:
    async with Desk() as desk:
        await desk.fail()
        await desk.fail()
        await desk.work()
        await desk.pass_time(CALM_SECONDS)
        await desk.pass_time(3600)
    assert desk.kinds == ["tls-failed", "tls-works-again"]
    assert desk.raised[1].held_back == 1


async def test_a_flood_of_failing_domains_is_gathered() -> None:
    async with Desk() as desk:
        for number in range(100):
            await desk.fail(f"d{number}.example")
        assert len(desk.raised) == 21
        await desk.pass_time(300)
    assert len(desk.raised) == 22
    assert desk.raised[-1].held_back == 79
    assert "gathered" in desk.raised[-1].text


async def test_a_domain_with_control_characters_can_t_forge_a_header_or_a_line() -> None:
    async with Desk(alerts={"recipients": [{"address": ADMIN}]}) as desk:
        await desk.fail("evil\r\nBcc: all@example.com\u202e.example")
    (raised,) = desk.raised
    assert all(line.isprintable() for line in raised.text.split("\n"))
    assert raised.title.isprintable()


async def test_a_gateway_that_does_not_say_what_waits_still_alerts() -> None:
    async with Desk() as desk:
        desk.world.waiting = 0
        await desk.fail()
    assert "Messages waiting: 0" in " ".join(desk.raised[0].text.split())


# --- other events -----------------------------------------------------------------------------------------


async def test_another_certificate_on_the_wire_is_critical_and_its_end_is_told() -> None:
    async with Desk() as desk:
        desk.bus.publish(CertificateServed(**SERVED, expected=True))
        desk.bus.publish(CertificateServed(**SERVED, expected=False))
        await desk.settle()
        assert [(event.kind, event.severity) for event in desk.raised] == [
            ("certificate-not-served", "critical")
        ]
        desk.bus.publish(CertificateServed(**SERVED, expected=True))
        await desk.pass_time(CALM_SECONDS)
    assert desk.kinds == ["certificate-not-served", "certificate-served-again"]


async def test_trouble_with_storage_and_its_end_are_told() -> None:
    async with Desk() as desk:
        desk.bus.publish(StorageTrouble(at=0.0, what="queue", error="No space left on device"))
        await desk.settle()
        desk.bus.publish(StorageRecovered(at=0.0, what="queue"))
        await desk.pass_time(CALM_SECONDS)
    assert desk.kinds == ["storage-trouble", "storage-recovered"]
    assert "No space left on device" in desk.raised[0].text


async def test_a_refused_reload_is_told_each_problem_by_itself() -> None:
    async with Desk() as desk:
        for problem in ("delivery.ca_file: gone", "dns: gone", "delivery.ca_file: gone"):
            desk.bus.publish(ReloadRefused(at=0.0, problem=problem))
        await desk.settle()
    assert desk.kinds == ["reload-refused", "reload-refused"]


async def test_a_worker_that_died_is_told_with_its_signal() -> None:
    async with Desk() as desk:
        desk.bus.publish(WorkerDied(at=0.0, worker=1, pid=77, status=-9))
        await desk.settle()
    assert "by signal 9" in desk.raised[0].text


# --- memory -----------------------------------------------------------------------------------------------


async def test_a_restart_forgets_neither_series_nor_troubles_nor_the_last_alerts() -> None:
    facts, clock = MemoryFacts(), ManualClock()
    async with Desk(facts, clock) as desk:
        await desk.fail()
        await desk.fail()
    clock.advance(10)
    async with Desk(facts, clock) as desk:
        assert [entry.kind for entry in desk.alerts.recent()] == ["tls-failed"]
        await desk.fail()
        assert desk.raised == []
        await desk.pass_time(290)
        assert [event.held_back for event in desk.raised] == [2]
        await desk.work()
        await desk.pass_time(CALM_SECONDS)
        assert desk.kinds == ["tls-failed", "tls-works-again"]


async def test_after_a_restart_it_is_still_told_that_a_trouble_is_over() -> None:
    facts, clock = MemoryFacts(), ManualClock()
    async with Desk(facts, clock) as desk:
        await desk.fail()
    async with Desk(facts, clock) as desk:
        await desk.work()
        await desk.pass_time(CALM_SECONDS)
    assert desk.kinds == ["tls-works-again"]


async def test_a_trouble_of_long_ago_is_not_waited_for_after_a_restart() -> None:
    facts, clock = MemoryFacts(), ManualClock()
    async with Desk(facts, clock) as desk:
        await desk.fail()
    clock.advance(40 * 86_400)
    async with Desk(facts, clock) as desk:
        await desk.work()
        await desk.pass_time(CALM_SECONDS)
    assert desk.kinds == []


async def test_what_has_no_end_is_not_waited_for() -> None:
    async with Desk() as desk:
        desk.bus.publish(WorkerDied(at=0.0, worker=1, pid=77, status=-9))
        await desk.settle()
        assert desk.alerts._troubles == {}


async def test_a_memory_that_can_t_be_read_is_left_aside() -> None:
    facts = MemoryFacts()
    facts.values[FACT] = '{"series": 5}'
    async with Desk(facts) as desk:
        await desk.fail()
    assert desk.kinds == ["tls-failed"]


async def test_a_full_disk_keeps_no_alert_from_going_out() -> None:
    facts = MemoryFacts()
    facts.full = True
    async with Desk(facts) as desk:
        await desk.fail()
    assert desk.kinds == ["tls-failed"]


async def test_only_so_many_alerts_are_kept_as_the_configuration_says() -> None:
    async with Desk(alerts={"kept": 3, "first_wait": 0}) as desk:
        for _ in range(5):
            await desk.fail()
        assert len(desk.alerts.recent()) == 3
        desk.alerts.configure(document_with(alerts={"kept": 2}))
        assert len(desk.alerts.recent()) == 2


async def test_after_the_stop_nothing_is_told_any_more() -> None:
    desk = Desk()
    async with desk:
        pass
    await desk.fail()
    await desk.pass_time(7200)
    assert desk.raised == []
