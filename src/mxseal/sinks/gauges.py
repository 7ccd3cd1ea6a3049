"""What is now, for Prometheus, and the text of all metrics together.

Labels here are names that this gateway's administrators chose (certificates, logs), and processes.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import msgspec
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric, SummaryMetricFamily
from prometheus_client.registry import Collector

from mxseal.alerts.standing import CrlFacts, Oldest
from mxseal.commands.services import PushState
from mxseal.relay.orders import LaneState
from mxseal.sinks.metrics import COUNTERS, PREFIX, summed, totals
from mxseal.storage.board import Board

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_DAY = 86_400.0
_PAGE = os.sysconf("SC_PAGE_SIZE")
_TICKS = os.sysconf("SC_CLK_TCK")
_CPU_FIELDS = slice(11, 13)
"""utime and stime in /proc/PID/stat, counted behind the program's name."""
Samples = list[tuple[tuple[str, ...], float]]
"""(values of the labels, number)."""


class Gauge(msgspec.Struct, frozen=True):
    """A number that goes up and down; one whose name ends in `_total` only grows."""

    name: str
    help: str
    labels: tuple[str, ...] = ()


GAUGES = (
    Gauge("build_info", "Always 1; the version of the program is its label", ("version",)),
    Gauge("start_time_seconds", "When the gateway was started, since the epoch"),
    Gauge("ready", "1 while mail is taken: all workers run, and nothing is stopping"),
    Gauge("configuration_revision", "Number of the document in force"),
    Gauge("deliveries_suspended", "1 while an administrator holds back deliveries"),
    Gauge("workers", "Processes that should move mail"),
    Gauge("workers_running", "Those that do"),
    Gauge("queue_messages", "Messages in the queue"),
    Gauge("queue_bytes", "Their bytes"),
    Gauge("queue_messages_at_work", "Messages that are being delivered"),
    Gauge("queue_oldest_age_seconds", "Age of the message that waits the longest; 0: none does"),
    Gauge("queue_limit_messages", "Messages above which no more are taken"),
    Gauge("queue_limit_bytes", "Bytes above which no more are taken"),
    Gauge("incoming_connections_open", "Connections of clients now"),
    Gauge("outgoing_connections_open", "Connections to next hops now"),
    Gauge(
        "destinations",
        "Destinations since the start, by whether their hosts could be reached last",
        ("state",),
    ),
    Gauge("destination_worst_soft_failures", "Most recipients put off at one destination since the start"),
    Gauge(
        "certificate_expiry_timestamp_seconds",
        "When a certificate of ours ends, or the first of the intermediates that are sent with it",
        ("certificate", "used"),
    ),
    Gauge("certificate_days_left", "Days until then; negative: since then", ("certificate", "used")),
    Gauge("authority_days_left", "The same for the custom authority that ends first"),
    Gauge("revocation_list_overdue", "Lists of revoked certificates whose time is over"),
    Gauge("disk_free_bytes", "Free space where the home is"),
    Gauge("disk_size_bytes", "Size of that file system"),
    Gauge("log_push_connected", "1 while a syslog server takes the log", ("log",)),
    Gauge("log_push_waiting_bytes", "What of the log was not sent yet", ("log",)),
    Gauge("log_push_lines_total", "Lines of the log that were sent since the start", ("log",)),
    Gauge("process_resident_memory_bytes", "Memory of each process of the gateway", ("process",)),
    Gauge("process_cpu_seconds_total", "Processor time of each process", ("process",)),
    Gauge("process_open_fds", "Open files and connections of each process", ("process",)),
)
"""All of them, in the order of the text."""


class State(msgspec.Struct, frozen=True, kw_only=True):
    """The gateway now. Times in seconds since the epoch."""

    at: float
    version: str
    started_at: float
    ready: bool
    revision: int
    suspended: bool
    workers: int
    running: Mapping[str, int]
    """Process id of each process of the gateway, by what it is called: leader, worker-0, …"""
    messages: int
    size: int
    at_work: int
    limits: tuple[int, int]
    """(messages, bytes) that the queue may hold."""
    incoming: int
    outgoing: int
    oldest: Oldest | None
    lanes: Sequence[LaneState]
    certificates: Sequence[tuple[str, bool, float]]
    """(name of the profile, whether something uses it, when it ends)."""
    authorities: Sequence[float]
    """When custom authorities end."""
    lists: Sequence[CrlFacts]
    disk: tuple[int, int]
    """(free, total) bytes."""
    pushes: Sequence[PushState]


def measured(state: State) -> dict[str, Samples]:
    """By name, all gauges."""
    plain: dict[str, float] = {
        "start_time_seconds": state.started_at,
        "ready": float(state.ready),
        "configuration_revision": state.revision,
        "deliveries_suspended": float(state.suspended),
        "workers": state.workers,
        "workers_running": sum(name != "leader" for name in state.running),
        "queue_messages": state.messages,
        "queue_bytes": state.size,
        "queue_messages_at_work": state.at_work,
        "queue_oldest_age_seconds": max(0.0, state.at - state.oldest.queued_at) if state.oldest else 0.0,
        "queue_limit_messages": state.limits[0],
        "queue_limit_bytes": state.limits[1],
        "incoming_connections_open": state.incoming,
        "outgoing_connections_open": state.outgoing,
        "destination_worst_soft_failures": max((lane.soft_failures for lane in state.lanes), default=0),
        "revocation_list_overdue": sum(
            each.next_update is not None and each.next_update < state.at for each in state.lists
        ),
        "disk_free_bytes": state.disk[0],
        "disk_size_bytes": state.disk[1],
    }
    found: dict[str, Samples] = {name: [((), value)] for name, value in plain.items()}
    found["build_info"] = [((state.version,), 1.0)]
    found["destinations"] = _destinations(state.lanes)
    return found | _expiry(state) | _pushed(state.pushes) | _processes(state.running)


def _destinations(lanes: Iterable[LaneState]) -> Samples:
    """A target that several workers deliver to is down when it is for one of them."""
    worst: dict[str, bool] = {}
    for lane in lanes:
        if lane.up is not None:
            key = repr(lane.target)
            worst[key] = worst.get(key, True) and lane.up
    up = sum(worst.values())
    return [(("up",), up), (("down",), len(worst) - up)]


def _expiry(state: State) -> dict[str, Samples]:
    own = [((name, "yes" if used else "no"), end) for name, used, end in state.certificates]
    first = min(state.authorities, default=None)
    return {
        "certificate_expiry_timestamp_seconds": [(labels, end) for labels, end in own],
        "certificate_days_left": [(labels, (end - state.at) / _DAY) for labels, end in own],
        "authority_days_left": [] if first is None else [((), (first - state.at) / _DAY)],
    }


def _pushed(pushes: Iterable[PushState]) -> dict[str, Samples]:
    each = list(pushes)
    return {
        "log_push_connected": [((push.log,), float(push.state == "connected")) for push in each],
        "log_push_waiting_bytes": [((push.log,), push.waiting) for push in each],
        "log_push_lines_total": [((push.log,), push.sent) for push in each],
    }


# --- processes --------------------------------------------------------------------------------------------


def _processes(running: Mapping[str, int]) -> dict[str, Samples]:
    names = ("process_resident_memory_bytes", "process_cpu_seconds_total", "process_open_fds")
    found: dict[str, Samples] = {name: [] for name in names}
    for process, pid in running.items():
        figures = _figures(Path(f"/proc/{pid}"))
        if figures is not None:
            for name, value in zip(names, figures, strict=True):
                found[name].append(((process,), value))
    return found


def _figures(folder: Path) -> tuple[float, float, float] | None:
    """(bytes, seconds, descriptors) of a process (proc(5)); None when it is gone."""
    try:
        pages = int((folder / "statm").read_text().split()[1])
        ticks = (folder / "stat").read_text().rpartition(")")[2].split()[_CPU_FIELDS]
        descriptors = sum(1 for _ in (folder / "fd").iterdir())
    except (OSError, IndexError, ValueError):
        return None
    return float(pages * _PAGE), sum(map(int, ticks)) / _TICKS, float(descriptors)


# --- text -------------------------------------------------------------------------------------------------


class _Page(Collector):
    def __init__(self, board: Board, gauges: Mapping[str, Samples]) -> None:
        self._board = board
        self._gauges = gauges

    def collect(self) -> Iterator[Metric]:
        for gauge in GAUGES:
            family: Metric
            if gauge.name.endswith("_total"):
                family = CounterMetricFamily(PREFIX + gauge.name, gauge.help, labels=gauge.labels)
            else:
                family = GaugeMetricFamily(PREFIX + gauge.name, gauge.help, labels=gauge.labels)
            for values, number in self._gauges[gauge.name]:
                family.add_metric(values, number)
            yield family
        for counter in COUNTERS:
            if counter.kind == "summary":
                seconds, count = summed(counter, self._board)
                yield SummaryMetricFamily(
                    PREFIX + counter.name, counter.help, count_value=count, sum_value=seconds
                )
                continue
            counted = CounterMetricFamily(
                PREFIX + counter.name, counter.help, labels=[label for label, _ in counter.labels]
            )
            for values, number in totals(counter, self._board):
                counted.add_metric(values, number)
            yield counted


def text(board: Board, gauges: Mapping[str, Samples]) -> str:
    """All metrics in Prometheus' text format (CONTENT_TYPE)."""
    pages = CollectorRegistry(auto_describe=False)
    pages.register(_Page(board, gauges))
    return generate_latest(pages).decode()
