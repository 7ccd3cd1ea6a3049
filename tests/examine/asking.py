"""Commands that are asked in words, and what they show: text, JSON, exit status."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

import msgspec

from mxseal.commands.catalogue import registry
from mxseal.commands.context import Context, Role
from mxseal.commands.results import Result, Stream
from mxseal.commands.running import Ended, Runner
from mxseal.commands.services import Services
from mxseal.config.history import History
from mxseal.config.model import Document
from mxseal.relay.resolver import DnsResolver
from tests.commands.gateway import NOW, Alone, FakeClient
from tests.config.memory import MemoryDocuments


class _Services:
    """What the two commands need of `commands.services.Services`."""

    def __init__(self, names: DnsResolver, document: dict[str, Any]) -> None:
        self.resolver = names
        self.cluster = Alone()
        self.history = History(MemoryDocuments())
        self.history.begin(Document.model_validate(document), "admin", NOW)

    def now(self) -> float:
        return NOW


class Shown(msgspec.Struct):
    """What the caller saw."""

    ended: Ended
    text: str
    values: list[Any]

    @property
    def lines(self) -> list[str]:
        return self.text.splitlines()

    @property
    def report(self) -> dict[str, Any]:
        """The last value that programs get."""
        return cast("dict[str, Any]", next(v["report"] for v in self.values if "report" in v))


class Desk:
    """One caller of one gateway."""

    def __init__(self, names: DnsResolver, document: dict[str, Any], role: Role) -> None:
        self._services = _Services(names, document)
        self._commands = registry()
        self._role = role
        self.client = FakeClient()

    async def ask(self, *words: str, answers: Iterable[str] = ()) -> Shown:
        self.client = FakeClient(answers=answers)
        shown = Shown(Ended(0, "ok", "", ()), "", [])

        async def deliver(result: Result) -> None:
            assert isinstance(result, Stream)
            async for chunk in result.chunks:
                shown.text += chunk
                shown.values.append(msgspec.json.decode(msgspec.json.encode(result.encode(chunk))))

        context = Context(
            user="anna", role=self._role, face="local", remote="local", owner="local:anna",
            services=cast("Services", self._services), client=self.client, catalogue=self._commands,
        )  # fmt: skip
        runner = Runner(self._commands, lambda _: None)
        shown.ended = await runner.run(words, context, deliver)
        return shown
