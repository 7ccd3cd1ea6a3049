"""Who runs a command, with what rights, and how the command reaches the caller's side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, Protocol, get_args

import msgspec

from mxseal.commands.services import Services

Role = Literal["administrator", "operator", "certificate-officer", "read-only"]
ROLES: tuple[Role, ...] = get_args(Role)


def allowed(caller: Role, needed: tuple[Role, ...]) -> bool:
    """Administrators may do everything; everybody may do what read-only may."""
    return caller == "administrator" or "read-only" in needed or caller in needed


class CommandFailed(Exception):
    """The command can't do it; the text is a sentence for the caller, with the remedy. Without a text it did
    what it should, and the status tells how that went: that nothing was found."""

    def __init__(self, text: str, status: int = 1) -> None:
        super().__init__(text)
        self.status = status


class Client(Protocol):
    """The caller's side: its files, its terminal. The gateway itself opens no path that a caller names.

    Every call raises CommandFailed with a sentence when the caller's side can't do it.
    """

    @property
    def interactive(self) -> bool:
        """Whether somebody is there to answer questions."""
        ...

    async def ask(self, question: str, default: str) -> str:
        """A line; `default` when it is empty."""
        ...

    async def secret(self, question: str, repeat: bool) -> str:
        """A line that is not shown; asked twice with `repeat`."""
        ...

    async def paste(self, question: str) -> str:
        """Lines up to one with a single dot."""
        ...

    async def read(self, path: str, limit: int) -> bytes:
        """Content of the caller's file, '-' for its standard input; at most `limit` bytes."""
        ...

    async def environment(self, name: str) -> str:
        """A variable of the caller's environment."""
        ...

    async def write(self, path: str, content: bytes, private: bool) -> str | None:
        """Make a file; it must not exist yet. Mode 0600 when `private`. Gives a sentence that takes the place
        of the command's own where there are no files and the content was shown; "" for none."""
        ...


class Catalogue(Protocol):
    """All commands, for those that speak about commands."""

    def help(self, words: list[str], width: int) -> str: ...

    def describe(self) -> list[dict[str, Any]]: ...


class Context(msgspec.Struct, frozen=True, kw_only=True):
    """The first argument of every command."""

    user: str
    role: Role
    face: str
    """local, shell, ssh, web, api."""
    remote: str
    """Address of the caller, or local."""
    owner: str
    """Whose candidate is changed; one person may have several."""
    services: Services
    client: Client
    catalogue: Catalogue
    width: int = 80
    """Columns of the caller's terminal, for help."""
    files: bool = True
    """Whether the caller's files can be reached; else a dialogue asks for their content."""
    role_now: Callable[[], Role | None] | None = None
    """The caller's role in this moment, for what takes long; None from it: the caller may do nothing more."""
    offer: Callable[[Sequence[str]], object] = tuple
    """Takes the words that may answer the next question, for the key that completes."""
