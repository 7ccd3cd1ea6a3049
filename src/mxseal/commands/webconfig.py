"""Administration by browser: how long sessions last, second factors, and who is logged in there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import ValidationError

from mxseal.commands.configuration import change
from mxseal.commands.context import CommandFailed, Context
from mxseal.commands.parameters import Argument, Option
from mxseal.commands.registry import command
from mxseal.commands.results import Column, Done, Field, Parts, Record, Result, Table
from mxseal.commands.times import when
from mxseal.commands.users import names
from mxseal.config.model import Web
from mxseal.events.types import SecondFactorChanged
from mxseal.storage.ports import StorageRefused
from mxseal.storage.web import Session

GROUPS = {
    "webconfig": "Administration by browser",
    "userconfig session": "Who is logged in with a browser",
    "userconfig factor": "Second factors: authenticator apps and passkeys",
}
_Name = Annotated[str, Argument("Name of the user", complete=names)]


@command("webconfig", "show", role="read-only", summary="Show how long sessions of browsers last, and more")
def webconfig_show(ctx: Context) -> Result:
    """With your uncommitted changes. Where pages are served is said by interfaceconfig."""
    web = ctx.services.history.candidate(ctx.owner).web
    return Record((
        Field("Second factor", web.second_factor),
        Field("Idle time (s)", web.idle_time, "idle_time"),
        Field("Session time (s)", web.session_time, "session_time"),
        Field("Login attempts", web.login_attempts),
        Field("Login wait (s)", web.login_wait, "login_wait"),
    ))  # fmt: skip


def _present(ctx: Context, _given: Mapping[str, Any]) -> Mapping[str, Any]:
    return ctx.services.history.candidate(ctx.owner).web.model_dump()


@command(
    "webconfig",
    "setup",
    role="administrator",
    summary="Say how long sessions last, who needs what",
    present=_present,
)
def webconfig_setup(
    ctx: Context,
    *,
    second_factor: Annotated[
        Literal["optional", "required"] | None,
        Option("Whether everybody needs an app or a passkey beside the password"),
    ] = None,
    idle_time: Annotated[float | None, Option("Seconds until an unused session ends")] = None,
    session_time: Annotated[float | None, Option("Seconds until a session ends, used or not")] = None,
    login_attempts: Annotated[int | None, Option("Wrong passwords that are borne from an address")] = None,
    login_wait: Annotated[float | None, Option("Seconds without a look at passwords behind those")] = None,
) -> Result:
    """What is left out stays as it is. Who needs a second factor and has none sets one up at the next login;
    sessions that are open go on."""
    document = ctx.services.history.candidate(ctx.owner)
    given = {
        "second_factor": second_factor,
        "idle_time": idle_time,
        "session_time": session_time,
        "login_attempts": login_attempts,
        "login_wait": login_wait,
    }
    values = {name: value for name, value in given.items() if value is not None}
    if not values:
        raise CommandFailed("Say what to change: 'help webconfig setup' lists what there is", 2)
    try:
        web = Web.model_validate(document.web.model_dump() | values)
    except ValidationError as error:
        first = error.errors()[0]
        raise CommandFailed(f"web.{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    return change(ctx, document.model_copy(update={"web": web}), "The settings for browsers will change.")


# --- sessions -----------------------------------------------------------------------------------------------


def _sessions(ctx: Context, name: str | None) -> list[Session]:
    return [session for session in ctx.services.web.sessions(name) if session.stage == "in"]


@command("userconfig", "session", "list", role="administrator", summary="List who is logged in by browser")
def userconfig_session_list(
    ctx: Context, name: Annotated[str | None, Argument("Only this user", complete=names)] = None
) -> Result:
    columns = (Column("User"), Column("Address"), Column("Browser", cut=40), Column("Began"), Column("Seen"))
    rows = tuple(
        (each.user, each.remote, each.agent, when(each.began), when(each.seen))
        for each in _sessions(ctx, name)
    )
    return Table(columns, rows, empty="Nobody is logged in with a browser.")


@command("userconfig", "session", "end", role="administrator", summary="End all of a user's browser sessions")
def userconfig_session_end(ctx: Context, name: _Name) -> Result:
    """The user can log in again: to keep somebody out, change the password or delete the user."""
    found = _sessions(ctx, name)
    try:
        for session in found:
            ctx.services.web.end_session(session.id)
            if session.login is not None:
                ctx.services.users.ended(session.login, ctx.services.now(), f"ended by {ctx.user}")
    except StorageRefused as refused:
        raise CommandFailed(f"Not all sessions were ended: the store refuses it ({refused})") from None
    count = len(found)
    told = "1 session of {} has" if count == 1 else f"{count} sessions of {{}} have"
    return Done(f"{told.format(name)} ended.", {"ended": count})


# --- second factors -----------------------------------------------------------------------------------------


@command("userconfig", "factor", "list", role="administrator", summary="Show the second factors of a user")
def userconfig_factor_list(ctx: Context, name: _Name) -> Result:
    _known(ctx, name)
    web = ctx.services.web
    app = web.totp(name)
    head = Record((
        Field("User", name),
        Field("Authenticator app", app is not None, "app"),
        Field("Recovery codes left", web.recovery_left(name), "recovery_codes"),
    ))  # fmt: skip
    columns = (Column("Passkey"), Column("Host"), Column("Added"), Column("Last used"))
    rows = tuple(
        (each.name, each.host, when(each.added), when(each.used, "never")) for each in web.passkeys(name)
    )
    return Parts((head, Table(columns, rows, empty="There are no passkeys.")))


@command("userconfig", "factor", "reset", role="administrator", summary="Take all second factors from a user")
def userconfig_factor_reset(ctx: Context, name: _Name) -> Result:
    """For somebody who lost them. The password alone is enough then, until new ones are set up; where a
    second factor is required, that is at the next login."""
    _known(ctx, name)
    try:
        ctx.services.web.delete_factors(name)
    except StorageRefused as refused:
        raise CommandFailed(f"Nothing was changed: the store refuses it ({refused})") from None
    ctx.services.bus.publish(
        SecondFactorChanged(
            at=ctx.services.now(), user=name, by=ctx.user, remote=ctx.remote, face=ctx.face,
            what="all were removed",
        )
    )  # fmt: skip
    return Done(f"{name} has no second factor any more. It is in force at once.", {"user": name})


def _known(ctx: Context, name: str) -> None:
    if ctx.services.users.get(name) is None:
        raise CommandFailed(f"There is no user {name!r}. Users are: {', '.join(names(ctx)) or 'none'}")
