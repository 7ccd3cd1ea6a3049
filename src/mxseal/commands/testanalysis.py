"""`testanalysis`: one round trip to an analysis server, with each step and the TLS said aloud."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any

from mxseal.analysis.exchange import plain
from mxseal.analysis.samples import eicar, harmless
from mxseal.analysis.values import AnalysisFault, Item, Pending, Verdict
from mxseal.certs.live import ContextsRefused
from mxseal.commands.ampconfig import known_server, server_names
from mxseal.commands.certificates import candidate
from mxseal.commands.checks import Piece
from mxseal.commands.context import CommandFailed, Context
from mxseal.commands.parameters import Argument, Option
from mxseal.commands.registry import command
from mxseal.commands.results import Result, Stream
from mxseal.config.check_scanning import RULES
from mxseal.config.model import Document
from mxseal.events import scanning as facts
from mxseal.events.event import Event
from mxseal.scanning.analysers import Analysers, AnyAnalyser
from mxseal.scanning.scanner import Scanner
from mxseal.tls.facts import Diagnosis, StageTimes, TlsFacts

_EXPECTED = {"eicar.com": "malicious", "mxseal-test.txt": "clean"}


def _value(chunk: str) -> Any:
    return chunk.value if isinstance(chunk, Piece) else {"line": chunk.rstrip("\n")}


def _line(text: str, value: Any = None) -> Piece:
    return Piece(f"{text}\n", value if value is not None else {"line": text})


# --- connections in words ---------------------------------------------------------------------------------


def _connected(event: facts.AnalysisConnected) -> list[str]:
    lines = _tls(event.facts, event.certificate)
    if event.facts is not None:
        lines.append(f"Server certificate: {event.verdict}.")
    if event.diagnosis is not None:
        lines += _diagnosed(event.diagnosis)
    return [*lines, f"Connected to {event.address}: {_times(event.times, event.answer_seconds)}."]


def _tls(tls: TlsFacts | None, certificate: str | None) -> list[str]:
    if tls is None:
        return []
    return [
        f"TLS connection established: protocol {tls.protocol}, cipher {tls.cipher}.",
        f"Server certificate: {plain(tls.peer_subject or 'none', 300)}, SHA-256 {tls.peer_sha256}.",
        f"Client certificate: {certificate or 'none'}.",
    ]


def _times(times: StageTimes, answer: float | None) -> str:
    spent = {"DNS": times.lookup, "connect": times.connect, "TLS": times.handshake, "first answer": answer}
    return ", ".join(f"{name} {taken * 1000:.1f} ms" for name, taken in spent.items() if taken is not None)


def _unconnected(event: facts.AnalysisConnectionFailed) -> list[str]:
    lines = _tls(event.facts, event.certificate)
    lines.append(f"Error: {event.reason}")
    if event.diagnosis is not None:
        lines += _diagnosed(event.diagnosis)
    return lines


def _diagnosed(diagnosis: Diagnosis) -> list[str]:
    rows = (
        ("What happened", diagnosis.summary),
        ("Evidence", diagnosis.evidence),
        ("What to do", diagnosis.remedy),
    )
    return [f"  {label}: {text}" for label, text in rows if text]


_STEPS: dict[type[Event], Callable[[Any], list[str]]] = {
    facts.AnalysisConnected: _connected,
    facts.AnalysisConnectionFailed: _unconnected,
}


# --- testanalysis -----------------------------------------------------------------------------------------


@command("testanalysis", role="operator", summary="Ask an analysis server, step by step")
async def try_analysis(
    ctx: Context,
    server: Annotated[str, Argument("Name of the server; without it, all", complete=server_names)] = "",
    *,
    submit: Annotated[
        bool, Option("Also give an appliance a harmless file to run, which counts for its quota")
    ] = False,
) -> Result:
    """With your uncommitted changes, over a connection of its own. Each step is told: connection, TLS with
    the server's certificate and the verdict on it, and who answers. A scanner is then given a harmless file
    and the test file of eicar.org, which it has to find.
    """
    document = candidate(ctx)
    if server:
        wanted = [known_server(document, server).name]
    else:
        wanted = [each.name for each in document.analysis_servers]
    if not wanted:
        raise CommandFailed("There is no analysis server. 'ampconfig new' makes one")
    heard: list[Event] = []
    made = _trying(ctx, document, heard.append)
    return Stream(_test(made, wanted, heard, ctx.services.now, submit=submit), _value)


def _trying(ctx: Context, document: Document, hear: Callable[[Event], None]) -> Analysers:
    """The candidate's servers. Raises CommandFailed where it is not in order."""
    broken = [problem for rule in RULES for problem in rule(document)]
    if broken:
        raise CommandFailed(str(broken[0]))
    try:
        return ctx.services.analysis.trying(document, hear)
    except ContextsRefused as refused:
        raise CommandFailed(str(refused).splitlines()[0]) from None


async def _test(
    made: Analysers, names: list[str], heard: list[Event], now: Callable[[], float], *, submit: bool
) -> AsyncIterator[str]:
    try:
        for name in names:
            analyser = made.analyser(name)
            assert analyser is not None, "its name is from this document"
            async for line in _each(analyser, heard, now, submit=submit):
                yield line
    finally:
        made.stop()


async def _each(
    analyser: AnyAnalyser, heard: list[Event], now: Callable[[], float], *, submit: bool
) -> AsyncIterator[str]:
    spec = analyser.server.spec
    how = "TLS" if spec.security == "tls" else "without TLS"
    yield _line(f"Connecting to {spec.host} on port {spec.at}, {how}.")
    heard.clear()
    who = await analyser.whoami()
    for event in heard:
        render = _STEPS.get(type(event))
        for line in render(event) if render is not None else ():
            yield _line(line)
    failed = isinstance(who, AnalysisFault)
    if isinstance(who, AnalysisFault):
        yield _line(f"No answer: {who.text}.")
    else:
        yield _line(
            f"{'Service' if isinstance(analyser, Scanner) else 'Account'}: {who or 'without a name'}."
        )
        samples = [harmless(), eicar()] if isinstance(analyser, Scanner) else []
        for item in samples or ([harmless()] if submit else []):
            text, value, as_expected = await _sample(analyser, item, now)
            failed = failed or not as_expected
            yield _line(text, value)
    result = "failed" if failed else "success"
    yield _line(f"Result for {spec.name}: {result}.", {"server": spec.name, "result": result})


async def _sample(
    analyser: AnyAnalyser, item: Item, now: Callable[[], float]
) -> tuple[str, dict[str, Any], bool]:
    """What is said of a file, for people and for programs; whether it is what it has to be."""
    began = now()
    found = await analyser.judge(item)
    seconds = now() - began
    took = f"{seconds * 1000:.1f} ms"
    value: dict[str, Any] = {"file": item.name, "sha256": item.sha256, "seconds": round(seconds, 4)}
    if isinstance(found, AnalysisFault):
        text = f"{item.name}: no verdict, {found.text}."
        return text, value | {"verdict": None, "error": found.text, "kind": found.kind}, False
    if isinstance(found, Pending):
        text = f"{item.name}: submitted as {found.reference}, in {took}. The verdict comes later."
        return text, value | {"verdict": "pending", "reference": found.reference}, True
    return _told(item, found, took, value)


def _told(item: Item, found: Verdict, took: str, value: dict[str, Any]) -> tuple[str, dict[str, Any], bool]:
    expected = _EXPECTED[item.name]
    about = [found.disposition, *([found.threat] if found.threat else [])]
    about += [f"score {found.score}"] if found.score is not None else []
    text = f"{item.name}: {', '.join(about)}, in {took}."
    good = found.disposition == expected
    if not good:
        text = f"{text} It should be {expected}: look at the settings of the scanner."
    told = {"verdict": found.disposition, "score": found.score, "threat": found.threat}
    return text, value | told | {"reference": found.reference, "expected": expected}, good
