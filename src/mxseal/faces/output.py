"""Results on their way to a caller, in the form that it wants: the same for every face that has channels."""

from __future__ import annotations

from typing import Protocol

from mxseal.commands.context import Context
from mxseal.commands.results import Result, Stream, failed
from mxseal.commands.running import Ended, Runner
from mxseal.faces.render import Style, as_json, as_text, clean


class Screen(Protocol):
    """What a caller has: two channels, out and err."""

    async def show(self, channel: str, text: str) -> None: ...


class Output:
    """Shows results to the caller in the form that it wants."""

    def __init__(self, caller: Screen, style: Style, json: bool) -> None:
        self._caller = caller
        self._style = style
        self._json = json
        self.told = False
        """Whether a failure was among what was shown."""

    async def deliver(self, result: Result) -> None:
        self.told = failed(result)
        if isinstance(result, Stream):
            await self._stream(result)
        elif self._json:
            await self._caller.show("out", as_json(result.to_json()))
        else:
            channel = "err" if self.told else "out"
            await self._caller.show(channel, as_text(result, self._style))

    async def _stream(self, result: Stream) -> None:
        chunks = result.chunks
        try:
            async for chunk in chunks:
                await self._caller.show("out", as_json(result.encode(chunk)) if self._json else clean(chunk))
        finally:
            if hasattr(chunks, "aclose"):
                await chunks.aclose()

    async def failure(self, message: str) -> None:
        if self._json:
            await self._caller.show("out", as_json({"error": message}))
        else:
            end = "" if message.endswith((".", "?", "!")) else "."
            await self._caller.show("err", f"{clean(message)}{end}\n")


async def run(
    runner: Runner, words: list[str], context: Context, screen: Screen, style: Style, *, json: bool = False
) -> Ended:
    """One command, and all that it has to say shown. `json`: wanted, also without the word --json."""
    plain, wanted = without_json(words)
    output = Output(screen, style, wanted or json)
    ended = await runner.run(plain, context, output.deliver)
    if ended.message and not output.told:
        await output.failure(ended.message)
    return ended


def without_json(words: list[str]) -> tuple[list[str], bool]:
    """--json may stand anywhere in front of '--'."""
    end = words.index("--") if "--" in words else len(words)
    if "--json" not in words[:end]:
        return words, False
    return [*(word for word in words[:end] if word != "--json"), *words[end:]], True
