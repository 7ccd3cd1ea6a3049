"""Tokens for programs that use the API. Like users they are no part of the configuration document."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated

from mxseal.commands import tokens
from mxseal.commands.context import CommandFailed, Context, Role
from mxseal.commands.parameters import Argument, Option
from mxseal.commands.registry import command
from mxseal.commands.results import Cell, Column, Done, Result, Table
from mxseal.commands.times import rfc3339, when
from mxseal.storage.ports import StorageRefused
from mxseal.storage.tokens import Token

GROUPS = {"tokenconfig": "Tokens by which programs use the API"}
MOST_TOKENS = 1000
LONGEST_DAYS = 3650
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_SPAN = re.compile(r"(\d{1,6})\s*([dh])")
_UNITS = {"d": 86_400, "h": 3600}
_NEVER = "never"


def names(ctx: Context) -> list[str]:
    """Names of the tokens that the caller may see."""
    return [token.name for token in _visible(ctx)]


def _visible(ctx: Context) -> list[Token]:
    return [
        token for token in ctx.services.tokens.all() if ctx.role == "administrator" or token.user == ctx.user
    ]


def _user_names(ctx: Context) -> list[str]:
    return [user.name for user in ctx.services.users.all()]


@command("tokenconfig", "list", role="read-only", summary="List the tokens", reads=True)
def tokenconfig_list(ctx: Context) -> Result:
    """Administrators see all, everybody else their own. A token that is expired, or whose user may no longer
    do what it may, is refused by the API."""
    columns = (
        Column("Name"), Column("User"), Column("Role"), Column("Made"), Column("Expires"),
        Column("Last used"), Column("From"), Column("Valid"),
    )  # fmt: skip
    rows = tuple(_row(ctx, token) for token in _visible(ctx))
    return Table(columns, rows, empty="There are no tokens. 'tokenconfig new' makes one.")


def _row(ctx: Context, token: Token) -> tuple[Cell, ...]:
    return (
        token.name,
        token.user or None,
        token.role,
        when(token.made),
        when(token.expires, "never"),
        when(token.used, "never"),
        token.used_from or None,
        (token.expires is None or token.expires > ctx.services.now()) and tokens.covered(ctx.services, token),
    )


@command("tokenconfig", "new", role="read-only", summary="Make a token; it is shown once", reads=False)
def tokenconfig_new(
    ctx: Context,
    name: Annotated[str, Argument("Its name", ask="Enter a name for the token:")],
    *,
    role: Annotated[
        Role | None, Option("What it may do; left out: read-only", short="-r", ask="Assign a role:")
    ] = None,
    expires: Annotated[
        str,
        Option("90d, 12h, a date such as 2027-01-31, or never", ask="When does it expire:", metavar="WHEN"),
    ] = "90d",
    user: Annotated[
        str | None,
        Option("The user that it belongs to, and ends with; left out: you", complete=_user_names),
    ] = None,
) -> Result:
    """It may do at most what its user may. Keep it as you would keep a password: the gateway does not know it
    either. A token can't make tokens."""
    services = ctx.services
    if ctx.face == "api":
        raise CommandFailed("A token can't make tokens: use SSH, the web GUI, or the gateway's own machine")
    owner = _owner(ctx, user, role or "read-only")
    expiry = _expiry(ctx, expires)
    if not _NAME.fullmatch(name):
        raise CommandFailed(f"{name!r} can't be a name: use letters, digits, '.', '_' and '-', at most 63")
    if services.tokens.named(name) is not None:
        raise CommandFailed(f"There is a token {name} already. 'tokenconfig revoke {name}' removes it")
    if len(services.tokens.all()) >= MOST_TOKENS:
        raise CommandFailed(f"There are {MOST_TOKENS} tokens: revoke those that are not needed")
    made = tokens.make()
    token = Token(
        id=made.id, name=name, user=owner, role=role or "read-only", digest=made.digest, made=services.now(),
        made_by=ctx.user, expires=expiry,
    )  # fmt: skip
    try:
        services.tokens.put(token)
    except StorageRefused as refused:
        raise CommandFailed(f"No token was made: the store refuses it ({refused})") from None
    until = "does not expire" if expiry is None else f"is good until {rfc3339(expiry)}"
    told = f"Token {name} with the role {token.role} {until}. It is shown only now:\n\n{made.text}\n"
    facts = {"name": name, "user": owner or None, "role": token.role, "token": made.text}
    return Done(told, {**facts, "expires": None if expiry is None else rfc3339(expiry)})


def _owner(ctx: Context, user: str | None, role: Role) -> str:
    """Whose token it becomes. Raises CommandFailed for another's, and for more rights than that user has."""
    caller = ctx.services.users.get(ctx.user) if ctx.remote != "local" else None
    wanted = user if user is not None else (caller.name if caller is not None else "")
    if wanted != (caller.name if caller is not None else "") and ctx.role != "administrator":
        raise CommandFailed("Only an administrator may make tokens for another user", 77)
    if not wanted:
        return ""
    found = ctx.services.users.get(wanted)
    if found is None:
        raise CommandFailed(f"There is no user {wanted!r}. 'userconfig list' shows those that there are")
    if not tokens.may_give(found.role, role):
        raise CommandFailed(f"{wanted} has the role {found.role}, and a token of theirs can't have {role}")
    return wanted


def _expiry(ctx: Context, text: str) -> float | None:
    """Seconds since the epoch. Raises CommandFailed."""
    now = ctx.services.now()
    word = text.strip().lower()
    if word == _NEVER:
        return None
    span = _SPAN.fullmatch(word)
    try:
        at = (
            now + int(span[1]) * _UNITS[span[2]]
            if span
            else datetime.strptime(word, "%Y-%m-%d").replace(tzinfo=UTC).timestamp() + 86_400
        )
    except ValueError:
        raise CommandFailed(
            f"{text!r} is no time: write 90d, 12h, a date such as 2027-01-31, or never"
        ) from None
    if not now < at <= now + (LONGEST_DAYS + 1) * 86_400:
        raise CommandFailed(f"{text} is not between now and in {LONGEST_DAYS} days: write never for longer")
    return at


@command("tokenconfig", "revoke", role="read-only", summary="Make a token useless, at once", reads=False)
def tokenconfig_revoke(
    ctx: Context, name: Annotated[str, Argument("Its name", complete=names, ask="Which token:")]
) -> Result:
    """Your own; administrators any. Its uncommitted changes are forgotten."""
    token = next((each for each in _visible(ctx) if each.name == name), None)
    if token is None:
        raise CommandFailed(f"There is no token {name!r}. 'tokenconfig list' shows those that there are")
    try:
        ctx.services.tokens.delete(token.id)
        ctx.services.history.clear(f"token:{token.id}")
    except StorageRefused as refused:
        raise CommandFailed(f"Nothing was revoked: the store refuses it ({refused})") from None
    return Done(f"Token {name} is refused from now on.", {"name": name})
