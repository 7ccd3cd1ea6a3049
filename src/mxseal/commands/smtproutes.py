"""SMTP routes: the next hops of mail to a domain, in the place of its mail exchangers (reference §6)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from mxseal.commands.certificates import Listing, candidate
from mxseal.commands.context import CommandFailed, Context
from mxseal.commands.parameters import Argument, FileText, Option, OutputFile
from mxseal.commands.registry import command
from mxseal.commands.results import Column, File, Problems, Result
from mxseal.commands.staging import stage
from mxseal.commands.words import nearest
from mxseal.config.check import Problem
from mxseal.config.model import Document
from mxseal.config.toml import from_plain
from mxseal.relay.routing import Routing

GROUPS = {"smtproutes": "The next hops of mail to a domain, in the place of its mail exchangers"}
_ALL = "all"
_HOSTS = "A next hop, host or host:port, [v6]:port; several are tried in this order"
Routes = dict[str, tuple[str, ...]]

Hosts = Annotated[
    list[str],
    Argument(_HOSTS, metavar="HOST[:PORT]", ask="Enter the next hops, in the order in which to try them:"),
]


def route_names(ctx: Context) -> list[str]:
    return list(candidate(ctx).smtp_routes)


Domain = Annotated[
    str, Argument("Domain of the route", complete=route_names, ask="The route of which domain:")
]


def _made(domain: str, hosts: Sequence[str]) -> Routes | list[Problem]:
    """One route in canonical form, or all that is wrong with it."""
    found = from_plain({"smtp_routes": {domain.strip(): list(hosts)}})
    return found if isinstance(found, list) else found.smtp_routes


def _known(document: Document, domain: str) -> str:
    """The domain of a route as it was typed. Raises CommandFailed."""
    found = _made(domain, ())
    if isinstance(found, list):
        raise CommandFailed(found[0].text, 2)
    (wanted,) = found
    if wanted in document.smtp_routes:
        return wanted
    near = nearest(wanted, document.smtp_routes)
    hint = f"Did you mean {near}?" if near else f"'smtproutes new {domain} HOST' makes one."
    raise CommandFailed(f"There is no route for {domain}. {hint}")


def _with(document: Document, routes: Routes) -> Document:
    return document.model_copy(update={"smtp_routes": routes})


def _facts(domain: str, hosts: Sequence[str]) -> dict[str, Any]:
    return {"domain": domain, "hosts": list(hosts)}


def _now(document: Document, domain: str) -> str:
    """How mail to the domain of a deleted route leaves."""
    if domain == _ALL:
        return "Mail without a route of its own now goes to the mail exchangers (MX) of its domain."
    hops = Routing(document).target(domain.removeprefix(".")).hosts
    if not hops:
        return "Its mail now goes to the domain's mail exchangers (MX)."
    shown = ", ".join(f"{host} port {port}" for host, port in hops)
    return f"Its mail now goes to {shown}, as another route says."


@command("smtproutes", "list", role="read-only", summary="List the SMTP routes")
def smtproutes_list(ctx: Context) -> Result:
    """With your uncommitted changes. The most exact route counts: that of the domain itself, then '.domain'
    of those above it, then 'all'."""
    routes = candidate(ctx).smtp_routes
    rest = (
        "Mail to other domains takes the route of 'all'."
        if _ALL in routes
        else "Mail to other domains goes to the domain's mail exchangers (MX)."
    )
    return Listing(
        (Column("Domain", cut=40), Column("Next hops, in order", "hosts")),
        tuple((domain, ", ".join(hosts)) for domain, hosts in routes.items()),
        title="SMTP routes",
        empty="There is no route: all mail goes to the mail exchangers (MX) of its domain.",
        note=rest if routes else "",
        facts=tuple(_facts(domain, hosts) for domain, hosts in routes.items()),
    )


@command("smtproutes", "new", role="operator", summary="Add the route for a domain")
def smtproutes_new(
    ctx: Context,
    domain: Annotated[
        str,
        Argument(
            "A domain, '.domain' for its sub-domains, or 'all'",
            ask="Enter the domain for which you want to set up a permanent route.",
        ),
    ],
    hosts: Hosts,
) -> Result:
    """The port is 25 where none is written. A next hop may be a name or an address; it may lie inside your
    own network."""
    document = candidate(ctx)
    made = _made(domain, hosts)
    if isinstance(made, list):
        return Problems(f"No route for {domain} was made", tuple(made))
    ((name, hops),) = made.items()
    if name in document.smtp_routes:
        raise CommandFailed(f"There is a route for {name} already. 'smtproutes edit {name} HOST' changes it")
    document = _with(document, {**document.smtp_routes, name: hops})
    return stage(ctx, document, f"The route for {name} was added.", _facts(name, hops))


def _present(ctx: Context, given: Mapping[str, Any]) -> Mapping[str, Any]:
    document = candidate(ctx)
    return {"hosts": document.smtp_routes[_known(document, given["domain"])]}


@command(
    "smtproutes",
    "edit",
    role="operator",
    summary="Give the route of a domain other next hops",
    present=_present,
)
def smtproutes_edit(ctx: Context, domain: Domain, hosts: Hosts) -> Result:
    """The hosts that are written take the place of all that the route had."""
    document = candidate(ctx)
    name = _known(document, domain)
    made = _made(name, hosts)
    if isinstance(made, list):
        return Problems(f"The route for {name} is as it was", tuple(made))
    document = _with(document, {**document.smtp_routes, **made})
    return stage(ctx, document, f"The route for {name} was changed.", _facts(name, made[name]))


@command("smtproutes", "delete", role="operator", summary="Remove the route for a domain")
def smtproutes_delete(ctx: Context, domain: Domain) -> Result:
    """Its mail then takes the next less exact route, in the end the way of the MX records."""
    document = candidate(ctx)
    name = _known(document, domain)
    document = _with(document, {each: hops for each, hops in document.smtp_routes.items() if each != name})
    return stage(ctx, document, f"The route for {name} was deleted.", {"domain": name}, _now(document, name))


@command("smtproutes", "clear", role="operator", summary="Remove all routes")
def smtproutes_clear(ctx: Context) -> Result:
    """All mail then goes to the mail exchangers (MX) of its domain."""
    document = candidate(ctx)
    count = len(document.smtp_routes)
    if not count:
        raise CommandFailed("There is no route. Nothing was changed")
    return stage(ctx, _with(document, {}), f"{_routes(count)} deleted.", {"deleted": count})


# --- files ------------------------------------------------------------------------------------------------


@command("smtproutes", "export", role="read-only", summary="Write all routes to a file")
def smtproutes_export(
    ctx: Context,
    file: Annotated[OutputFile, Argument("File to write; it must not exist yet", ask="File name:")],
) -> Result:
    """With your uncommitted changes. 'smtproutes import' reads it."""
    routes = candidate(ctx).smtp_routes
    text = "".join(f"{' '.join((domain, *hosts))}\n" for domain, hosts in routes.items())
    head = "# One SMTP route on each line: domain, next hops in their order\n"
    return File(file.path, (head + text).encode(), f"{_routes(len(routes))} written to {file.path}.")


@command("smtproutes", "import", role="operator", summary="Read routes from a file")
def smtproutes_import(
    ctx: Context,
    file: Annotated[FileText, Argument("Text file, '-' for standard input", ask="File name:")],
    *,
    merge: Annotated[bool, Option("Keep routes for domains that the file does not have")] = False,
) -> Result:
    """One route on each line, as 'smtproutes new' takes it: the domain, then its next hops with spaces
    between them. Lines that begin with '#' are left out. The file takes the place of all routes; a file with
    mistakes is not taken, and all of them are shown with their lines."""
    document = candidate(ctx)
    found = _read(file.text)
    if isinstance(found, list):
        return Problems(f"{file.path} was not imported", tuple(found))
    if not found:
        raise CommandFailed(f"{file.path} has no route. Nothing was changed; 'smtproutes clear' removes all")
    before = document.smtp_routes
    kept = {domain: hops for domain, hops in before.items() if merge or domain in found}
    facts = {
        "added": [domain for domain in found if domain not in before],
        "changed": [domain for domain in found if domain in before and before[domain] != found[domain]],
        "removed": [domain for domain in before if domain not in kept],
    }
    told = ", ".join(f"{len(domains)} {what}" for what, domains in facts.items())
    message = f"{_routes(len(found))} read from {file.path}: {told}."
    return stage(ctx, _with(document, {**kept, **found}), message, facts)


def _read(text: str) -> Routes | list[Problem]:
    """The routes of a file, or all that is wrong with it, by line."""
    routes: Routes = {}
    lines: dict[str, int] = {}
    problems: list[Problem] = []
    for number, line in enumerate(text.splitlines(), 1):
        domain, *hosts = line.replace(",", " ").split() or [""]
        if not domain or domain.startswith("#"):
            continue
        made = _line(f"line {number}", domain, hosts)
        if isinstance(made, list):
            problems += made
            continue
        ((name, hops),) = made.items()
        if name in lines:
            again = f"{name} stands on line {lines[name]} already"
            problems.append(Problem(f"line {number}", again, "Merge the two"))
        lines.setdefault(name, number)
        routes[name] = hops
    return problems or routes


def _line(place: str, domain: str, hosts: Sequence[str]) -> Routes | list[Problem]:
    if not hosts:
        remedy = "Write it behind the domain, such as mail.example.com:25"
        return [Problem(place, f"the route for {domain} has no next hop", remedy)]
    made = _made(domain, hosts)
    if isinstance(made, list):
        return [Problem(place, problem.text, problem.remedy) for problem in made]
    return made


def _routes(count: int) -> str:
    return f"{count} route{' was' if count == 1 else 's were'}"
