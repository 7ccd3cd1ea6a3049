"""Makes docs/metrics.md: `python -m tests.docs.metrics_page > docs/metrics.md`."""

from __future__ import annotations

import sys

from mxseal.events import EVENT_TYPES
from mxseal.sinks.gauges import GAUGES
from mxseal.sinks.metrics import COUNTED, COUNTERS, NOT_COUNTED, PREFIX, Counter

_MOST_VALUES = 14
INTRODUCTION = """\
<!-- Made by `python -m tests.docs.metrics_page`; change the metrics, not this file. -->
# Metrics

What `GET /metrics` and `mxseal metrics` give, in Prometheus' text format; [monitoring](monitoring.md) says
how to read it and has the alert rules and the dashboard. Names and labels are an interface: they stay.

Counters begin at 0 with each start of the gateway and are the sum over all its processes. Labels have few
values, known beforehand: never a domain or an address, so that strangers can't make series. A value that this
page does not have counts as `other`. Of counters with the label `cause` only causes that occurred are there.
"""


def document() -> str:
    """The whole page."""
    parts = [INTRODUCTION, "## What is now\n", _gauges(), "## What happened\n", _counters()]
    parts += ["## Events and their metrics\n", _events()]
    return "\n".join(parts)


def _gauges() -> str:
    rows = ["| metric | type | labels | meaning |", "|---|---|---|---|"]
    for gauge in GAUGES:
        kind = "counter" if gauge.name.endswith("_total") else "gauge"
        labels = ", ".join(f"`{label}`" for label in gauge.labels)
        rows.append(f"| `{PREFIX}{gauge.name}` | {kind} | {labels} | {gauge.help} |")
    return "\n".join(rows) + "\n"


def _counters() -> str:
    rows = ["| metric | labels | meaning |", "|---|---|---|"]
    rows += [f"| {_names(counter)} | {_labels(counter)} | {counter.help} |" for counter in COUNTERS]
    return "\n".join(rows) + "\n"


def _names(counter: Counter) -> str:
    if counter.kind == "summary":
        return f"`{PREFIX}{counter.name}_sum`, `{PREFIX}{counter.name}_count`"
    return f"`{PREFIX}{counter.name}`"


def _labels(counter: Counter) -> str:
    found = []
    for label, values in counter.labels:
        if label == "cause":
            found.append("`cause`: one of [all causes](tls-causes.md), `undiagnosed`, `other`")
        else:
            assert len(values) <= _MOST_VALUES
            found.append(f"`{label}`: {', '.join(values)}")
    return "; ".join(found)


def _events() -> str:
    rows = ["| [event](json-log.md) | counts for |", "|---|---|"]
    for kind in EVENT_TYPES:
        if kind in NOT_COUNTED:
            rows.append(f"| `{kind.__name__}` | nothing: {NOT_COUNTED[kind]} |")
        else:
            names = dict.fromkeys(_names(counted.counter) for counted in COUNTED[kind])
            rows.append(f"| `{kind.__name__}` | {', '.join(names)} |")
    return "\n".join(rows) + "\n"


if __name__ == "__main__":
    sys.stdout.write(document())
