"""Metrics: complete, bounded, added up over processes; what is shipped for Prometheus fits them."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

from lab import Unavailable
from lab.debs import unpacked
from mxseal.alerts.standing import CrlFacts, Oldest
from mxseal.commands.catalogue import registry
from mxseal.commands.services import PushState
from mxseal.events import EVENT_TYPES
from mxseal.events import types as facts
from mxseal.events.types import Event
from mxseal.relay.orders import LaneState
from mxseal.relay.routing import Target
from mxseal.sinks import counts
from mxseal.sinks.gauges import GAUGES, State, measured, text
from mxseal.sinks.metrics import COUNTED, COUNTERS, END_CELL, FIRST_CELL, NOT_COUNTED, PREFIX, Metrics
from mxseal.storage.board import CELLS, Board
from tests.docs import metrics_page

ROOT = Path(__file__).parents[2]
RULES = ROOT / "contrib/prometheus/alerts.yml"
DASHBOARD = ROOT / "contrib/grafana/mxseal.json"
AT = 1_771_096_828.0
_PLAIN: dict[Any, Any] = {str: "x", int: 3, float: 1.5, bool: True, bytes: b"x"}


def filled(hint: Any) -> Any:
    """Some value of a type."""
    origin = get_origin(hint)
    if origin is Literal:
        return get_args(hint)[0]
    if origin in (Union, UnionType):
        return filled(next(each for each in get_args(hint) if each is not NoneType))
    if origin is tuple:
        return tuple(filled(each) for each in get_args(hint) if each is not Ellipsis)
    if origin is dict:
        return {}
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        hints = get_type_hints(hint)
        return hint(**{name: filled(hints[name]) for name in hint.__struct_fields__})
    return _PLAIN[hint]


@pytest.fixture
def board() -> Iterator[Board]:
    made = Board.make(3)
    yield made
    made.close()


def samples(board: Board, state: State | None = None) -> dict[tuple[str, tuple[str, ...]], float]:
    """(name, values of its labels) to number, as Prometheus reads the text."""
    page = text(board, measured(state or now()))
    return {
        (sample.name, tuple(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
    }


def now(**changes: Any) -> State:
    known: dict[str, Any] = {
        "at": AT, "version": "1.2.3", "started_at": AT - 60, "ready": True, "revision": 7, "suspended": False,
        "workers": 2, "running": {}, "messages": 0, "size": 0, "at_work": 0, "limits": (1000, 1 << 30),
        "incoming": 0, "outgoing": 0, "oldest": None, "lanes": (), "certificates": (), "authorities": (),
        "lists": (), "disk": (1, 2), "pushes": (),
    }  # fmt: skip
    return State(**(known | changes))


# --- events -----------------------------------------------------------------------------------------------


def test_every_kind_of_event_has_a_metric_or_a_reason_why_it_needs_none() -> None:
    assert set(COUNTED) | set(NOT_COUNTED) == set(EVENT_TYPES)
    assert not set(COUNTED) & set(NOT_COUNTED)


@pytest.mark.parametrize("kind", COUNTED, ids=lambda kind: kind.__name__)
def test_every_event_is_counted_by_what_stands_for_it(kind: type[Event], board: Board) -> None:
    before = samples(board)
    Metrics(board.row(0)).handle(filled(kind))
    after = samples(board)
    grown = {name for (name, labels), number in after.items() if number > before.get((name, labels), 0)}
    expected = {PREFIX + counted.counter.name for counted in COUNTED[kind]}
    assert {re.sub("_(sum|count)$", "", name) for name in grown} == expected


def test_cells_of_the_board_are_enough_and_belong_to_one_series_each() -> None:
    assert max(counts._CELLS.values()) < FIRST_CELL
    assert END_CELL <= CELLS
    assert len({counter.name for counter in COUNTERS}) == len(COUNTERS)
    assert not {gauge.name for gauge in GAUGES} & {counter.name for counter in COUNTERS}


def test_what_processes_count_is_added_up(board: Board) -> None:
    for row in (0, 1, 1, 2):
        Metrics(board.row(row)).handle(facts.ConnectionLost(at=AT, icid=1))
    assert samples(board)["mxseal_incoming_connections_lost_total", ()] == 4


def test_no_stranger_can_make_a_series(board: Board) -> None:
    metrics = Metrics(board.row(0))
    before = set(samples(board))
    for number in range(50):
        name = f"evil{number}.example"
        metrics.handle(facts.RecipientRejected(at=AT, mid=1, icid=1, recipient=name, by=name))
        metrics.handle(facts.LoginFailed(at=AT, user=name, remote=name, face=name, method=name, reason=name))
        metrics.handle(msgspec.structs.replace(filled(facts.OutboundTlsFailed), domain=name, level=name))
    after = samples(board)
    new = set(after) - before
    assert new == {("mxseal_outgoing_tls_failures_total", ("other",))}
    assert after["mxseal_logins_total", ("other", "failed")] == 50
    assert after["mxseal_recipients_rejected_total", ("other",)] == 50
    assert not [labels for _, labels in after if any("evil" in value for value in labels)]


def test_handshakes_are_told_apart_by_version_group_and_verification(board: Board) -> None:
    event = filled(facts.OutboundTlsSucceeded)
    tls = msgspec.structs.replace(event.facts, protocol="TLSv1.3", group="X25519MLKEM768", resumed=False)
    times = msgspec.structs.replace(event.times, handshake=0.25)
    plain = {"facts": tls, "level": "required-verify", "times": times}
    metrics = Metrics(board.row(0))
    metrics.handle(msgspec.structs.replace(event, **plain))
    metrics.handle(msgspec.structs.replace(event, **plain, diagnosis=None))
    found = samples(board)
    assert found["mxseal_outgoing_tls_handshakes_total", ("TLSv1.3", "no")] == 2
    assert found["mxseal_outgoing_tls_groups_total", ("X25519MLKEM768",)] == 2
    assert found["mxseal_outgoing_tls_verified_total", ("required-verify", "no")] == 1
    assert found["mxseal_outgoing_tls_verified_total", ("required-verify", "yes")] == 1
    assert found["mxseal_outgoing_tls_handshake_seconds_sum", ()] == 0.5
    assert found["mxseal_outgoing_tls_handshake_seconds_count", ()] == 2


def test_the_causes_that_occurred_are_there_and_no_others(board: Board) -> None:
    event = filled(facts.InboundTlsFailed)
    cause = msgspec.structs.replace(event.diagnosis, cause="no-shared-cipher")
    metrics = Metrics(board.row(0))
    metrics.handle(msgspec.structs.replace(event, diagnosis=cause))
    metrics.handle(msgspec.structs.replace(event, diagnosis=None))
    found = {
        labels: n
        for (name, labels), n in samples(board).items()
        if name.endswith("incoming_tls_failures_total")
    }
    assert found == {("no-shared-cipher",): 1, ("undiagnosed",): 1}


# --- what is now ------------------------------------------------------------------------------------------


def test_gauges_tell_the_gateway_as_it_is(board: Board) -> None:
    lane = LaneState(target=filled(Target), up=False, soft_failures=9)
    found = samples(
        board,
        now(
            messages=12,
            oldest=Oldest(mid=1, queued_at=AT - 90),
            lanes=(lane, msgspec.structs.replace(lane, up=True, soft_failures=4)),
            certificates=(("mx", True, AT + 3 * 86_400), ("old", False, AT - 86_400)),
            authorities=(AT + 86_400, AT + 10 * 86_400),
            lists=(CrlFacts(name="a", next_update=AT - 1), CrlFacts(name="b", next_update=None)),
            pushes=(
                PushState(log="mail_logs", server="", state="waiting", since=None, sent=5, waiting=6, lost=0),
            ),
        ),
    )
    expected = {
        ("mxseal_build_info", ("1.2.3",)): 1,
        ("mxseal_queue_messages", ()): 12,
        ("mxseal_queue_oldest_age_seconds", ()): 90,
        ("mxseal_destinations", ("down",)): 1,  # of one target: one of its two workers can't reach it
        ("mxseal_destinations", ("up",)): 0,
        ("mxseal_destination_worst_soft_failures", ()): 9,
        ("mxseal_certificate_days_left", ("mx", "yes")): 3,
        ("mxseal_certificate_days_left", ("old", "no")): -1,
        ("mxseal_authority_days_left", ()): 1,
        ("mxseal_revocation_list_overdue", ()): 1,
        ("mxseal_log_push_connected", ("mail_logs",)): 0,
        ("mxseal_log_push_waiting_bytes", ("mail_logs",)): 6,
        ("mxseal_log_push_lines_total", ("mail_logs",)): 5,
    }
    assert {key: found[key] for key in expected} == expected


def test_a_process_that_is_gone_has_no_figures(board: Board) -> None:
    found = samples(board, now(running={"leader": 1, "worker-0": 1 << 22}))
    assert {labels for name, labels in found if name == "mxseal_process_open_fds"} == {("leader",)}
    assert found["mxseal_process_resident_memory_bytes", ("leader",)] > 0


# --- pages and files --------------------------------------------------------------------------------------


def test_the_page_of_metrics_is_up_to_date() -> None:
    page = ROOT / "docs/metrics.md"
    command = "run: python -m tests.docs.metrics_page > docs/metrics.md"
    assert page.read_text() == metrics_page.document(), command


_LABELS: dict[str, dict[str, tuple[str, ...] | None]] = {
    **{PREFIX + gauge.name: dict.fromkeys(gauge.labels) for gauge in GAUGES},
    **{
        PREFIX + counter.name + end: dict(counter.labels)
        for counter in COUNTERS
        for end in (("_sum", "_count") if counter.kind == "summary" else ("",))
    },
}
"""Of each name that Prometheus knows: labels and their values, where those are known."""
_COMMON = {"instance", "job"}


class Rule(msgspec.Struct, frozen=True):
    """An alert rule, as it stands in the file."""

    name: str
    expression: str
    severity: str
    summary: str
    description: str


def rules() -> list[Rule]:
    """The file is YAML of one form, which promtool reads too."""
    form = re.compile(
        r"- alert: (?P<name>\w+)\n\s+expr: (?P<expression>.+?)\n(?:\s+for: \w+\n)?"
        r"\s+labels: \{severity: (?P<severity>\w+)\}\n\s+annotations:\n"
        r'\s+summary: "(?P<summary>[^"\n]+)"\n\s+description: "(?P<description>[^"\n]+)"\n',
        re.DOTALL,
    )
    found = [Rule(**match.groupdict()) for match in form.finditer(RULES.read_text())]
    assert len(found) == RULES.read_text().count("- alert:")
    return found


def expressions() -> list[tuple[str, str]]:
    """(where, expression) of all that is shipped."""
    board = json.loads(DASHBOARD.read_text())
    panels = [
        (panel["title"], each["expr"]) for panel in board["panels"] for each in panel.get("targets", ())
    ]
    notes = [(note["name"], note["expr"]) for note in board["annotations"]["list"]]
    return [*((rule.name, rule.expression) for rule in rules()), *panels, *notes]


@pytest.mark.parametrize(("where", "expression"), expressions())
def test_what_rules_and_dashboard_name_exists(where: str, expression: str) -> None:
    known: set[str] = set(_COMMON)
    for name, matchers in re.findall(r"\b(mxseal_\w+)(?:\{([^}]*)\})?", expression):
        assert name in _LABELS, f"{where}: there is no metric {name}"
        known |= set(_LABELS[name])
        for label, value in re.findall(r'(\w+)=~?"([^"]*)"', matchers):
            assert label in _COMMON | set(_LABELS[name]), f"{where}: {name} has no label {label}"
            values = _LABELS[name].get(label)
            assert values is None or value in values, f"{where}: {name} has no {label} {value}"
    for names in re.findall(r"\bby \(([^)]*)\)", expression):
        assert set(re.split(r",\s*", names)) <= known, f"{where}: by ({names})"


def test_every_rule_says_what_it_is_about_and_commands_in_it_exist() -> None:
    commands = {" ".join(command.words) for command in registry().commands}
    first = {words.split()[0] for words in commands}
    for rule in rules():
        assert rule.severity in {"warning", "critical"}
        for words in re.findall(r"'([a-z][a-z ]+)[A-Z ]*'", rule.description):
            if words.split()[0] in first:
                assert any(words.startswith(f"{known} ") or words.strip() == known for known in commands), (
                    words
                )


def promtool(*words: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    try:
        tree = unpacked("prometheus")
    except Unavailable as reason:
        pytest.skip(str(reason))
    program = [str(tree.path("usr/bin/promtool")), *words]
    return subprocess.run(program, input=stdin, capture_output=True, text=True, timeout=60, check=False)


def test_promtool_finds_nothing_wrong_with_the_rules_and_with_the_text(board: Board) -> None:
    assert promtool("check", "rules", str(RULES)).returncode == 0
    page = text(board, measured(now(certificates=(("mx", True, AT),))))
    said = promtool("check", "metrics", stdin=page).stderr.splitlines()
    # Days are what people count certificates in; the metric beside it has seconds.
    assert said == ['mxseal_certificate_days_left use base unit "seconds" instead of "days"']


SERIES = {
    'up{job="mxseal", instance="a"}': "1 1 0 0 0 0 0",
    'mxseal_certificate_days_left{instance="a", certificate="mx", used="yes"}': "13x20",
    'mxseal_certificate_days_left{instance="a", certificate="spare", used="no"}': "0x20",
    'mxseal_outgoing_tls_required_failures_total{instance="a", level="required"}': "0 0 1+1x20",
    'mxseal_outgoing_tls_required_failures_total{instance="b", level="required"}': "7x20",
    'mxseal_queue_messages{instance="a"}': "900+50x60",
    'mxseal_queue_messages{instance="b"}': "5000-50x60",
}
"""What Prometheus would have read, once a minute."""


def test_rules_fire_when_they_should_and_not_otherwise(tmp_path: Path) -> None:
    def fires(alert: str, after: str, labels: dict[str, str], value: str = "") -> dict[str, Any]:
        rule = next(rule for rule in rules() if rule.name == alert)
        notes = {"summary": rule.summary, "description": rule.description}
        for name, text_ in notes.items():
            for label, word in labels.items():
                text_ = text_.replace(f"{{{{ $labels.{label} }}}}", word)
            notes[name] = re.sub(r"\{\{ \$value[^}]*\}\}", value, text_)
        alerts = [{"exp_labels": {"severity": rule.severity, **labels}, "exp_annotations": notes}]
        return {"eval_time": after, "alertname": alert, "exp_alerts": alerts}

    expected = [
        fires("MXSealDown", "6m", {"job": "mxseal", "instance": "a"}),
        fires("MXSealCertificateExpires", "15m", {"instance": "a", "certificate": "mx", "used": "yes"}, "13"),
        fires("MXSealRequiredTlsFails", "15m", {"instance": "a"}),
        fires("MXSealQueueGrows", "55m", {"instance": "a"}, "3650"),
    ]
    series = [{"series": name, "values": values} for name, values in SERIES.items()]
    case = {"interval": "1m", "input_series": series, "alert_rule_test": expected}
    path = tmp_path / "test.json"
    path.write_text(json.dumps({"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": [case]}))
    done = promtool("test", "rules", str(path))
    assert done.returncode == 0, done.stdout + done.stderr
