"""Which service uses which certificate: assign, print, and what is really served (reference §2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from mxseal.certs.facts import Problem, key_type, warning
from mxseal.certs.judge import judge_dates, judge_for_delivery
from mxseal.certs.live import server_names
from mxseal.certs.make import DEMO
from mxseal.certs.profiles import services
from mxseal.certs.x509 import Bundle
from mxseal.commands.certificate_judgement import demo_problems, is_demo
from mxseal.commands.certificates import (
    awaiting,
    candidate,
    certificate_names,
    changed,
    find,
    key_of,
    opened,
)
from mxseal.commands.context import CommandFailed, Context
from mxseal.commands.parameters import Argument, Option
from mxseal.commands.registry import command
from mxseal.commands.results import Column, Parts, Problems, Result, Table
from mxseal.config.check import Problem as Place
from mxseal.config.model import Certificate, Delivery, Document, Ldap, Listener
from mxseal.relay.probe import Seen

_CLIENTS = {"delivery": ("Outbound delivery", "delivery"), "ldap": ("The LDAP client", "ldap")}
"""Services that show a certificate as clients: what they are called, and their table."""
_LISTENER = "listener:"
_INTERFACE = "interface:"
_ANALYSIS = "analysis:"


@command("certconfig", "print", role="read-only", summary="Show which service uses which certificate")
def certconfig_print(ctx: Context) -> Result:
    """With your uncommitted changes. 'certconfig served' looks what the listeners really show."""
    rows = tuple((service, name or None) for service, name in services(candidate(ctx)))
    return Table((Column("Service"), Column("Certificate")), rows, title="Certificates assigned to services")


@command("certconfig", "served", role="read-only", summary="Look which certificates are really shown")
async def certconfig_served(ctx: Context) -> Result:
    """Each listener and each HTTPS port in force is connected to just now, once for each of its certificates.
    The status is 1 when one shows another certificate than assigned, or does not answer. A listener whose
    policy for this machine's own address shows no TLS is not seen, which is told and is no fault."""
    seen = await ctx.services.probe()
    columns = (
        Column("Service", "listener"),
        Column("Server name"),
        Column("As assigned", "expected"),
        Column("Protocol"),
        Column("SHA-256 begins", "fingerprint", cut=23),
        Column("Problem"),
    )
    rows = tuple(
        (
            each.listener if each.service == "listener" else f"{each.service} {each.listener}",
            each.server_name,
            None if each.hidden else each.expected,
            each.protocol,
            each.sha256,
            each.problem,
        )
        for each in seen
    )
    table = Table(columns, rows, empty="There is no listener.")
    wrong = [each for each in seen if not each.expected and not each.hidden]
    return Parts((table, _not_as_assigned(wrong))) if wrong else table


def _not_as_assigned(wrong: Sequence[Seen]) -> Problems:
    problems = tuple(
        Place(
            f"{each.service}s.{each.listener}.certificate",
            each.problem or f"another certificate is shown, {each.sha256}",
            "" if each.problem else "Look whether something else holds this port, and commit again",
        )
        for each in wrong
    )
    return Problems("Not every service shows what is assigned to it", problems)


# --- assign -----------------------------------------------------------------------------------------------


def service_names(ctx: Context) -> list[str]:
    return _services(candidate(ctx))


def _services(document: Document) -> list[str]:
    listeners = [_LISTENER + listener.name for listener in document.listeners]
    interfaces = [_INTERFACE + interface.name for interface in document.interfaces]
    return [
        *_CLIENTS,
        *listeners,
        *interfaces,
        *(_ANALYSIS + each.name for each in document.analysis_servers),
    ]


@command("certconfig", "assign", role="certificate-officer", summary="Let a service use a certificate")
def certconfig_assign(
    ctx: Context,
    name: Annotated[str, Argument("Name of the certificate", complete=certificate_names, ask="Which one:")],
    service: Annotated[
        str,
        Argument(
            "delivery, ldap, listener:NAME, interface:NAME or analysis:NAME",
            complete=service_names,
            ask="For which service:",
        ),
    ],
    *,
    second: Annotated[bool, Option("Beside the listener's first, with the other kind of key")] = False,
    sni: Annotated[bool, Option("For clients that ask the listener for one of its names")] = False,
    remove: Annotated[bool, Option("Let the service use it no more")] = False,
) -> Result:
    """A listener has one certificate, a second one with the other kind of key (RSA beside ECDSA), and any
    number of further ones by server name. Without its first it falls back to Demo."""
    document = candidate(ctx)
    profile = find(document, name)
    if second and sni:
        raise CommandFailed("Choose one of --second and --sni", 2)
    if service.lower() in _CLIENTS:
        if second or sni:
            raise CommandFailed(f"{service} has one certificate: leave out --second and --sni", 2)
        return _client(ctx, document, profile, service.lower(), remove)
    if service.lower().startswith(_INTERFACE):
        if second or sni:
            raise CommandFailed("An interface shows one certificate: leave out --second and --sni", 2)
        return _interface(ctx, document, profile, service[len(_INTERFACE) :], remove)
    if service.lower().startswith(_ANALYSIS):
        if second or sni:
            raise CommandFailed(
                "An analysis server is shown one certificate: leave out --second and --sni", 2
            )
        return _analysis(ctx, document, profile, service[len(_ANALYSIS) :], remove)
    listener = _listener(document, service)
    if remove:
        fresh = _taken_off(document, listener, profile, (second, sni))
    else:
        key_of(ctx, profile)
        fresh = _put_on(document, listener, profile, (second, sni))
    listeners = tuple(fresh if entry.name == listener.name else entry for entry in document.listeners)
    document = document.model_copy(update={"listeners": listeners})
    warnings = _warnings(ctx, document, fresh, profile, remove=remove, sni=sni)
    verb = "uses {} no more" if remove else "uses {}"
    facts = {"service": _LISTENER + listener.name, "certificate": profile.name, "removed": remove}
    message = f"Listener {listener.name} {verb.format(profile.name)}."
    return changed(ctx, document, message, facts, warnings)


def judged_for(
    ctx: Context, document: Document, listener: Listener, name: str
) -> tuple[Listener, list[Problem]]:
    """A listener of `document` with its first certificate, and what its clients will not like. Raises
    CommandFailed."""
    profile = find(document, name)
    key_of(ctx, profile)
    fresh = _put_on(document, listener, profile, (False, False))
    return fresh, _warnings(ctx, document, fresh, profile, remove=False, sni=False)


def _listener(document: Document, service: str) -> Listener:
    wanted = service[len(_LISTENER) :] if service.lower().startswith(_LISTENER) else service
    for listener in document.listeners:
        if listener.name.lower() == wanted.lower():
            return listener
    raise _no_service(document, service)


def _no_service(document: Document, service: str) -> CommandFailed:
    known = ", ".join(_services(document))
    return CommandFailed(f"There is no service called {service}. There are: {known}")


def _interface(ctx: Context, document: Document, profile: Certificate, name: str, remove: bool) -> Result:
    interface = next((entry for entry in document.interfaces if entry.name.lower() == name.lower()), None)
    if interface is None:
        raise _no_service(document, _INTERFACE + name)
    if remove and interface.certificate != profile.name:
        raise CommandFailed(
            f"Interface {interface.name} does not use {profile.name}. 'certconfig print' shows what is used"
        )
    if remove and (is_demo(profile.name) or document.certificate(DEMO) is None):
        raise CommandFailed(f"Interface {interface.name} needs a certificate. Assign another one to it")
    shown = find(document, DEMO) if remove else profile
    key_of(ctx, shown)
    fresh = interface.model_copy(update={"certificate": shown.name})
    warnings = _dates(ctx, shown, document.interface_hostname(fresh), named=not remove)
    interfaces = tuple(fresh if entry.name == fresh.name else entry for entry in document.interfaces)
    verb = "uses {} no more" if remove else "uses {}"
    facts = {"service": _INTERFACE + fresh.name, "certificate": profile.name, "removed": remove}
    document = document.model_copy(update={"interfaces": interfaces})
    message = f"Interface {fresh.name} {verb.format(profile.name)}."
    return changed(ctx, document, message, facts, warnings)


def _analysis(ctx: Context, document: Document, profile: Certificate, name: str, remove: bool) -> Result:
    server = next((each for each in document.analysis_servers if each.name.lower() == name.lower()), None)
    if server is None:
        raise _no_service(document, _ANALYSIS + name)
    if remove and server.certificate != profile.name:
        raise CommandFailed(
            f"Analysis server {server.name} is not shown {profile.name}. "
            "'certconfig print' shows what is used"
        )
    warnings = [] if remove else _shown_as_client(ctx, profile)
    fresh = server.model_copy(update={"certificate": None if remove else profile.name})
    servers = tuple(fresh if each.name == fresh.name else each for each in document.analysis_servers)
    document = document.model_copy(update={"analysis_servers": servers})
    told = "no certificate" if remove else profile.name
    facts = {"service": _ANALYSIS + fresh.name, "certificate": profile.name, "removed": remove}
    return changed(ctx, document, f"Analysis server {fresh.name} is shown {told}.", facts, warnings)


def _shown_as_client(ctx: Context, profile: Certificate) -> list[Problem]:
    """What a server that is shown this certificate will not like about it."""
    key_of(ctx, profile)
    leaf = opened(profile).leaf
    now = ctx.services.now()
    dates = demo_problems(leaf, now) if is_demo(profile.name) else judge_dates(leaf, now)
    return [*dates, *judge_for_delivery(leaf)]


def _client(ctx: Context, document: Document, profile: Certificate, service: str, remove: bool) -> Result:
    """What the gateway itself shows as a client: to next hops, or to directories."""
    who, table = _CLIENTS[service]
    current: Delivery | Ldap = getattr(document, table)
    assigned: str | None = profile.name
    warnings: list[Problem] = []
    if remove:
        if current.certificate != profile.name:
            raise CommandFailed(f"{who} does not use {profile.name}. 'certconfig print' shows what is used")
        assigned = None
    else:
        warnings += _shown_as_client(ctx, profile)
    fresh = current.model_copy(update={"certificate": assigned})
    document = document.model_copy(update={table: fresh})
    told = "shows no certificate" if remove else f"shows {profile.name}"
    facts = {"service": service, "certificate": profile.name, "removed": remove}
    return changed(ctx, document, f"{who} {told}.", facts, warnings)


def _put_on(
    document: Document, listener: Listener, profile: Certificate, place: tuple[bool, bool]
) -> Listener:
    """The listener with the certificate. Raises CommandFailed for what the commit would refuse."""
    second, sni = place
    name = profile.name
    if sni:
        if name in listener.sni_certificates:
            raise CommandFailed(f"Listener {listener.name} uses {name} by server name already")
        if not server_names(opened(profile).leaf):
            raise CommandFailed(f"{name} holds no host name that a client could ask for, so --sni has no use")
        return listener.model_copy(update={"sni_certificates": (*listener.sni_certificates, name)})
    other = listener.certificate if second else listener.second_certificate
    if other == name:
        where = "first" if second else "second"
        raise CommandFailed(f"{name} is the {where} certificate of listener {listener.name} already")
    if other is not None:
        _other_type(document, profile, other, listener, second)
    return listener.model_copy(update={"second_certificate" if second else "certificate": name})


def _other_type(
    document: Document, profile: Certificate, other: str, listener: Listener, second: bool
) -> None:
    kind = key_type(opened(profile).leaf)
    if kind != key_type(opened(find(document, other)).leaf):
        return
    remedy = (
        "Use --sni, or assign it as the first"
        if second
        else f"Take {other} off first: 'certconfig assign {other} listener:{listener.name} --second --remove'"
    )
    raise CommandFailed(
        f"{profile.name} and {other} both have {kind} keys, and a listener shows one of each kind. " + remedy
    )


def _taken_off(
    document: Document, listener: Listener, profile: Certificate, place: tuple[bool, bool]
) -> Listener:
    """Out of the place that is named, or of all. Raises CommandFailed when it is not there."""
    second, sni = place
    name = profile.name
    update: dict[str, object] = {}
    if not second and name in listener.sni_certificates:
        update["sni_certificates"] = tuple(entry for entry in listener.sni_certificates if entry != name)
    if not sni and listener.second_certificate == name:
        update["second_certificate"] = None
    if not (second or sni) and listener.certificate == name:
        update["certificate"] = _fallback(document, listener, name)
        if update["certificate"] == listener.second_certificate:
            update["second_certificate"] = None
    if not update:
        raise CommandFailed(
            f"Listener {listener.name} does not use {name} so. 'certconfig print' shows what is used"
        )
    return listener.model_copy(update=update)


def _fallback(document: Document, listener: Listener, name: str) -> str:
    """What a listener uses whose certificate was taken off: its second one, else the demonstration's."""
    if listener.second_certificate is not None:
        return listener.second_certificate
    if is_demo(name) or document.certificate(DEMO) is None:
        raise CommandFailed(
            f"Listener {listener.name} needs a certificate. Assign another one to it, which takes the place "
            f"of {name}"
        )
    return DEMO


def _warnings(
    ctx: Context, document: Document, listener: Listener, profile: Certificate, *, remove: bool, sni: bool
) -> list[Problem]:
    """What clients of the listener will not like about what it uses now."""
    shown = find(document, listener.certificate) if remove else profile
    return _dates(ctx, shown, document.listener_hostname(listener), named=not (sni or remove))


def _dates(ctx: Context, shown: Certificate, hostname: str, *, named: bool) -> list[Problem]:
    """What clients that come to `hostname` will not like about a certificate; `named`: its names too."""
    now = ctx.services.now()
    bundle = opened(shown)
    if is_demo(shown.name):
        return demo_problems(bundle.leaf, now)
    found = judge_dates(bundle.leaf, now)
    if awaiting(shown, bundle.leaf):
        text = (
            f"{shown.name} is self-signed until the authority's answer has come: peers that verify refuse it."
        )
        found.append(warning("self-signed", text, f"Then 'certconfig replace {shown.name} FILE'."))
    if named and not _covers(bundle, hostname):
        text = f"The names of {shown.name} do not include {hostname}, the name that clients know it by."
        found.append(
            warning("other-name", text, "Use a certificate for that name, or set the service's hostname.")
        )
    return found


def _covers(bundle: Bundle, hostname: str) -> bool:
    names = server_names(bundle.leaf)
    return hostname in names or "*." + hostname.partition(".")[2] in names
