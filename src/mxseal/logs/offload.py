"""A reader that works in steps, run in a thread so that no disk and no pattern holds up the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Protocol


class Steps(Protocol):
    """A reader: each step is short, so that a reader whose client has gone ends soon."""

    def step(self) -> bytes | None:
        """Bytes that were found, b"" when there are none for the moment, None at the end."""
        ...

    def close(self) -> None: ...


async def in_thread(
    reader: Steps, idle: Callable[[], Awaitable[object]] | None = None
) -> AsyncIterator[bytes]:
    """What the steps give, as it comes. `idle` is awaited after a step without bytes. Closes the reader.

    Cancelling ends the wait at once; the step that runs at that moment is finished in its thread before its
    files are closed, since a descriptor closed under it could already be another file's.
    """
    step: asyncio.Future[bytes | None] | None = None
    try:
        while True:
            step = asyncio.ensure_future(asyncio.to_thread(reader.step))
            found = await asyncio.shield(step)
            if found is None:
                return
            if found:
                yield found
            elif idle is not None:
                await idle()
    finally:
        if step is None or step.done():
            reader.close()
        else:
            step.add_done_callback(lambda done: _close_after(done, reader))


def _close_after(done: asyncio.Future[bytes | None], reader: Steps) -> None:
    # Asking for the exception marks it as seen: nobody waits for this step any more.
    if not done.cancelled():
        done.exception()
    reader.close()
