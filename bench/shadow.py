"""What verification in the shadow, diagnosis and the record of peers take off the throughput.

The same gateway twice, with all of them and without any, in one run. The product has no switch for that: the
one without is started through `bench.unshadowed`, and believes no list of authorities, so that OpenSSL has
nothing to verify either.
"""

from __future__ import annotations

import os
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

import tomli_w

from bench.peers import Mail, Plain, Sink, say
from bench.results import Row
from bench.servers import Ours, Task
from bench.session import Session, running
from lab.ca import Authority, self_signed

_ROOT = str(Path(__file__).resolve().parent.parent)
GOAL = 0.9


@dataclass(frozen=True, kw_only=True)
class Case:
    """What the next hop shows, and whether its sessions are resumed."""

    key: str
    title: str
    verified: bool
    resume: bool = False


CASES = (
    Case(key="shadow", title="shadow: a full handshake each, chain verified", verified=True),
    Case(key="shadow-diagnosis", title="shadow: a full handshake each, diagnosed", verified=False),
    Case(key="shadow-resumed", title="shadow: a resumed handshake each", verified=True, resume=True),
)


class _Ours(Ours):
    """MXSeal with one message on each connection to the next hop."""

    def __init__(self, task: Task, case: Case, root: str, *, shadow: bool) -> None:
        super().__init__(task)
        self.name = "with" if shadow else "without"
        self._switches = ["--no-shadow"] if not shadow else []
        self._switches += ["--no-resumption"] if not case.resume else []
        document: Plain = tomllib.loads(self._document or "")
        document["destinations"] = [{"domain": "default", "tls": "required", "messages_per_connection": 1}]
        document["trust"] = {"system": False, "custom": shadow}
        document["trust"]["authorities"] = [{"name": "Bench", "certificate": root}]
        self._document = tomli_w.dumps(document)
        paths = [_ROOT, *filter(None, [os.environ.get("PYTHONPATH")])]
        self._environment["PYTHONPATH"] = os.pathsep.join(paths)

    def _words(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "bench.unshadowed", *self._switches, *words]


def shadow(session: Session) -> list[Row]:
    """A row for each case: throughput with, beside the one without. On one core, where it counts."""
    authority = Authority().intermediate()
    rows = []
    for case in CASES:
        say(case.title)
        shown = authority.issue("mx.bench.test") if case.verified else self_signed("mx.bench.test")
        with Sink(shown) as sink:
            rows.append(_row(_beside(session, sink), case, authority.root))
    return rows


def _beside(session: Session, sink: Sink) -> Session:
    """The same benchmark with another next hop."""
    other = Session(session.extent, session.certificate, sink)
    other.layouts = session.layouts
    return other


def _row(session: Session, case: Case, root: Authority) -> Row:
    layout = session.layouts[0]
    task = session.task(layout)
    session.sink.place(layout)
    servers = [_Ours(task, case, root.pem.decode(), shadow=on) for on in (True, False)]
    with running(servers[0]), running(servers[1]):
        # Short turns, and many: the difference is small beside what other programs may do meanwhile.
        mail, turns = Mail(seconds=session.extent.deliver_seconds / 2), 3 * session.extent.turns
        found = session.alternate(servers, mail, task, turns)
    return Row(
        key=case.key,
        title=case.title,
        layout=layout.name,
        unit="msg/s",
        ours=found[0],
        rival=found[1],
        versus="without",
        goal=GOAL,
    )
