"""What a command gives piece by piece, on its way to a caller who takes it at his own pace."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any, TypeVar

T = TypeVar("T")


async def until_ended(work: asyncio.Future[Any], pieces: asyncio.Queue[T]) -> AsyncGenerator[T, None]:
    """The pieces that the command puts into the queue, until it has ended and all are taken."""
    while True:
        taking = asyncio.ensure_future(pieces.get())
        both: set[asyncio.Future[Any]] = {taking, work}
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            if taking.done():
                yield taking.result()
            elif pieces.empty():
                return
        finally:
            taking.cancel()
