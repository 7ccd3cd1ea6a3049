"""Commands about the gateway itself: version, status, who is asking, help."""

from __future__ import annotations

from typing import Annotated, Literal

from mxseal.commands.context import Context
from mxseal.commands.parameters import Argument
from mxseal.commands.registry import command
from mxseal.commands.results import Data, Done, Field, Record, Result, Text
from mxseal.commands.times import moment, when


def _duration(seconds: float) -> str:
    """'3 days, 4:05:06'."""
    whole = int(seconds)
    days, rest = divmod(whole, 86_400)
    clock = f"{rest // 3600}:{rest // 60 % 60:02}:{rest % 60:02}"
    return clock if not days else f"{days} day{'' if days == 1 else 's'}, {clock}"


@command("version", role="read-only", summary="Show the version of the running gateway")
def version(ctx: Context) -> Result:
    current = ctx.services.history.current()
    return Record(
        (
            Field("Version", ctx.services.version),
            Field("Hostname", current.document.hostname),
            Field("Configuration revision", current.number, "revision"),
        ),
        "MXSeal",
    )


@command("status", role="read-only", summary="Show what the gateway is doing")
async def status(
    ctx: Context,
    detail: Annotated[Literal["detail"] | None, Argument("Also the figures that are rarely needed")] = None,
) -> Result:
    """Gauges say what is now, counters what happened since the gateway was started."""
    now, started = ctx.services.now(), ctx.services.started_at
    head = (
        Field("Status as of", when(now), "as_of"),
        Field("Up since", when(started, text=f"{moment(started)} ({_duration(now - started)})")),
        Field("Configuration revision", ctx.services.history.current().number, "revision"),
    )
    figures = tuple(
        Field(figure.label, figure.value, figure.key, figure.section)
        for figure in await ctx.services.figures()
        if detail or not figure.detail
    )
    return Record(head + figures)


@command("uptime", role="read-only", summary="Show since when the gateway runs")
def uptime(ctx: Context) -> Result:
    started = ctx.services.started_at
    seconds = ctx.services.now() - started
    return Record((
        Field("Up since", when(started)),
        Field("Uptime", _duration(seconds)),
        Field("Seconds", int(seconds)),
    ))  # fmt: skip


@command("whoami", role="read-only", summary="Show as whom you work and with which role")
def whoami(ctx: Context) -> Result:
    pending = len(ctx.services.history.changes(ctx.owner))
    return Record((
        Field("User", ctx.user),
        Field("Role", ctx.role),
        Field("Session", ctx.owner),
        Field("Reached by", ctx.face if ctx.remote == "local" else f"{ctx.face} from {ctx.remote}", "face"),
        Field("Uncommitted changes", pending),
    ))  # fmt: skip


@command("restart", role="administrator", summary="Start the program again, without refusing a connection")
def restart(ctx: Context) -> Result:
    """For an update: what is in flight is finished first, at most for half a minute. Who connects meanwhile
    waits and is served by the new program. Listening ports, process id and queue stay.
    """
    ctx.services.restart()
    return Done("The gateway starts again now.", {"restarting": True})


@command("help", role="read-only", summary="List the commands, or show how one is used")
def help_command(
    ctx: Context,
    words: Annotated[
        list[str], Argument("Words of a command, such as: certconfig new", metavar="COMMAND…")
    ] = [],  # noqa: B006
) -> Result:
    """A '?' behind the words of a command does the same, and so does --help."""
    return Text(ctx.catalogue.help(list(words), ctx.width))


@command("describe", role="read-only", summary="List all commands with their parameters, for programs")
def describe(ctx: Context) -> Result:
    """Most useful with --json."""
    commands = ctx.catalogue.describe()
    lines = (f"{' '.join(entry['words'])}: {entry['summary']}\n" for entry in commands)
    return Data("".join(lines), commands)
