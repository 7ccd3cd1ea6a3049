"""How the cost grows: with connections, queue length, message size and recipients. Ours alone, one core."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from bench.backlog import filled
from bench.peers import Mail, held, say
from bench.plot import Plot, Series, svg
from bench.results import Reading
from bench.servers import Ours, server_memory
from bench.session import FULL, Session, running
from lab.place import folder_for


@dataclass(frozen=True, kw_only=True)
class Curve:
    """What was measured along one axis: value of x to reading."""

    key: str
    plot: Plot
    readings: Sequence[tuple[float, Reading]]


def _points(session: Session, many: Sequence[int]) -> Sequence[int]:
    """All points, or the outer two and the middle one in a quick run."""
    return many if session.extent == FULL else (many[0], many[len(many) // 2], many[-1])


def _seconds(session: Session) -> float:
    return session.extent.deliver_seconds / 2


def _along(session: Session, mails: Sequence[tuple[int, Mail]]) -> list[tuple[float, Reading]]:
    task = session.task(session.layouts[0])
    with session.alone(task) as ours:
        session.warm((ours,), Mail(), task)
        return [(x, session.measure(ours, mail, task)) for x, mail in mails]


def _cost(readings: Sequence[tuple[float, Reading]], name: str = "accept and deliver") -> Series:
    return Series(name, [(x, reading.cpu_per_message * 1000) for x, reading in readings])


def connections(session: Session) -> list[Curve]:
    """Processor time per message by connections that send, and memory by connections that are idle."""
    seconds, counts = _seconds(session), _points(session, (1, 10, 50, 200, 1000))
    busy = _along(session, [(n, Mail(connections=n, per_connection=20, seconds=seconds)) for n in counts])
    cost = Plot(
        title="Cost of a 4 KiB message by connections at work",
        x="connections that send at the same time",
        y="processor time per message, ms",
        series=[_cost(busy)],
    )
    idle = _idle(session, _points(session, (250, 500, 1000, 2000, 4000)))
    memory = Plot(
        title="Memory by idle TLS connections",
        x="idle connections",
        y="memory (PSS), MB",
        series=[Series("memory", [(x, reading.value) for x, reading in idle])],
        log_x=False,
    )
    return [
        Curve(key="connections", plot=cost, readings=busy),
        Curve(key="idle-connections", plot=memory, readings=idle),
    ]


def _idle(session: Session, counts: Sequence[int]) -> list[tuple[float, Reading]]:
    task = session.task(session.layouts[0], deliver=False)
    found: list[tuple[float, Reading]] = []
    with session.alone(task) as ours:
        for count in counts:
            with held(ours.port, count, task.layout):
                found.append((count, Reading(value=server_memory(ours) / 1e6)))
    return found


def sizes(session: Session) -> list[Curve]:
    """Processor time per message by its size."""
    seconds = _seconds(session)
    many = _points(session, (1024, 4096, 16_384, 65_536, 262_144, 1_048_576, 8_388_608))
    mails = [(n, Mail(size=n, connections=8, per_connection=10, seconds=seconds)) for n in many]
    readings = _along(session, mails)
    plot = Plot(
        title="Cost of a message by its size",
        x="size, bytes",
        y="processor time per message, ms",
        series=[_cost(readings)],
        log_y=True,
    )
    return [Curve(key="size", plot=plot, readings=readings)]


def recipients(session: Session) -> list[Curve]:
    """Processor time per message by its recipients, all in one domain and over ten."""
    seconds, many = _seconds(session), _points(session, (1, 2, 5, 10, 20, 50, 100))
    one = _along(session, [(n, Mail(recipients=n, seconds=seconds)) for n in many])
    over = _along(session, [(n, Mail(recipients=n, domains=min(n, 10), seconds=seconds)) for n in many])
    plot = Plot(
        title="Cost of a 4 KiB message by recipients",
        x="recipients",
        y="processor time per message, ms",
        series=[_cost(one, "all in one domain"), _cost(over, "in ten domains (one each below ten)")],
        log_y=True,
    )
    curve = Curve(key="recipients", plot=plot, readings=one)
    return [curve, replace(curve, key="recipients-ten-domains", readings=over)]


def queue(session: Session) -> list[Curve]:
    """Processor time per message by the number of others that wait."""
    most = session.extent.backlog
    readings: list[tuple[float, Reading]] = []
    layout = session.layouts[0]
    with folder_for("bench-growth") as folder:
        for count in (0, most // 100, most // 10, most):
            made = filled(session, folder / str(count), count, due=False)
            task = replace(session.task(layout), home=made.home, port=made.port)
            session.sink.place(layout)
            mail = Mail(seconds=_seconds(session))
            with running(Ours(task)) as ours:
                session.warm((ours,), mail, task)
                readings.append((count, session.measure(ours, mail, task)))
    plot = Plot(
        title="Cost of a 4 KiB message by the length of the queue",
        x="messages that wait for a later attempt",
        y="processor time per message, ms",
        series=[_cost(readings)],
    )
    return [Curve(key="queue", plot=plot, readings=readings)]


def growth(session: Session, results: Path) -> list[Curve]:
    """Measure all curves and write a plot of each into `results`; gives them."""
    results.mkdir(parents=True, exist_ok=True)
    curves: list[Curve] = []
    for part in (connections, sizes, recipients, queue):
        say(f"how the cost grows: {part.__name__}")
        curves += part(session)
    points = {curve.key: [[x, asdict(reading)] for x, reading in curve.readings] for curve in curves}
    (results / "growth.json").write_text(json.dumps(points, indent=1) + "\n")
    written: set[str] = set()
    for curve in curves:
        if curve.plot.title not in written:
            written.add(curve.plot.title)
            (results / f"growth-{curve.key}.svg").write_text(svg(curve.plot))
    return curves
