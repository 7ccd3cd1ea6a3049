"""The caller's side of a command over the API: it answers no questions, and files come in the answer."""

from __future__ import annotations

from mxseal.commands.context import CommandFailed

_NO_QUESTIONS = "Over the API nothing is asked: give all parameters with the request"


class Caller:
    """Implements `commands.context.Client`."""

    interactive = False

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        """What the command wrote, by name."""

    async def ask(self, _question: str, _default: str) -> str:
        raise CommandFailed(_NO_QUESTIONS, 2)

    async def secret(self, _question: str, _repeat: bool) -> str:
        raise CommandFailed(_NO_QUESTIONS, 2)

    async def paste(self, _question: str) -> str:
        raise CommandFailed(_NO_QUESTIONS, 2)

    async def read(self, _path: str, _limit: int) -> bytes:
        raise CommandFailed(_NO_QUESTIONS, 2)

    async def environment(self, _name: str) -> str:
        raise CommandFailed(_NO_QUESTIONS, 2)

    async def write(self, path: str, content: bytes, _private: bool) -> str:
        self.files[path] = content
        return f"{path} is in this answer."
