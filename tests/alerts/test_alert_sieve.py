"""What a worker passes on for the alerts: all that may be a trouble, little of what works."""

from __future__ import annotations

import pytest

from mxseal.alerts.kinds import RULES, Sieve, find
from mxseal.events import types as facts
from tests.alerts.desk import tls_failed, tls_works


def test_required_tls_that_fails_always_passes_and_preferred_never() -> None:
    sieve = Sieve()
    assert all(sieve.passes(tls_failed(at / 100, "partner.example")) for at in range(10))
    assert not sieve.passes(tls_failed(0.0, "partner.example", required=False))
    assert not sieve.passes(tls_failed(0.0, "partner.example", alert=False))


def test_tls_that_works_passes_once_in_five_seconds_for_each_domain() -> None:
    sieve = Sieve()
    passed = [at for at in range(12) if sieve.passes(tls_works(float(at), "partner.example"))]
    assert passed == [0, 5, 10]
    assert sieve.passes(tls_works(11.0, "other.example"))


def test_domains_of_strangers_do_not_fill_the_memory() -> None:
    sieve = Sieve()
    for number in range(20_000):
        sieve.passes(tls_works(0.0, f"d{number}.example"))
    assert len(sieve._passed) <= 5000


OTHERS = (
    facts.MessageFinished(at=0.0, mid=1),
    facts.DeliveryClosed(at=0.0, dcid=1),
    facts.ConfigurationCommitted(at=0.0, revision=2, user="admin", comment=""),
    facts.AlertSent(at=0.0, alert_class="system", severity="warning", to="a@example.com", subject=""),
    facts.AlertFailed(
        at=0.0, alert_class="system", severity="warning", to="a@example.com", subject="", reason=""
    ),
)


@pytest.mark.parametrize("event", OTHERS, ids=lambda event: type(event).__name__)
def test_what_has_no_rule_does_not_pass_and_means_nothing(event: facts.Event) -> None:
    assert not Sieve().passes(event)
    assert find(event) is None


def test_troubles_of_a_worker_pass() -> None:
    sieve = Sieve()
    assert sieve.passes(facts.StorageTrouble(at=0.0, what="queue", error="full"))
    assert sieve.passes(facts.StorageRecovered(at=0.0, what="queue"))
    assert {facts.StorageTrouble, facts.WorkerDied, facts.QueueDamaged} <= set(RULES)
