"""Certificates with which users log in by browser: `userconfig certificate`. In force at once.

Which interfaces ask for one, and what it is good for there, is said by `interfaceconfig`.
"""

from __future__ import annotations

import re
from typing import Annotated

from mxseal.certs.authorities import read
from mxseal.certs.facts import fingerprint
from mxseal.commands.certauthority import authority_names, find_authority
from mxseal.commands.certificates import candidate
from mxseal.commands.context import CommandFailed, Context
from mxseal.commands.parameters import Argument, Option
from mxseal.commands.registry import command
from mxseal.commands.results import Column, Done, Result, Table
from mxseal.commands.times import when
from mxseal.commands.users import names
from mxseal.events.types import SecondFactorChanged
from mxseal.storage.bindings import Binding, Kind
from mxseal.storage.ports import StorageRefused

GROUPS = {"userconfig certificate": "Certificates with which a user logs in by browser"}
_MOST = 20
_LONGEST = 255
_KINDS: dict[str, Kind] = {"sha256": "fingerprint", "email": "email", "name": "name"}
_SPELLED = {kind: word for word, kind in _KINDS.items()}
_FINGERPRINT = re.compile(r"[0-9a-f]{64}")
_EMAIL = re.compile(r"[!-~]+@[!-~]+")


def spelled(binding: Binding) -> str:
    """As one types it: 'sha256:…', 'email:…', 'name:…'."""
    return f"{_SPELLED[binding.kind]}:{binding.value}"


def _identities(ctx: Context) -> list[str]:
    return [spelled(each) for each in ctx.services.web.certificates.all()]


_Name = Annotated[str, Argument("Name of the user", complete=names, ask="Enter the username:")]
_Identity = Annotated[
    str,
    Argument(
        "'sha256:' and its fingerprint, 'email:' and an address in it, or 'name:' and its common name",
        complete=_identities,
        free=True,
        ask="Which certificate (sha256:…, email:… or name:…):",
    ),
]
_Authority = Annotated[
    str | None,
    Option("For email and name: the custom authority that issues it", complete=authority_names),
]


def _known(ctx: Context, name: str) -> None:
    if ctx.services.users.get(name) is None:
        raise CommandFailed(f"There is no user {name!r}. Users are: {', '.join(names(ctx)) or 'none'}")


def _meant(identity: str) -> tuple[Kind, str]:
    """The kind and its value. Raises CommandFailed."""
    word, _, value = identity.strip().partition(":")
    kind, value = _KINDS.get(word.lower()), value.strip()
    if kind == "fingerprint":
        value = value.replace(":", "").replace(" ", "").lower()
        if not _FINGERPRINT.fullmatch(value):
            raise CommandFailed(
                "A fingerprint is SHA-256, 64 hexadecimal digits: 'openssl x509 -noout -fingerprint -sha256 "
                "-in FILE' shows it",
                2,
            )
    elif kind == "email":
        value = value.lower()
        if not _EMAIL.fullmatch(value):
            raise CommandFailed(f"{value!r} is no mail address, such as email:anna@example.com", 2)
    elif kind is None or not value or not value.isprintable():
        raise CommandFailed(
            f"{identity[:80]!r} says of no certificate which it is: 'sha256:' and its fingerprint, 'email:' "
            "and an address in it, or 'name:' and its common name",
            2,
        )
    if len(value) > _LONGEST:
        raise CommandFailed(f"That is too long: at most {_LONGEST} characters", 2)
    return kind, value


def _vouching(ctx: Context, authority: str | None) -> tuple[str, str]:
    """(fingerprint, name) of the authority whose certificates count. Raises CommandFailed."""
    known = authority_names(ctx)
    if authority is None and len(known) != 1:
        which = "'certconfig certauthority custom import' adds its authority"
        if known:
            which = f"Say whose it is with --authority: {', '.join(known)}"
        raise CommandFailed(f"A name is as good as who vouches for it. {which}", 2)
    entry = find_authority(candidate(ctx), authority or known[0])
    certificate = read(entry)
    if certificate is None:
        raise CommandFailed(f"{entry.name} can't be read: import it again")
    return fingerprint(certificate), entry.name


@command(
    "userconfig",
    "certificate",
    "list",
    role="administrator",
    summary="List the certificates that are bound to a user, or to all",
    reads=True,
)
def userconfig_certificate_list(
    ctx: Context, name: Annotated[str | None, Argument("Name of the user", complete=names)] = None
) -> Result:
    if name is not None:
        _known(ctx, name)
    rows = tuple(
        (each.user, spelled(each), each.issuer, when(each.added))
        for each in ctx.services.web.certificates.all(name)
    )
    columns = (Column("User"), Column("Certificate"), Column("Authority"), Column("Added"))
    return Table(columns, rows, empty="No certificate is bound to a user.")


@command(
    "userconfig",
    "certificate",
    "add",
    role="administrator",
    summary="Bind a certificate to a user, for logins by browser",
)
def userconfig_certificate_add(
    ctx: Context, name: _Name, identity: _Identity, *, authority: _Authority = None
) -> Result:
    """A fingerprint is one certificate; an address or a name is each one that the authority issues to it, so
    that renewed ones count too. Either way it must come from an authority of the interface, be in date and
    not be revoked. What it is good for is said by 'interfaceconfig edit --client-certificates'."""
    _known(ctx, name)
    kind, value = _meant(identity)
    mark, issuer = ("", "") if kind == "fingerprint" else _vouching(ctx, authority)
    bindings = ctx.services.web.certificates
    if len(bindings.all(name)) >= _MOST:
        raise CommandFailed(f"{name} has {_MOST} certificates already: delete those that are not needed")
    binding = Binding(
        user=name, kind=kind, value=value, authority=mark, issuer=issuer, added=ctx.services.now()
    )
    try:
        if not bindings.put(binding):
            raise CommandFailed(
                f"{spelled(binding)} is bound to a user already: 'userconfig certificate list'"
            )
    except StorageRefused as refused:
        raise CommandFailed(f"Nothing was added: the store refuses it ({refused})") from None
    _tell(ctx, name, f"the certificate {spelled(binding)} was bound")
    asking = any(each.client_certificates != "off" for each in candidate(ctx).interfaces)
    hint = "" if asking else " No interface asks for certificates yet: 'interfaceconfig edit' lets one."
    return Done(
        f"{spelled(binding)} is bound to {name}. It is in force at once.{hint}",
        {"user": name, "certificate": spelled(binding)},
    )


@command(
    "userconfig",
    "certificate",
    "delete",
    role="administrator",
    summary="Take a certificate from a user",
)
def userconfig_certificate_delete(
    ctx: Context, name: _Name, identity: _Identity, *, authority: _Authority = None
) -> Result:
    """Sessions of browsers that began with a certificate of the user end."""
    _known(ctx, name)
    kind, value = _meant(identity)
    web = ctx.services.web
    found = [
        each
        for each in web.certificates.all(name)
        if (each.kind, each.value) == (kind, value) and authority in (None, each.issuer)
    ]
    if not found:
        raise CommandFailed(
            f"{name} has no such certificate. 'userconfig certificate list {name}' shows them"
        )
    try:
        for each in found:
            web.certificates.delete(each)
        for session in web.sessions(name):
            if "certificate" in session.method and web.end_session(session.id) and session.login is not None:
                ctx.services.users.ended(session.login, ctx.services.now(), "certificate taken away")
    except StorageRefused as refused:
        raise CommandFailed(f"Not all was deleted: the store refuses it ({refused})") from None
    _tell(ctx, name, f"the certificate {spelled(found[0])} was taken away")
    return Done(
        f"{spelled(found[0])} is not bound to {name} any more. It is in force at once.",
        {"user": name, "deleted": len(found)},
    )


def _tell(ctx: Context, name: str, what: str) -> None:
    ctx.services.bus.publish(
        SecondFactorChanged(
            at=ctx.services.now(), user=name, by=ctx.user, remote=ctx.remote, face=ctx.face, what=what
        )
    )
