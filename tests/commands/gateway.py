"""A gateway without mail: real history over documents in memory, a build that can be told to fail."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Annotated, Any, Literal, cast

from mxseal.cluster.desk import NoMember
from mxseal.commands.context import CommandFailed, Context, Role
from mxseal.commands.parameters import Argument, FileBytes, FileText, Option, OutputFile, Secret
from mxseal.commands.registry import command
from mxseal.commands.results import Column, Done, Field, File, Record, Result, Stream, Table, Text
from mxseal.commands.services import Figure, Services
from mxseal.config.check import Problem
from mxseal.config.history import BuildFailed, Built, History
from mxseal.config.model import Document
from mxseal.storage.ports import Revision
from tests.config.documents import document
from tests.config.memory import MemoryDocuments

NOW = 1_771_234_262.0


class FakeBuilt:
    def __init__(self) -> None:
        self.discarded = False

    def discard(self) -> None:
        self.discarded = True


class Alone:
    """A machine that is in no cluster."""

    history = None
    membership = None

    @property
    def member(self) -> None:
        raise NoMember


class FakeServices:
    """What these commands need of `commands.services.Services`. Ports below 1024 can't be built."""

    version = "1.2.3"
    started_at = NOW - 90_061

    def __init__(self) -> None:
        self.documents = MemoryDocuments()
        self.history = History(self.documents)
        self.history.begin(document(), "admin", NOW - 100_000)
        self.changing = asyncio.Lock()
        self.cluster = Alone()
        self.in_force: list[int] = []
        self.slow_swap: asyncio.Event | None = None
        self.swapping = asyncio.Event()

    def now(self) -> float:
        return NOW

    async def build(self, new: Document) -> Built:
        low = [listener for listener in new.listeners if listener.port < 1024]
        if low:
            path = f"listeners.{low[0].name}.port"
            raise BuildFailed([Problem(path, f"port {low[0].port} can't be opened", "Choose another")])
        return FakeBuilt()

    async def put_in_force(self, _built: Built, revision: Revision, document: Document) -> Sequence[str]:
        self.swapping.set()
        if self.slow_swap is not None:
            await self.slow_swap.wait()
        self.in_force.append(revision.number)
        return [f"Listener {listener.name} serves {listener.certificate}." for listener in document.listeners]

    async def metrics(self) -> str:
        return "mxseal_ready 1.0\n"

    async def figures(self) -> Sequence[Figure]:
        return (
            Figure("Queue", "Messages", 12),
            Figure("Queue", "Oldest (s)", 3.5, "oldest_seconds", detail=True),
            Figure("Receiving", "Connections", 3),
        )

    def edit(self, owner: str, **changes: Any) -> None:
        self.history.change(owner, self.history.candidate(owner).model_copy(update=changes))


class FakeClient:
    """A caller's side in memory: its files, and the answers that it will give."""

    def __init__(self, files: dict[str, bytes] | None = None, answers: Iterable[str] = ()) -> None:
        self.files = dict(files or {})
        self.answers = list(answers)
        self.modes: dict[str, int] = {}
        self.questions: list[str] = []

    @property
    def interactive(self) -> bool:
        return bool(self.answers)

    async def ask(self, question: str, default: str) -> str:
        self.questions.append(f"{question} [{default}]")
        if not self.answers:
            raise EOFError
        return self.answers.pop(0) or default

    async def secret(self, question: str, repeat: bool) -> str:
        return await self.ask(question, "twice" if repeat else "once")

    async def paste(self, question: str) -> str:
        return await self.ask(question, "paste")

    async def read(self, path: str, limit: int) -> bytes:
        if path not in self.files:
            raise CommandFailed(f"{path}: No such file or directory")
        return self.files[path][:limit]

    async def environment(self, name: str) -> str:
        return f"value of {name}"

    async def write(self, path: str, content: bytes, private: bool) -> None:
        self.files[path] = content
        self.modes[path] = 0o600 if private else 0o644


GROUPS = {"pot": "Tea pots"}


def pot_names(ctx: Context) -> list[str]:
    return ["Brown Betty", "Kyusu", "Gaiwan", ctx.services.history.current().document.hostname]


@command("pot", "new", role="operator", summary="Make a pot")
def pot_new(
    ctx: Context,
    name: Annotated[str, Argument("Its name", ask="Enter a name for this pot:")],
    *,
    litres: Annotated[float, Option("How much it holds", ask="Litres:", least=0.1, most=5)] = 1.0,
    glaze: Annotated[Literal["brown", "celadon"], Option("Its glaze", short="-g", quiet=True)] = "brown",
    lids: Annotated[int, Option("How many lids", least=1, quiet=True)] = 1,
    mark: Annotated[list[str], Option("Marks on its foot", ask="Marks on its foot:")] = [],  # noqa: B006
    signed: Annotated[bool, Option("Signed by its maker")] = False,
) -> Result:
    """A pot is made at once."""
    return Record((
        Field("Name", name), Field("Litres", litres), Field("Glaze", glaze), Field("Lids", lids),
        Field("Marks", tuple(mark)), Field("Signed", signed),
    ))  # fmt: skip


@command("pot", "fill", role="read-only", summary="Fill a pot")
async def pot_fill(
    ctx: Context,
    name: Annotated[str, Argument("Its name", complete=pot_names)],
    leaves: Annotated[list[FileText], Argument("Files with leaves")],
    *,
    water: Annotated[FileBytes | None, Option("File with water")] = None,
    save: Annotated[OutputFile | None, Option("Where the tea goes")] = None,
) -> Result:
    told = f"{name}: {' '.join(leaf.text for leaf in leaves)} in {len(water.content) if water else 0} bytes"
    return File(save.path, told.encode(), f"Poured into {save.path}.", private=True) if save else Text(told)


@command("pot", "lock", role="certificate-officer", summary="Lock a pot")
def pot_lock(
    ctx: Context, *, passphrase: Annotated[Secret, Option("Of the lock", ask="Passphrase:", repeat=True)]
) -> Result:
    return Done(f"Locked with {len(passphrase.text)} characters.")


@command("pot", "list", role="read-only", summary="List the pots")
def pot_list(ctx: Context) -> Result:
    columns = (Column("Name", cut=9), Column("Glaze"), Column("Litres"), Column("Signed"))
    rows = (("Brown Betty", "brown", 1.5, True), ("Kyusu", None, 0.35, False))
    return Table(columns, rows, title="List of Pots")


@command("drip", role="read-only", summary="Drip until it is ended")
async def drip(ctx: Context) -> Result:
    async def drops() -> AsyncIterator[str]:
        yield "drop 1\n"
        await asyncio.Event().wait()

    return Stream(drops())


@command("spill", role="read-only", summary="Break in a way that was not meant")
def spill(ctx: Context) -> Result:
    raise ZeroDivisionError("tea everywhere")


@command("flood", role="read-only", summary="Much output")
def flood(ctx: Context) -> Result:
    return Text("tea " * 500_000 + "\n")


def context(
    services: FakeServices, client: FakeClient, catalogue: Any, role: Role = "administrator"
) -> Context:
    return Context(
        user="anna", role=role, face="local", remote="local", owner="local:anna",
        services=cast("Services", services), client=client, catalogue=catalogue,
    )  # fmt: skip
