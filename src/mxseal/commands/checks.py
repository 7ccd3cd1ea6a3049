"""Testing TLS: `tlsverify` as the reference has it (§6.3), `testreceiver` for a domain's servers (§11.1)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Any, Self

import msgspec

from mxseal.clock import SystemClock
from mxseal.commands.certificate_trust import trusted
from mxseal.commands.context import CommandFailed, Context, Role
from mxseal.commands.parameters import Argument, Option
from mxseal.commands.registry import UsageFault, command
from mxseal.commands.results import Result, Stream
from mxseal.commands.running import NOT_ALLOWED
from mxseal.config.model import Document
from mxseal.config.values import domain_name, split_host_port
from mxseal.examine.certificates import is_address
from mxseal.examine.own import interface_names, is_own
from mxseal.examine.receiver import SMTP, Examination, NoPlace, Wish, named, outside, places
from mxseal.examine.render import as_data, as_text
from mxseal.examine.report import DomainReport
from mxseal.examine.score import SECURE
from mxseal.examine.stages import Trust
from mxseal.examine.talk import Manners, Place
from mxseal.examine.verify import Verifying
from mxseal.relay.routing import Routing
from mxseal.tls.contexts import ClientTls, ContextProblem, client_context
from mxseal.tls.profiles import chosen

_TESTERS: tuple[Role, ...] = ("operator", "certificate-officer")
EVERY_CIPHER = "ALL:COMPLEMENTOFALL"


class Piece(str):
    """A piece of output, with what programs get in its place."""

    value: Any

    def __new__(cls, text: str, value: Any) -> Self:
        piece = super().__new__(cls, text)
        piece.value = value
        return piece


def _value(chunk: str) -> Any:
    return chunk.value if isinstance(chunk, Piece) else {"line": chunk.rstrip("\n")}


async def _trust(document: Document, values: ClientTls) -> Trust:
    """The trust lists of deliveries, in a context with the versions and ciphers of `values`."""
    lists = document.trust
    authorities = tuple(entry.certificate for entry in lists.authorities) if lists.custom else ()
    values = msgspec.structs.replace(
        values,
        trust=document.delivery.ca_file,
        system=lists.system,
        authorities=authorities,
        post_quantum=document.delivery.post_quantum,
    )
    try:
        return Trust(context=client_context(values), roots=await trusted(document))
    except ContextProblem as problem:
        raise CommandFailed(str(problem)) from None


def _manners(document: Document, **limits: Any) -> Manners:
    hostname = document.delivery.hostname or document.hostname
    return Manners(
        hello=hostname,
        sender=f"postmaster@{hostname}",
        source=document.delivery.source_address,
        **limits,
    )


def _host_port(ctx: Context, text: str) -> tuple[str, int]:
    """Raises CommandFailed for what is no host, and for a port that not everybody may connect to."""
    try:
        host, port = split_host_port(text, SMTP)
    except ValueError as fault:
        raise CommandFailed(str(fault), 2) from None
    if port != SMTP and ctx.role != "administrator":
        # Otherwise this gateway would look into its network for whoever may test.
        raise CommandFailed(
            f"Only an administrator may test another port than {SMTP}; your role is {ctx.role}", NOT_ALLOWED
        )
    return host, port


async def _place(ctx: Context, host: str, port: int) -> Place:
    """A host that the caller wrote. Only administrators, who may write routes, reach into this machine."""
    if ctx.role == "administrator":
        return await named(ctx.services.resolver, host, port)
    return await outside(ctx.services.resolver, host, None)


# --- tlsverify --------------------------------------------------------------------------------------------

_DOMAIN = "Enter the TLS domain to verify against:"
_HOST = (
    "Enter the destination host to connect to.  Append the port (example.com:26) if you are\n"
    "not connecting on port 25:"
)


@command(
    "tlsverify",
    role=_TESTERS,
    summary="Connect to a mail server with TLS and verify its certificate",
    streams=True,
)
async def tlsverify(
    ctx: Context,
    domain: Annotated[str, Argument("The domain whose mail the server takes; without it you are asked")] = "",
    host: Annotated[
        str, Argument("The server, with its port if that is not 25; else where the domain's mail goes")
    ] = "",
) -> Result:
    """What a delivery at the level required-verify would find, with this gateway's trust list and the
    identity rules "Verify": alternative names against the domain, the common name against the domain or the
    name that the server's address has. Nothing is sent. The status is 1 when it is not verified.

    Example: tlsverify example.com mx1.example.com:25
    """
    if not domain:
        if not ctx.client.interactive:
            raise UsageFault("Missing: DOMAIN. 'help tlsverify' shows how it is used.")
        domain = (await ctx.client.ask(_DOMAIN, "")).strip()
        host = (await ctx.client.ask(_HOST, domain)).strip()
    try:
        domain = domain_name(domain)
    except ValueError as fault:
        raise CommandFailed(str(fault), 2) from None
    document = ctx.services.history.current().document
    found = await _destination(ctx, document, domain, host)
    settings = document.ssl.outbound
    ours = chosen("outbound", settings.profile, settings.protocols, settings.ciphers)
    values = ClientTls(min_version=ours.lowest, max_version=ours.highest, ciphers=ours.ciphers)
    trust = await _trust(document, values)
    verifying = Verifying(domain, _manners(document), trust, ctx.services.resolver, SystemClock())
    return Stream(_lines(verifying, found), _value)


async def _destination(ctx: Context, document: Document, domain: str, host: str) -> tuple[Place, ...]:
    """The host that was named; else the way of the domain's mail: an SMTP route, its MX records."""
    if host and host.lower().rstrip(".") != domain:
        return (await _place(ctx, *_host_port(ctx, host)),)
    route = Routing(document).target(domain).hosts
    if route:
        return tuple([await named(ctx.services.resolver, *hop) for hop in route])
    return await _places(ctx, domain)


async def _places(ctx: Context, domain: str) -> tuple[Place, ...]:
    try:
        return await places(ctx.services.resolver, domain)
    except NoPlace as fault:
        raise CommandFailed(str(fault)) from None


async def _lines(verifying: Verifying, found: tuple[Place, ...]) -> AsyncIterator[str]:
    async for line in verifying.run(found):
        if isinstance(line, str):
            yield f"{line}\n"
            continue
        yield Piece("", {"outcome": msgspec.to_builtins(line)})
        if not line.verified:
            raise CommandFailed((line.why or "No server could be reached").rstrip("."))


# --- testreceiver -----------------------------------------------------------------------------------------


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """The options of `testreceiver`."""

    dialogue: Annotated[bool, Option("Also show all that was said")] = False
    versions: Annotated[bool, Option("Also find out the TLS versions and ciphers, with more connections")] = (
        False
    )
    assure: Annotated[bool, Option("Ignore TLS, and pass when every server refuses clear text")] = False
    own: Annotated[bool, Option("Compare with this gateway's names, as for a domain of its own")] = False
    host: Annotated[bool, Option("Test the host itself, whatever MX records it has")] = False
    connections: Annotated[int, Option("At most so many connections to one server", least=1, most=200)] = 80
    pause: Annotated[float, Option("Seconds between two connections to one server", least=0, most=60)] = 0.02


@command(
    "testreceiver",
    role=_TESTERS,
    summary="Test the TLS of all mail servers of a domain, or of one host",
    streams=True,
)
async def testreceiver(
    ctx: Context,
    subject: Annotated[
        str, Argument("A domain, or a host with its port if that is not 25", metavar="DOMAIN|HOST[:PORT]")
    ],
    *,
    options: Options,
) -> Result:
    """Each server is asked as a sender would, up to MAIL FROM; no message is sent. A server that puts us off
    (4xx, greylisting) is untested, and 'no TLS' is said only of one that was heard to have none. For a
    domain of this gateway the three names that must agree are compared. The status is 0 for a score of
    90 and more, and for --assure when clear text is refused everywhere.
    """
    document = ctx.services.history.current().document
    host, port = _host_port(ctx, subject)
    if port != SMTP or options.host or is_address(host):
        found: tuple[Place, ...] = (await _place(ctx, host, port),)
    else:
        found = await _places(ctx, host)
    own = options.own or is_own(document, host)
    wish = Wish(
        subject=host,
        versions=options.versions,
        assure=options.assure,
        interfaces=interface_names(document) if own and not options.assure else None,
    )
    values = ClientTls(min_version="TLSv1", ciphers=EVERY_CIPHER)
    manners = _manners(document, connections=options.connections, pause_seconds=options.pause)
    examination = Examination(wish, manners, await _trust(document, values), SystemClock())
    return Stream(_told(examination, found, options.dialogue), _value)


async def _told(examination: Examination, found: tuple[Place, ...], dialogue: bool) -> AsyncIterator[str]:
    async for item in examination.run(found):
        if isinstance(item, str):
            yield Piece(f"{item}\n", {"progress": item})
            continue
        yield Piece(as_text(item, dialogue=dialogue), {"report": as_data(item, dialogue=dialogue)})
        if problem := _shortfall(item):
            raise CommandFailed(problem)


def _shortfall(report: DomainReport) -> str:
    """Why the command ends with status 1, '' when it does not."""
    value, subject = report.score.value, report.subject
    if value is None:
        return f"{subject} could not be tested"
    if report.kind == "assure":
        return "" if value == 100 else f"{subject} takes mail in clear text"
    return "" if value >= SECURE else f"{subject} has {value} of 100; {SECURE} and more count as secure"
