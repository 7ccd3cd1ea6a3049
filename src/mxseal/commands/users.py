"""Who may administer the gateway: `userconfig`, `passwd`, `last`. All of it is in force at once.

Users are no part of the configuration document: nobody who was removed comes back with an older revision.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError

from mxseal.certs.sshkeys import KeyRefused, read_public_key
from mxseal.commands.context import ROLES, CommandFailed, Context, Role
from mxseal.commands.parameters import Argument, FileText, Option, Secret
from mxseal.commands.registry import command
from mxseal.commands.results import Cell, Column, Done, Result, Table
from mxseal.commands.times import moment, when
from mxseal.storage.ports import StorageRefused
from mxseal.storage.users import Login, User, UserKey

GROUPS = {
    "userconfig": "Who may log in, with which role, password and keys",
    "userconfig sshkey": "Public keys of a user",
}
SHORTEST_PASSWORD, LONGEST_PASSWORD = 12, 1024
MOST_USERS = 1000
_MOST_KEYS = 50
_NAME = re.compile(r"[a-z][a-z0-9._-]{0,31}")
_AT_ONCE = "It is in force at once."


def names(ctx: Context) -> list[str]:
    """Names of all users."""
    return [user.name for user in ctx.services.users.all()]


def _fingerprints(ctx: Context) -> list[str]:
    users = ctx.services.users
    return [key.fingerprint for user in users.all() for key in users.keys(user.name)]


_Name = Annotated[str, Argument("Name of the user", complete=names, ask="Enter the username:")]
_RoleOption = Annotated[Role | None, Option("What the user may do", short="-r")]


def _user(ctx: Context, name: str) -> User:
    found = ctx.services.users.get(name)
    if found is None:
        raise CommandFailed(f"There is no user {name!r}. Users are: {', '.join(names(ctx)) or 'none'}")
    return found


def _put(ctx: Context, user: User) -> None:
    try:
        ctx.services.users.put(user)
    except StorageRefused as refused:
        raise CommandFailed(f"Nothing was changed: the store refuses it ({refused})") from None


def _refuse_last_administrator(ctx: Context, user: User) -> None:
    others = [other for other in ctx.services.users.all() if other.name != user.name]
    if user.role == "administrator" and all(other.role != "administrator" for other in others):
        raise CommandFailed(
            f"{user.name} is the only administrator: give somebody else that role first, with 'userconfig "
            "new' or 'userconfig edit'"
        )


def _free(ctx: Context, name: str) -> None:
    """Raises CommandFailed unless a new user can have that name."""
    if not _NAME.fullmatch(name):
        raise CommandFailed(
            f"{name!r} can't be a name: lower-case letters, digits, '.', '_' and '-', a letter first, at "
            "most 32"
        )
    if ctx.services.users.get(name) is not None:
        raise CommandFailed(f"There is a user {name} already: 'userconfig edit {name}' changes it")


async def _hashed(name: str, password: Secret) -> str:
    """The password's hash. CommandFailed for one that is too easy to guess."""
    if not SHORTEST_PASSWORD <= len(password.text) <= LONGEST_PASSWORD:
        raise CommandFailed(f"A password has {SHORTEST_PASSWORD} to {LONGEST_PASSWORD} characters")
    if len(set(password.text)) < 4 or name in password.text.lower():
        raise CommandFailed(
            "This password is too easy to guess: take several words, or let a program make one"
        )
    return await asyncio.to_thread(PasswordHasher().hash, password.text)


# --- users --------------------------------------------------------------------------------------------------


@command("userconfig", "list", role="administrator", summary="List the users and their roles", reads=True)
def userconfig_list(ctx: Context) -> Result:
    users = ctx.services.users
    rows = tuple(
        (user.name, user.full_name, user.role, bool(user.password), len(users.keys(user.name)))
        for user in users.all()
    )
    columns = (Column("Name"), Column("Full Name"), Column("Role"), Column("Password"), Column("SSH Keys"))
    return Table(columns, rows, empty="There are no users: root and the home's owner work locally.")


@command("userconfig", "new", role="administrator", summary="Create a user")
async def userconfig_new(
    ctx: Context,
    name: Annotated[str, Argument("Name of the user", ask="Enter the new username:", check=_free)],
    role: Annotated[
        Role,
        Argument("What the user may do", metavar="ROLE", ask="Assign a role:"),
    ],
    *,
    password: Annotated[
        Secret, Option("Password", ask="Enter the password (empty: login with keys only):", repeat=True)
    ] = Secret(""),  # noqa: B008
    full_name: Annotated[str, Option("Full name", ask="Enter the full name:")] = "",
) -> Result:
    """Roles: administrator (everything), operator (mail, policies, queue), certificate-officer
    (certificates), read-only (looks, changes nothing). Without a password the user logs in with keys alone.
    """
    _free(ctx, name)
    if len(names(ctx)) >= MOST_USERS:
        raise CommandFailed(f"There are {MOST_USERS} users already: delete those that are not needed")
    stored = await _hashed(name, password) if password.text else ""
    _put(ctx, User(name=name, role=role, password=stored, full_name=full_name[:100]))
    add = f"'userconfig sshkey add {name}' gives it a key, 'userconfig password {name}' a password"
    hint = "" if stored else f" It can't log in yet: {add}."
    return Done(
        f"User {name} was created with the role {role}. {_AT_ONCE}{hint}", {"user": name, "role": role}
    )


def _present(ctx: Context, given: Mapping[str, Any]) -> Mapping[str, Any]:
    user = _user(ctx, given["name"])
    return {"role": user.role, "full_name": user.full_name}


@command(
    "userconfig",
    "edit",
    role="administrator",
    summary="Change a user's role or full name",
    present=_present,
)
def userconfig_edit(
    ctx: Context,
    name: _Name,
    *,
    role: _RoleOption = None,
    full_name: Annotated[str | None, Option("Full name")] = None,
) -> Result:
    """A new role counts from the next command on, also in sessions that are open."""
    user = _user(ctx, name)
    if role is None and full_name is None:
        raise CommandFailed(f"Say what to change: --role ({', '.join(ROLES)}) or --full-name", 2)
    if role not in (None, "administrator"):
        _refuse_last_administrator(ctx, user)
    changed = msgspec.structs.replace(
        user,
        role=role or user.role,
        full_name=user.full_name if full_name is None else full_name[:100],
    )
    _put(ctx, changed)
    return Done(f"User {name} has the role {changed.role}. {_AT_ONCE}", {"user": name, "role": changed.role})


@command("userconfig", "delete", role="administrator", summary="Remove a user with all keys")
async def userconfig_delete(
    ctx: Context, name: _Name, *, yes: Annotated[bool, Option("Do not ask", short="-y")] = False
) -> Result:
    """Its open sessions end with their next command."""
    user = _user(ctx, name)
    _refuse_last_administrator(ctx, user)
    if ctx.client.interactive and not yes:
        answer = await ctx.client.ask(f"Are you sure you want to delete the user {name}?", "N")
        if answer.strip().lower() not in {"y", "yes"}:
            return Done("Nothing was deleted.", {"deleted": 0})
    try:
        ctx.services.users.delete(name)
    except StorageRefused as refused:
        raise CommandFailed(f"Nothing was deleted: the store refuses it ({refused})") from None
    return Done(f"User {name} was deleted. {_AT_ONCE}", {"deleted": 1})


@command("userconfig", "password", role="administrator", summary="Set a user's password, or take it away")
async def userconfig_password(
    ctx: Context,
    name: _Name,
    *,
    password: Annotated[
        Secret, Option("The new password", ask="Enter the new password (empty: keys only):", repeat=True)
    ],
) -> Result:
    """Open sessions go on."""
    user = _user(ctx, name)
    stored = await _hashed(name, password) if password.text else ""
    _put(ctx, msgspec.structs.replace(user, password=stored))
    told = "was set" if stored else "was taken away: the user logs in with keys only"
    return Done(f"The password of {name} {told}. {_AT_ONCE}", {"user": name, "password": bool(stored)})


@command("passwd", role="read-only", summary="Change your own password")
async def passwd(
    ctx: Context,
    *,
    old: Annotated[Secret, Option("Your password until now", ask="Old password:")],
    new: Annotated[Secret, Option("Your new password", ask="New password:", repeat=True)],
) -> Result:
    user = ctx.services.users.get(ctx.user) if ctx.remote != "local" else None
    if user is None:
        raise CommandFailed(
            f"{ctx.user} works locally and has no password here. 'userconfig password NAME' sets that of a "
            "user"
        )
    if not user.password or not await asyncio.to_thread(_is, user.password, old.text):
        raise CommandFailed("This is not your password until now. Nothing was changed")
    _put(ctx, msgspec.structs.replace(user, password=await _hashed(user.name, new)))
    return Done(f"Your password was changed. {_AT_ONCE}", {"user": user.name})


def _is(stored: str, password: str) -> bool:
    try:
        return PasswordHasher().verify(stored, password)
    except (Argon2Error, InvalidHashError):
        return False


# --- public keys --------------------------------------------------------------------------------------------


@command(
    "userconfig",
    "sshkey",
    "list",
    role="administrator",
    summary="List the public keys of a user, or of all",
    reads=True,
)
def userconfig_sshkey_list(
    ctx: Context, name: Annotated[str | None, Argument("Name of the user", complete=names)] = None
) -> Result:
    users = ctx.services.users
    chosen = users.all() if name is None else [_user(ctx, name)]
    rows = tuple(
        (user.name, key.fingerprint, key.kind, key.comment, when(key.added))
        for user in chosen
        for key in users.keys(user.name)
    )
    columns = (Column("User"), Column("Fingerprint"), Column("Type"), Column("Comment"), Column("Added"))
    return Table(columns, rows, empty="There are no keys.")


@command("userconfig", "sshkey", "add", role="administrator", summary="Let a user log in with a public key")
def userconfig_sshkey_add(
    ctx: Context,
    name: _Name,
    key: Annotated[
        FileText, Argument("File with the public key, '-' for standard input", ask="Paste the public key.")
    ],
) -> Result:
    """One line as ssh-keygen writes it into a .pub file, such as ~/.ssh/id_ed25519.pub."""
    _user(ctx, name)
    try:
        read = read_public_key(key.text)
    except KeyRefused as refused:
        raise CommandFailed(str(refused)) from None
    if len(ctx.services.users.keys(name)) >= _MOST_KEYS:
        raise CommandFailed(f"{name} has {_MOST_KEYS} keys already: delete those that are not needed")
    entry = UserKey(
        fingerprint=read.fingerprint, kind=read.kind, blob=read.blob, comment=read.comment,
        added=ctx.services.now(),
    )  # fmt: skip
    try:
        ctx.services.users.put_key(name, entry)
    except StorageRefused as refused:
        raise CommandFailed(f"Nothing was added: the store refuses it ({refused})") from None
    return Done(
        f"{name} can log in with the key {entry.fingerprint} ({entry.comment or entry.kind}). {_AT_ONCE}",
        {"user": name, "fingerprint": entry.fingerprint},
    )


@command("userconfig", "sshkey", "delete", role="administrator", summary="Take a public key from a user")
def userconfig_sshkey_delete(
    ctx: Context,
    name: _Name,
    fingerprint: Annotated[
        str,
        Argument("Its fingerprint, or its comment", complete=_fingerprints, ask="Enter the fingerprint:"),
    ],
) -> Result:
    """Open sessions go on."""
    _user(ctx, name)
    found = [key for key in ctx.services.users.keys(name) if fingerprint in (key.fingerprint, key.comment)]
    if len(found) != 1:
        several = "several keys with that comment" if found else f"no key {fingerprint}"
        raise CommandFailed(f"{name} has {several}. 'userconfig sshkey list {name}' shows their fingerprints")
    try:
        ctx.services.users.delete_key(name, found[0].fingerprint)
    except StorageRefused as refused:
        raise CommandFailed(f"Nothing was deleted: the store refuses it ({refused})") from None
    return Done(
        f"{name} can't log in with the key {found[0].fingerprint} any more. {_AT_ONCE}",
        {"user": name, "fingerprint": found[0].fingerprint},
    )


# --- logins -------------------------------------------------------------------------------------------------


@command("last", role="read-only", summary="Show who logged in, from where and for how long")
def last(
    ctx: Context,
    name: Annotated[str | None, Argument("Only this user", complete=names)] = None,
    *,
    lines: Annotated[int, Option("How many", short="-n", least=1, most=1000)] = 20,
) -> Result:
    """Over SSH; who works locally does not log in. Attempts that failed are in the log 'authentication'."""
    logins = [entry for entry in ctx.services.users.logins(1000) if name is None or entry.user == name]
    columns = (
        Column("User"), Column("From"), Column("By"), Column("Method"), Column("Login"), Column("Logout"),
        Column("Time"),
    )  # fmt: skip
    rows = tuple(_row(entry, ctx.services.now()) for entry in logins[:lines])
    return Table(columns, rows, empty="Nobody has logged in yet.")


def _row(login: Login, now: float) -> tuple[Cell, ...]:
    end = login.ended
    how = moment(end) + (f" ({login.ending})" if login.ending else "") if end is not None else ""
    minutes = int((now if end is None else end) - login.began) // 60
    return (
        login.user, login.remote, login.face, login.method, when(login.began),
        when(end, "still logged in", text=how), f"{minutes // 60}:{minutes % 60:02}",
    )  # fmt: skip
