"""A long run over one target: kept inputs changed by chance in turns with inputs made by its grammar.

With atheris installed (`pip install atheris`, no dependency of this project) the changes can be led by what
code they reach; without it they are made blindly, which finds less in the same time.
"""

from __future__ import annotations

import gc
import importlib
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import FunctionType
from typing import Any

import msgspec
from hypothesis import HealthCheck, Phase, Verbosity, given, settings
from hypothesis import seed as seeded

from tests.fuzz import corpus
from tests.fuzz.mutate import Mutator
from tests.fuzz.target import Target

SLOW_SECONDS = 2.0
"""An input that takes longer is a finding of its own: strangers could keep the gateway busy with it."""
_MUTATIONS_IN_A_TURN = 300
_EXAMPLES_IN_A_TURN = 100
_MOST_FINDINGS = 20
"""Of one run: more would be the same few faults again."""


class Finding(msgspec.Struct, frozen=True):
    """An input that broke a promise, and where it is kept now."""

    path: Path
    why: str


class Campaign:
    """One run. `clock` counts seconds; the same seed and a clock that counts the same make the same run."""

    def __init__(
        self,
        target: Target,
        *,
        seed: int,
        folder: Path = corpus.CORPUS,
        clock: Callable[[], float] = time.monotonic,
        told: Callable[[str], None] = print,
    ) -> None:
        self._target = target
        self._seed = seed
        self._folder = folder
        self._clock = clock
        self._told = told
        self._mutator = Mutator(target.words, seed)
        self._pool = [data for _, data in corpus.kept(target.name, folder)] + list(target.seeds())
        self._known: set[str] = set()
        self.inputs = 0
        self.findings: list[Finding] = []

    def run(self, seconds: float) -> list[Finding]:
        """Inputs until the time is over; at least one turn of each kind."""
        until = self._clock() + seconds
        for data in list(self._pool):
            self.one(data)
        turn = 0
        while len(self.findings) < _MOST_FINDINGS:
            self._mutations(until)
            self._examples(turn)
            turn += 1
            if self._clock() >= until:
                break
        return self.findings

    def one(self, data: bytes) -> bool:
        """Run one input; False when it broke something, which is written down."""
        self.inputs += 1
        began = self._clock()
        why = fault_of(self._target, data)
        if why is None and self._clock() - began > SLOW_SECONDS:
            why = f"slow: {self._clock() - began:.1f} seconds for {len(data)} octets"
        if why is not None:
            self._keep(data, why)
        return why is None

    def _mutations(self, until: float) -> None:
        for _ in range(_MUTATIONS_IN_A_TURN):
            if self._clock() >= until:
                return
            self.one(self._mutator.mutated(self._pool))

    def _examples(self, turn: int) -> None:
        """Some inputs of the grammar; hypothesis makes the one that fails as small as it can."""
        smallest: list[bytes] = []

        @seeded(self._seed * 1_000_003 + turn)
        @settings(
            max_examples=_EXAMPLES_IN_A_TURN,
            deadline=None,
            database=None,
            phases=(Phase.generate, Phase.shrink),
            suppress_health_check=list(HealthCheck),
            report_multiple_bugs=False,
            verbosity=Verbosity.quiet,
        )
        @given(self._target.inputs)
        def examine(data: bytes) -> None:
            self.inputs += 1
            self._remember(data)
            if fault_of(self._target, data) is not None:
                smallest[:] = [data]
                self._target.run(data)

        try:
            examine()
        except Exception:  # whatever the target raised: it is kept with its input
            if not smallest:
                raise
            self._keep(smallest[0], fault_of(self._target, smallest[0]) or "once in several runs")

    def _remember(self, data: bytes) -> None:
        """Inputs of the grammar are what the mutator likes best."""
        if len(self._pool) < 1000:
            self._pool.append(data)
        else:
            self._pool[self.inputs % 1000] = data

    def _keep(self, data: bytes, why: str) -> None:
        if why in self._known:
            return
        self._known.add(why)
        path = corpus.keep(self._target.name, data, why, self._folder)
        self.findings.append(Finding(path, why))
        self._told(f"{self._target.name}: {why}\n  kept as {path}\n  again: {again(self._target.name, path)}")


def again(name: str, path: Path) -> str:
    """The command that runs one kept input."""
    return f"python -m tests.fuzz --target {name} --input {path}"


def fault_of(target: Target, data: bytes) -> str | None:
    """What the input broke, in one line; None: nothing."""
    try:
        target.run(data)
    except Exception as fault:  # noqa: BLE001 - a target may raise anything: that is the finding
        words = (str(fault).splitlines() or [""])[0][:120]
        return f"{type(fault).__name__} {_place(fault)}: {words}"
    return None


def _place(fault: BaseException) -> str:
    """Where it was raised, as file:line."""
    trace = fault.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}" if trace is not None else ""


def led_by_coverage(target: Target, seconds: int, folder: Path = corpus.CORPUS) -> None:
    """The same with atheris, which ends the process. Raises ImportError where it is not installed."""
    atheris: Any = importlib.import_module("atheris")
    campaign = Campaign(target, seed=0, folder=folder)

    def one(data: bytes) -> None:
        if not campaign.one(data):
            raise RuntimeError(campaign.findings[-1].why if campaign.findings else "again")

    for function in gc.get_objects():
        # Only what is under test: with the libraries it would take a minute to begin.
        if isinstance(function, FunctionType) and (function.__module__ or "").startswith("mxseal."):
            atheris.instrument_func(function)
    with tempfile.TemporaryDirectory() as known:
        for number, data in enumerate(campaign._pool):
            (Path(known) / str(number)).write_bytes(data)
        words = Path(known) / "words.dict"
        words.write_text("".join(f'"{_dictionary(word)}"\n' for word in target.words))
        atheris.Setup(
            [
                sys.argv[0],
                f"-max_total_time={seconds}",
                f"-dict={words}",
                f"-artifact_prefix={known}/",
                known,
            ],
            one,
        )
        atheris.Fuzz()


def _dictionary(word: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in word)
