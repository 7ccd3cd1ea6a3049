"""One caller at a gateway with a first document."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from mxseal.commands.context import Role
from mxseal.commands.registry import Registry
from mxseal.commands.results import Result, Stream
from mxseal.commands.running import Runner
from mxseal.config.model import Document
from mxseal.faces.render import Style, as_json, as_text
from tests.commands.gateway import FakeClient, FakeServices, context


class Desk:
    """`text` and `json` are what the last command showed; text is on one line. Streams are `chunks`."""

    def __init__(
        self,
        commands: Registry,
        role: Role = "administrator",
        *,
        services: FakeServices | None = None,
        files: dict[str, bytes] | None = None,
        answers: Iterable[str] = (),
    ) -> None:
        self.services = services or FakeServices()
        self.client = FakeClient(files, answers)
        self.context = context(self.services, self.client, commands, role)
        self.text = ""
        self.json: Any = None
        self.chunks: list[Any] = []
        self._runner = Runner(commands, lambda _record: None)

    async def run(self, *words: str) -> str:
        """How it ended."""

        async def keep(result: Result) -> None:
            if isinstance(result, Stream):
                async for piece in result.chunks:
                    self.text += piece
                    self.chunks.append(result.encode(piece))
                return
            self.text = " ".join(as_text(result, Style(width=200)).split())
            self.json = msgspec.json.decode(as_json(result.to_json()))

        self.text, self.json, self.chunks = "", None, []
        ended = await self._runner.run(words, self.context, keep)
        self.text = " ".join(f"{self.text} {ended.message}".split())
        return ended.outcome

    async def ok(self, *words: str) -> Any:
        """Run what has to succeed; what programs get to see."""
        assert await self.run(*words) == "ok", self.text
        return self.json

    async def refused(self, *words: str) -> str:
        """Run what has to fail and change nothing; what people get to see."""
        before = self.document
        assert await self.run(*words) in {"failed", "refused", "usage"}, self.text
        assert self.document == before
        return self.text

    @property
    def document(self) -> Document:
        return self.services.history.candidate(self.context.owner)
