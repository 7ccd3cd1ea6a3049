"""Log subscriptions: which logs there are, how long they are kept, where they are sent (reference §6.7)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from pydantic import BaseModel, ValidationError

from mxseal.commands.context import CommandFailed, Context
from mxseal.commands.parameters import Argument, Option
from mxseal.commands.registry import command
from mxseal.commands.results import Column, Done, Field, Record, Result, Table
from mxseal.commands.staging import stage
from mxseal.commands.times import when
from mxseal.config.model import Document, LogKind, LogLevel, Logs, LogSubscription, SyslogPush
from mxseal.config.subscriptions import ALWAYS, LEADER_ONLY, LogWanted, port_of, wanted

GROUPS = {
    "logconfig": "Logs: which there are, how long they are kept, where they are sent",
    "logconfig push": "Lines of a log to a syslog server",
}
_NOT_ALLOWED = 77
_DAY = 86_400.0


def _candidate(ctx: Context) -> Document:
    return ctx.services.history.candidate(ctx.owner)


def names(ctx: Context) -> list[str]:
    """Logs of the candidate."""
    return [log.name for log in wanted(_candidate(ctx))]


def certificates(ctx: Context) -> list[str]:
    return [entry.name for entry in _candidate(ctx).certificates]


def _find(document: Document, name: str) -> LogWanted:
    for log in wanted(document):
        if log.name.lower() == name.strip().lower():
            return log
    known = ", ".join(log.name for log in wanted(document))
    raise CommandFailed(f"There is no log called {name}. Logs of this gateway: {known}")


_Known = Annotated[str, Argument("Name of the log", complete=names, ask="Enter the name of the log:")]


# --- the candidate ----------------------------------------------------------------------------------------


M = TypeVar("M", bound=BaseModel)


def _valid(model: type[M], values: dict[str, Any], place: str) -> M:
    try:
        return model.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        said = first.get("ctx", {}).get("error") or first["msg"]
        raise CommandFailed(f"{place}.{'.'.join(map(str, first['loc']))}: {said}") from None


def _entry(document: Document, log: LogWanted) -> dict[str, Any]:
    """What stands in the document about a log, or would."""
    for entry in document.log_subscriptions:
        if entry.name == log.name:
            return entry.model_dump()
    return {"name": log.name, "kind": log.kind}


def _staged(ctx: Context, values: dict[str, Any], message: str) -> Done:
    """The candidate with this subscription in it, in the place of one of its name."""
    document = _candidate(ctx)
    entry = _valid(LogSubscription, values, f"log_subscriptions.{values['name']}")
    if entry == LogSubscription(name=entry.name, kind=entry.kind) and entry.name in ALWAYS:
        return _without(ctx, document, entry.name, message)
    known = [other.name for other in document.log_subscriptions]
    entries = [entry if other.name == entry.name else other for other in document.log_subscriptions]
    if entry.name not in known:
        entries.append(entry)
    return stage(ctx, document.model_copy(update={"log_subscriptions": tuple(entries)}), message)


def _without(ctx: Context, document: Document, name: str, message: str) -> Done:
    kept = tuple(entry for entry in document.log_subscriptions if entry.name != name)
    return stage(ctx, document.model_copy(update={"log_subscriptions": kept}), message)


# --- show -------------------------------------------------------------------------------------------------


def _seconds(value: float) -> str:
    if not value:
        return "never"
    return f"{value / _DAY:g} days" if value >= _DAY else f"{value:g} s"


def _goes_to(log: LogWanted) -> str | None:
    if log.push is None:
        return None
    return f"{log.push.transport}://{_bracketed(log.push.host)}:{port_of(log.push)}"


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


@command("logconfig", "list", role="read-only", summary="List the logs and where they are sent")
def logconfig_list(ctx: Context) -> Result:
    """With your uncommitted changes. 'logconfig show NAME' has all about one of them."""
    columns = (
        Column("Log Name"), Column("Log Type"), Column("Level"), Column("Size"), Column("Files"),
        Column("Days"), Column("Syslog Push"),
    )  # fmt: skip
    rows = tuple(
        (
            log.name,
            log.label,
            None if log.kind == "json" else log.logs.level,
            log.logs.rotate_bytes,
            log.logs.keep_files,
            log.logs.keep_days,
            _goes_to(log),
        )
        for log in wanted(_candidate(ctx))
    )
    return Table(columns, rows, title="Currently configured logs")


@command("logconfig", "show", role="read-only", summary="Show all about a log")
def logconfig_show(ctx: Context, log: _Known) -> Result:
    """With your uncommitted changes; 'Sent' is about the configuration in force."""
    found = _find(_candidate(ctx), log)
    logs = found.logs
    fields = [
        Field("Name", found.name),
        Field("Type", found.label),
        Field("Kind", found.kind),
        Field("Level", None if found.kind == "json" else logs.level),
        Field("Files", f"logs/{found.name}/{found.filename}.@*", "files"),
        Field("New file at (bytes)", logs.rotate_bytes, "rotate_bytes"),
        Field("New file after", _seconds(logs.rotate_seconds), "rotate_seconds"),
        Field("Files kept", logs.keep_files, "keep_files"),
        Field("Days kept", logs.keep_days, "keep_days"),
        Field("Syslog push", _goes_to(found) or "none", "push"),
    ]
    if found.push is not None:
        push = found.push
        fields += [
            Field("Format", push.format, "format"),
            Field("Facility", push.facility, "facility"),
            Field("Client certificate", push.certificate or "none", "certificate"),
        ]
    return Record(tuple(fields))


@command("logconfig", "status", role="read-only", summary="Show how sending to syslog servers goes")
def logconfig_status(ctx: Context) -> Result:
    """Lines are read from the log's files, so what can't be sent now waits there. Lost are lines whose file
    was deleted before they could be sent: 'logconfig edit' keeps more files, or larger ones."""
    columns = (
        Column("Log Name"), Column("Server"), Column("State"), Column("Since"), Column("Sent", "lines_sent"),
        Column("Waiting (bytes)", "waiting_bytes"), Column("Lost", "lines_lost"), Column("Problem"),
    )  # fmt: skip
    rows = tuple(
        (
            each.log,
            each.server,
            each.state,
            when(each.since, "-"),
            each.sent,
            each.waiting,
            each.lost,
            each.problem or None,
        )
        for each in ctx.services.pushes()
    )
    return Table(columns, rows, title="Syslog push", empty="No log is sent to a syslog server.")


# --- new, edit, delete ------------------------------------------------------------------------------------


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Of one log; None: as it is, or as in 'logconfig setup'."""

    level: Annotated[
        LogLevel | None,
        Option("How much it tells: Critical, Warning, Info, Debug, Trace", ask="Choose the level:"),
    ] = None
    filename: Annotated[str | None, Option("What its files' names begin with")] = None
    rotate_bytes: Annotated[int | None, Option("Size at which a new file is begun", least=4096)] = None
    rotate_seconds: Annotated[float | None, Option("Age at which a new file is begun; 0: never", least=0)] = (
        None
    )
    keep_files: Annotated[int | None, Option("Files that are kept, the current one counts", least=1)] = None
    keep_days: Annotated[int | None, Option("Days for which files are kept", least=1)] = None


def _said(settings: Any) -> dict[str, Any]:
    return {name: value for name, value in msgspec.structs.asdict(settings).items() if value is not None}


@command("logconfig", "new", role="administrator", summary="Create a new log")
def logconfig_new(
    ctx: Context,
    name: Annotated[str, Argument("Name of the log", ask="Please enter the name for the log:")],
    kind: Annotated[
        LogKind,
        Argument("What it tells", ask="Choose what it tells:"),
    ],
    *,
    settings: Settings,
) -> Result:
    """Beside those that are always there, such as one of the same kind at level Debug. mail: what happens to
    mail, in the reference's lines; json: every event; authentication: logins; audit: what administrators do.
    """
    if any(log.name.lower() == name.lower() for log in wanted(_candidate(ctx))) or name in ALWAYS:
        raise CommandFailed(f"There is a log called {name} already. 'logconfig edit {name}' changes it")
    return _staged(ctx, {"name": name, "kind": kind, **_said(settings)}, f"The log {name} will be written.")


def _present(ctx: Context, given: Mapping[str, Any]) -> Mapping[str, Any]:
    """Of a log, as it would be typed: the defaults of the dialogue."""
    found = _find(_candidate(ctx), given["log"])
    values = {key: getattr(found.logs, key) for key in Settings.__struct_fields__ if key != "filename"}
    level = {} if found.kind == "json" else {"level": found.logs.level}
    return {**values, "level": None, **level, "filename": found.filename}


@command("logconfig", "edit", role="administrator", summary="Modify a log", present=_present)
def logconfig_edit(
    ctx: Context,
    log: _Known,
    *,
    settings: Settings,
    default: Annotated[bool, Option("Begin with the values of 'logconfig setup'")] = False,
) -> Result:
    """What is left out stays as it is. Lines of files that are there stay as they are."""
    document = _candidate(ctx)
    found = _find(document, log)
    values = _said(settings)
    if not values and not default:
        raise CommandFailed("Say what changes; 'help logconfig edit' shows the options", 2)
    entry = _entry(document, found)
    if default:
        entry = {key: entry[key] for key in ("name", "kind", "push") if entry.get(key) is not None}
    return _staged(ctx, entry | values, f"The log {found.name} was changed.")


@command("logconfig", "delete", role="administrator", summary="Remove a log")
def logconfig_delete(ctx: Context, log: _Known) -> Result:
    """Its files stay until you remove them. Of the logs that are always there what you changed is removed."""
    document = _candidate(ctx)
    found = _find(document, log)
    changed = any(entry.name == found.name for entry in document.log_subscriptions)
    if found.name in ALWAYS and not changed:
        hint = "; 'logconfig setup --json-log no' switches it off" if found.kind == "json" else ""
        raise CommandFailed(f"{found.name} is always there, with its default values now{hint}")
    if found.name in ALWAYS:
        return _without(ctx, document, found.name, f"The log {found.name} has its default values again.")
    message = f"The log {found.name} will not be written any more. Its files stay in logs/{found.name}."
    return _without(ctx, document, found.name, message)


class General(msgspec.Struct, frozen=True, kw_only=True):
    """Of all logs; None: as it is."""

    level: Annotated[LogLevel | None, Option("How much text logs tell")] = None
    rotate_bytes: Annotated[int | None, Option("Size at which a new file is begun", least=4096)] = None
    rotate_seconds: Annotated[float | None, Option("Age at which a new file is begun; 0: never", least=0)] = (
        None
    )
    keep_files: Annotated[int | None, Option("Files that are kept of a log", least=1)] = None
    keep_days: Annotated[int | None, Option("Days for which files are kept", least=1)] = None
    json_log: Annotated[Literal["yes", "no"] | None, Option("Whether json_logs is written")] = None
    time: Annotated[Literal["local", "utc"] | None, Option("Which time lines have")] = None
    headers: Annotated[Literal["yes", "no"] | None, Option("Whether subjects are logged")] = None


def _present_setup(ctx: Context, _given: Mapping[str, Any]) -> Mapping[str, Any]:
    logs = _candidate(ctx).logs
    values = {key: getattr(logs, key) for key in General.__struct_fields__}
    return values | {key: "yes" if values[key] else "no" for key in ("json_log", "headers")}


@command(
    "logconfig",
    "setup",
    role="administrator",
    summary="General settings of all logs",
    present=_present_setup,
)
def logconfig_setup(ctx: Context, *, settings: General) -> Result:
    """They hold for each log that has no value of its own. What is left out stays as it is."""
    document = _candidate(ctx)
    values = _said(settings)
    if not values:
        raise CommandFailed("Say what changes; 'help logconfig setup' shows the options", 2)
    for key in ("json_log", "headers"):
        if key in values:
            values[key] = values[key] == "yes"
    logs = _valid(Logs, document.logs.model_dump() | values, "logs")
    changed = document.model_copy(update={"logs": logs})
    return stage(ctx, changed, "The general settings of logs were changed.")


# --- push -------------------------------------------------------------------------------------------------


class Push(msgspec.Struct, frozen=True, kw_only=True):
    """How lines go to the server; None: the default."""

    port: Annotated[int | None, Option("Port; left out: 6514 with TLS, else 514", least=1, most=65535)] = None
    transport: Annotated[
        Literal["tls", "tcp", "udp"], Option("tls: RFC 5425; tcp and udp are open to anybody on the way")
    ] = "tls"
    format: Annotated[
        Literal["rfc5424", "rfc3164", "esa"], Option("Of each message; esa: that of the appliance")
    ] = "rfc5424"
    framing: Annotated[Literal["octets", "newline"] | None, Option("What parts messages over TCP")] = None
    facility: Annotated[str, Option("Syslog facility")] = "local4"
    server_name: Annotated[str | None, Option("Name that the server's certificate must have")] = None
    certificate: Annotated[
        str | None, Option("Client certificate to show, by its profile", complete=certificates)
    ] = None


def _present_push(ctx: Context, given: Mapping[str, Any]) -> Mapping[str, Any]:
    """Where a log is sent now; nothing for one that is sent nowhere."""
    found = _find(_candidate(ctx), given["log"])
    return found.push.model_dump() if found.push is not None else {}


@command(
    "logconfig",
    "push",
    "set",
    role="administrator",
    summary="Send a log to a syslog server",
    present=_present_push,
)
def push_set(
    ctx: Context,
    log: _Known,
    host: Annotated[str, Argument("Name or address of the server", ask="Enter the syslog server:")],
    *,
    push: Push,
) -> Result:
    """What is written from the commit on is sent; the log's files keep what the server can't take meanwhile.
    With TLS the server must show a certificate for its name, from an authority of the trust lists
    ('certconfig certauthority'). 'logconfig status' shows how it goes.
    """
    document = _candidate(ctx)
    found = _find(document, log)
    place = f"log_subscriptions.{found.name}.push"
    made = _valid(SyslogPush, {"host": host, **_said(push)}, place)
    to = f"{made.transport}://{_bracketed(made.host)}:{port_of(made)}"
    return _staged(
        ctx,
        _entry(document, found) | {"push": made.model_dump()},
        f"The log {found.name} will be sent to {to}.",
    )


@command("logconfig", "push", "remove", role="administrator", summary="Send a log nowhere any more")
def push_remove(ctx: Context, log: _Known) -> Result:
    document = _candidate(ctx)
    found = _find(document, log)
    if found.push is None:
        raise CommandFailed(f"The log {found.name} is sent nowhere")
    entry = _entry(document, found) | {"push": None}
    return _staged(ctx, entry, f"The log {found.name} will not be sent to {_goes_to(found)} any more.")


# --- rollover ---------------------------------------------------------------------------------------------


def written(ctx: Context) -> list[str]:
    """Logs of the configuration in force."""
    return [log.name for log in wanted(ctx.services.history.current().document)]


@command("rollovernow", role="operator", summary="Save the current files of logs and begin new ones")
def rollovernow(
    ctx: Context,
    log: Annotated[str | None, Argument("Name of the log; left out: all", complete=written)] = None,
) -> Result:
    """A saved file ends in '.s'. Each file counts among those that are kept, so that only administrators roll
    over the logs about administrators."""
    document = ctx.services.history.current().document
    chosen: Sequence[LogWanted] = wanted(document) if log is None else [_find(document, log)]
    closed = {each.name for each in chosen if each.kind in LEADER_ONLY and ctx.role != "administrator"}
    if log is not None and closed:
        raise CommandFailed(f"Only an administrator may roll over {chosen[0].name}", _NOT_ALLOWED)
    done = [name for each in chosen if each.name not in closed for name in ctx.services.roll_over(each.name)]
    return Done(f"New files were begun for: {', '.join(done)}.", {"rolled_over": done})
