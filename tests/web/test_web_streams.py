"""Commands that give text piece by piece, as pages use them."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import cast

from mxseal.commands.context import Context
from mxseal.commands.registry import Registry, command
from mxseal.commands.results import Result, Stream
from mxseal.commands.running import Runner
from mxseal.faces.web.streams import first
from mxseal.faces.web.visit import Visit
from tests.commands.gateway import FakeClient, FakeServices, context

LEFT: list[str] = []


@command("pour", role="read-only", summary="Pour until it is ended")
async def pour(ctx: Context) -> Result:
    async def cups() -> AsyncIterator[str]:
        try:
            while True:
                yield "tea\n"
                await asyncio.sleep(0)
        finally:
            LEFT.append("the search")

    return Stream(cups())


async def test_a_search_that_is_cut_ends_at_once_what_it_asked() -> None:
    runner = Runner(Registry((sys.modules[__name__],)), lambda _record: None)
    here = context(FakeServices(), FakeClient(), runner.commands)
    visit = cast("Visit", SimpleNamespace(site=SimpleNamespace(runner=runner), context=lambda: here))
    LEFT.clear()
    text, cut, ended = await first(visit, "pour", 40)
    assert LEFT == ["the search"]
    assert (len(text), cut, ended.outcome) == (40, True, "ok")
