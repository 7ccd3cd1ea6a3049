"""New certificates and their signing requests: `certconfig new`, `certconfig csr` (reference §1.3, §1.4)."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Callable, Coroutine
from typing import Annotated, Any, get_type_hints

import msgspec

from mxseal.certs.make import DEFAULT_DAYS, KeyKind, Order, Subject, make_profile, request_again
from mxseal.commands.certificates import (
    OwnName,
    candidate,
    changed,
    check_free,
    exchanged,
    facts_of,
    find_own,
    free_name,
    key_of,
    opened,
    put_key,
    refused,
)
from mxseal.commands.context import Context
from mxseal.commands.parameters import Argument, Option, OutputFile
from mxseal.commands.registry import command
from mxseal.commands.results import Done, File, Result, Text

_Making = Callable[..., Coroutine[Any, Any, Result]]


class Wishes(msgspec.Struct, frozen=True, kw_only=True):
    """The options of `certconfig new`, in the order in which they are asked."""

    common_name: Annotated[
        str, Option("This gateway's host name, such as mx.example.com", ask="Enter Common Name:")
    ]
    names: Annotated[
        list[str],
        Option(
            "A further host name or IP address (subject alternative name)",
            ask="Further host names, if any:",
            flag="--name",
        ),
    ] = msgspec.field(default_factory=list)
    organization: Annotated[str, Option("Legal name of the organization", ask="Enter Organization:")] = ""
    unit: Annotated[str, Option("Its unit", ask="Enter Organizational Unit:")] = ""
    locality: Annotated[str, Option("City", ask="Enter Locality or City:")] = ""
    state: Annotated[str, Option("State or province", ask="Enter State or Province:")] = ""
    country: Annotated[str, Option("Two letters, such as DE", ask="Enter Country (2 letter code):")] = ""
    days: Annotated[
        int, Option("Until the self-signed one expires", ask="Duration before expiration (in days):", least=1)
    ] = DEFAULT_DAYS
    key: Annotated[KeyKind, Option("Kind of private key", ask="Kind of private key:")] = "rsa-2048"
    csr: Annotated[bool, Option("Show the signing request at once", ask="Do you want to view the CSR?")] = (
        True
    )


def _options_of(shape: type[Wishes]) -> Callable[[_Making], _Making]:
    """Each field of `shape` becomes an option of the command, whose last parameter is the whole."""

    def spread(function: _Making) -> _Making:
        @functools.wraps(function)
        async def run(ctx: Context, name: str, **given: Any) -> Result:
            return await function(ctx, name, shape(**given))

        hints = get_type_hints(shape, include_extras=True)
        defaults = {
            field.name: (
                inspect.Parameter.empty if field.required else getattr(shape(common_name=""), field.name)
            )
            for field in msgspec.structs.fields(shape)
        }
        options = [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=defaults[name])
            for name in defaults
        ]
        ahead = list(inspect.signature(function).parameters.values())[:-1]
        run.__signature__ = inspect.Signature([*ahead, *options])  # type: ignore[attr-defined]
        run.__annotations__ = {**function.__annotations__, **{name: hints[name] for name in defaults}}
        return run

    return spread


@command(
    "certconfig", "new", role="certificate-officer", summary="Make a certificate and its signing request"
)
@_options_of(Wishes)
async def certconfig_new(
    ctx: Context,
    name: Annotated[
        str,
        Argument("Name for it here", ask="Enter a name for this certificate profile:", check=check_free),
    ],
    wishes: Wishes,
) -> Result:
    """A self-signed certificate that works at once, with a new key, and the request to send to an authority.
    When the authority has answered: 'certconfig replace NAME FILE'."""
    name = free_name(candidate(ctx), name)
    subject = Subject(
        common_name=wishes.common_name,
        organization=wishes.organization,
        organizational_unit=wishes.unit,
        locality=wishes.locality,
        state=wishes.state,
        country=wishes.country,
    )
    order = Order(name=name, subject=subject, names=tuple(wishes.names), days=wishes.days, key=wishes.key)
    made = await asyncio.to_thread(make_profile, order, ctx.services.now())
    if isinstance(made, list):
        return refused(f"{name} was not made", made)
    document = candidate(ctx)
    free_name(document, name)  # somebody may have been quicker
    put_key(ctx, made.key)
    document = exchanged(document, made.certificate)
    csr = made.certificate.csr or ""
    facts = {"certificate": facts_of(ctx, document, made.certificate), "csr": csr}
    done = changed(ctx, document, f"{name} was made, self-signed.", facts)
    text = f"{done.message}\n\nThe signing request for an authority:\n\n{csr}"
    return Done(text if wishes.csr else done.message, done.facts)


@command(
    "certconfig", "csr", role="certificate-officer", summary="Print the signing request of a certificate"
)
async def certconfig_csr(
    ctx: Context,
    name: OwnName,
    *,
    output: Annotated[OutputFile | None, Option("Write it to this file; it must not exist yet")] = None,
) -> Result:
    """A certificate whose request was answered, or that came from outside, gets one for its renewal, with its
    key and names. Nothing of the configuration changes."""
    profile = find_own(candidate(ctx), name, "signed by an authority")
    csr = profile.csr
    if csr is None:
        key = key_of(ctx, profile)
        csr = await asyncio.to_thread(request_again, opened(profile).leaf, key)
    if output is None:
        return Text(csr)
    return File(output.path, csr.encode(), f"The signing request of {profile.name} is in {output.path}.")
