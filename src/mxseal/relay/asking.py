"""Asking analysis servers about the files of one message, and telling what they say."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any

from mxseal.analysis.decision import Finding, Policy, finding
from mxseal.analysis.state import File, answer_of
from mxseal.analysis.values import Analyser, AnalysisFault, Item, Pending, Verdict
from mxseal.clock import Clock
from mxseal.events.bus import Bus
from mxseal.events.screening import (
    AnalysisTrouble,
    AnalysisWorks,
    FileAnalysed,
    FileAnswered,
    FileAsked,
    FileSubmitted,
    FileUnanswered,
)

_PATIENCE = 300.0
"""Seconds for one question. Analysers have shorter limits of their own: this is for one that forgets them."""
_TROUBLE = 5
"""So many failures in a row are told, and each time there are as many again."""
Said = Verdict | Pending | AnalysisFault


class Asking:
    """Of one worker: who failed how often."""

    def __init__(self, bus: Bus, clock: Clock) -> None:
        self.bus = bus
        self.clock = clock
        self._failures: dict[str, int] = {}

    def run(self, mid: int, analysers: Sequence[tuple[str, Analyser]], policy: Policy) -> Run:
        return Run(self, mid, analysers, policy)

    def heard(self, server: str, said: Said) -> None:
        """Count what fails in a row."""
        now = self.clock.now()
        if not isinstance(said, AnalysisFault):
            if self._failures.pop(server, 0) >= _TROUBLE:
                self.bus.publish(AnalysisWorks(at=now, server=server))
            return
        self._failures[server] = count = self._failures.get(server, 0) + 1
        if count % _TROUBLE == 0:
            self.bus.publish(
                AnalysisTrouble(at=now, server=server, fault=said.kind, reason=said.text, failures=count)
            )


class Run:
    """One message's turn. A server that fails is not asked about the message's other files."""

    def __init__(
        self, asking: Asking, mid: int, analysers: Sequence[tuple[str, Analyser]], policy: Policy
    ) -> None:
        self._asking = asking
        self._mid = mid
        self._analysers = analysers
        self._policy = policy
        self._failed: dict[str, AnalysisFault] = {}

    async def file(self, file: File, item: Item | None) -> tuple[File, Finding]:
        """Ask all servers that have not judged a file; `item` has its content, where it may be needed."""
        said: list[Said] = []
        for server, analyser in self._analysers:
            answer = await self._server(file, item, server, analyser)
            said.append(answer)
            if not isinstance(answer, AnalysisFault):
                known = file.answer(server)
                if not (isinstance(answer, Pending) and known is not None):
                    file = file.with_answer(answer_of(answer, self._asking.clock.now()))
            if finding(file.name, file.sha256, [answer], self._policy).word == "malicious":
                break  # nothing that the others could say changes that
        return file, finding(file.name, file.sha256, said, self._policy)

    async def _server(self, file: File, item: Item | None, server: str, analyser: Analyser) -> Said:
        known = file.answer(server)
        value = known.value(file.sha256) if known is not None else None
        if isinstance(value, Verdict):
            return value
        if (fault := self._failed.get(server)) is not None:
            return fault
        began = self._asking.clock.monotonic()
        if value is not None:
            said = await self._safely(server, analyser.poll(value))
        elif item is None:
            return AnalysisFault("protocol", "the file is not in the message any more", server)
        else:
            self._told_asked(file, server)
            said = await self._safely(server, analyser.judge(item))
        self._asking.heard(server, said)
        self._told(file, server, said, began)
        if isinstance(said, AnalysisFault):
            self._failed[server] = said
        return said

    async def _safely(self, server: str, ask: Coroutine[Any, Any, Said]) -> Said:
        """An answer whatever happens: mail must not depend on who speaks a protocol without a fault."""
        task = asyncio.get_running_loop().create_task(ask)
        timer = self._asking.clock.call_later(_PATIENCE, task.cancel)
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError:
            task.cancel()
            raise
        finally:
            timer.cancel()
        if task.cancelled():
            return AnalysisFault("silent", f"no answer within {_PATIENCE:.0f} seconds", server)
        if (error := task.exception()) is None:
            return task.result()
        told = {"message": f"asking the analysis server {server} failed", "exception": error}
        task.get_loop().call_exception_handler(told)
        return AnalysisFault("protocol", f"a fault of this program: {type(error).__name__}", server)

    def _told_asked(self, file: File, server: str) -> None:
        self._asking.bus.publish(
            FileAsked(
                at=self._asking.clock.now(),
                mid=self._mid,
                name=file.name,
                media_type=file.media_type,
                size=file.size,
                sha256=file.sha256,
                server=server,
            )
        )

    def _told(self, file: File, server: str, said: Said, began: float) -> None:
        """What came of a question that was asked at `began`, of the monotonic clock."""
        known = file.answer(server)
        facts: dict[str, Any] = {"mid": self._mid, "name": file.name, "sha256": file.sha256, "server": server}
        publish, now = self._asking.bus.publish, self._asking.clock.now()
        if isinstance(said, AnalysisFault):
            publish(FileUnanswered(at=now, fault=said.kind, reason=said.text, **facts))
        elif isinstance(said, Pending):
            if known is None:
                publish(FileSubmitted(at=now, reference=said.reference, **facts))
        else:
            facts |= {
                "disposition": said.disposition,
                "score": said.score,
                "threat": said.threat,
                "reference": said.reference,
            }
            if known is not None:
                publish(FileAnalysed(at=now, submitted=known.at, **facts))
            else:
                publish(FileAnswered(at=now, seconds=self._asking.clock.monotonic() - began, **facts))
