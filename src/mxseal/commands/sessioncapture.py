"""`sessioncapture`: the next connection of a peer as a file that Wireshark opens, decrypted.

Recorded by the gateway itself, from its own bytes: no rights of the system are needed.
"""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import msgspec

from mxseal.capture.orders import Direction, network, tidy
from mxseal.commands.certificates import Listing, Sheet, iso
from mxseal.commands.context import CommandFailed, Context
from mxseal.commands.parameters import Argument, Option, OutputFile
from mxseal.commands.registry import command
from mxseal.commands.results import Column, Done, Field, File, Result
from mxseal.config.values import domain_name
from mxseal.relay.recordings import Armed, RecordingRefused
from mxseal.storage.captures import About
from mxseal.storage.ports import StorageRefused

GROUPS = {"sessioncapture": "Record single connections, to be read with Wireshark"}
KIND = "session"
_MOST_COUNT = 8
_MOST_MINUTES = 24 * 60
_ALL = "all"


def recording_names(ctx: Context) -> list[str]:
    return [about.name for about in _kept(ctx)]


def order_names(ctx: Context) -> list[str]:
    return [armed.order.name for armed in ctx.services.captures.armed()]


def listener_names(ctx: Context) -> list[str]:
    return [listener.name for listener in ctx.services.history.current().document.listeners]


def profile_names(ctx: Context) -> list[str]:
    return [profile.name for profile in ctx.services.history.current().document.ldap_profiles]


def server_names(ctx: Context) -> list[str]:
    return [server.name for server in ctx.services.history.current().document.analysis_servers]


Name = Annotated[str, Argument("Name of the recording, as 'list' shows it", complete=recording_names)]


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """Which connections."""

    domain: Annotated[
        str | None, Option("A domain: mail to it, mail from it, hosts whose name is in it", metavar="DOMAIN")
    ] = None
    host: Annotated[str | None, Option("A host by name, an IP address or a network", metavar="HOST")] = None
    next_icid: Annotated[bool, Option("The next incoming connection, whoever it is from")] = False
    ldap: Annotated[
        str | None,
        Option("A profile of directory servers (ldapconfig)", complete=profile_names, metavar="PROFILE"),
    ] = None
    analysis: Annotated[
        str | None,
        Option("A server that analyses files (ampconfig)", complete=server_names, metavar="SERVER"),
    ] = None
    listener: Annotated[
        str | None, Option("Only incoming connections of this listener", complete=listener_names)
    ] = None
    only: Annotated[Direction | None, Option("Only incoming connections, or only deliveries")] = None


@command(
    "sessioncapture", "arm", role="administrator", summary="Record the next connection of a host or domain"
)
def sessioncapture_arm(
    ctx: Context,
    *,
    which: Wanted,
    count: Annotated[int, Option("So many connections", least=1, most=_MOST_COUNT)] = 1,
    with_content: Annotated[
        bool, Option("Also what stands behind DATA and in AUTH; else it is left out for good")
    ] = False,
    minutes: Annotated[int, Option("For so long it is waited", least=1, most=_MOST_MINUTES)] = 30,
) -> Result:
    """Say which connection: --domain, --host, --next-icid, --ldap or --analysis. The recording is stored when
    the connection ends; 'sessioncapture list' shows it then, and 'sessioncapture download' gives a pcapng
    file that Wireshark and tshark open decrypted. Connections that are open already are not recorded. A
    restart of the gateway disarms.

    Example: sessioncapture arm --domain example.com --only delivery
    """
    wanted = _wanted(ctx, which) | {"count": count, "content": with_content}
    try:
        order = ctx.services.captures.arm(ctx.user, minutes * 60.0, **wanted)
    except RecordingRefused as refused:
        raise CommandFailed(str(refused)) from None
    many = "connection is" if count == 1 else f"{count} connections are"
    content = "with message content" if with_content else "without message content"
    return Done(
        f"The next {many} recorded {content}: {order.wanted()}, until {iso(order.until)}. "
        f"'sessioncapture disarm {order.name}' takes it back.",
        _armed_facts(Armed(order, 0, 0)),
    )


def _wanted(ctx: Context, which: Wanted) -> dict[str, Any]:
    """The fields of an order that say which connections."""
    ways = [which.domain, which.host, which.ldap, which.analysis, which.next_icid or None]
    if ways.count(None) != len(ways) - 1:
        listed = "--domain, --host, --next-icid, --ldap and --analysis"
        raise CommandFailed(f"Say which connection: one of {listed}", 2)
    if which.ldap is not None and (which.only or which.listener):
        raise CommandFailed("A connection to a directory has no listener and no direction", 2)
    if which.analysis is not None and (which.only or which.listener):
        raise CommandFailed("A connection to an analysis server has no listener and no direction", 2)
    if which.only == "delivery" and (which.next_icid or which.listener is not None):
        raise CommandFailed("A delivery has no ICID and no listener: leave --only delivery out", 2)
    wanted: dict[str, Any] = {"only": which.only, "next_icid": which.next_icid}
    if which.domain is not None:
        wanted["domain"] = _domain(which.domain)
    if which.host is not None:
        host = which.host.strip()
        wanted["host"] = host if network(host) is not None else _domain(host)
    if which.ldap is not None:
        known = {each.lower(): each for each in profile_names(ctx)}
        if which.ldap.lower() not in known:
            listed = ", ".join(known.values()) or "none"
            raise CommandFailed(f"There is no LDAP profile {which.ldap}. There are: {listed}")
        wanted["ldap"] = known[which.ldap.lower()]
    if which.analysis is not None:
        known = {each.lower(): each for each in server_names(ctx)}
        if which.analysis.lower() not in known:
            listed = ", ".join(known.values()) or "none"
            raise CommandFailed(f"There is no analysis server {which.analysis}. There are: {listed}")
        wanted["analysis"] = known[which.analysis.lower()]
    if which.listener is not None:
        wanted["listener"] = _listener(ctx, which.listener)
    return wanted


def _domain(text: str) -> str:
    try:
        if tidy(text).rpartition(".")[2].isdigit():
            raise ValueError("that is an address with a mistake in it")
        return domain_name(tidy(text))
    except ValueError as error:
        raise CommandFailed(f"{text} is no name of a host or domain: {error}", 2) from None


def _listener(ctx: Context, name: str) -> str:
    known = {each.lower(): each for each in listener_names(ctx)}
    if name.lower() not in known:
        raise CommandFailed(f"There is no listener {name}. There are: {', '.join(known.values()) or 'none'}")
    return known[name.lower()]


@command("sessioncapture", "status", role="administrator", summary="Show what is armed")
def sessioncapture_status(ctx: Context) -> Result:
    """Until when it waits, how many connections are being recorded and how many were."""
    captures = ctx.services.captures
    facts = tuple(_armed_facts(armed) for armed in captures.armed())
    columns = (
        Column("No", "number"), Column("Wanted"), Column("Content"), Column("Count"), Column("Recording"),
        Column("Done"), Column("Until"), Column("User"),
    )  # fmt: skip
    rows = tuple(
        (
            each["number"], each["wanted"], "yes" if each["content"] else "no", each["count"],
            each["recording"], each["done"], each["until"], each["user"],
        )
        for each in facts
    )  # fmt: skip
    note = f"Recordings take {captures.store.used()} bytes on disk."
    return Listing(columns, rows, title="Armed", empty="Nothing is armed.", note=note, facts=facts)


def _armed_facts(armed: Armed) -> dict[str, Any]:
    order = armed.order
    return {
        "number": order.name,
        "wanted": order.wanted(),
        "content": order.content,
        "count": order.count,
        "recording": armed.running,
        "done": armed.done,
        "armed_at": iso(order.armed_at),
        "until": iso(order.until),
        "user": order.user,
    }


@command("sessioncapture", "list", role="administrator", summary="List the recordings")
def sessioncapture_list(ctx: Context) -> Result:
    """Newest last. They are deleted after keep_days of [captures]."""
    facts = tuple(_facts(about) for about in _kept(ctx))
    columns = (
        Column("Name"), Column("Made at"), Column("Number"), Column("Peer"), Column("Content"),
        Column("Bytes"), Column("User"),
    )  # fmt: skip
    rows = tuple(
        (
            each["name"], each["made_at"], each["number"], each["peer"], "yes" if each["content"] else "no",
            each["bytes"], each["user"],
        )
        for each in facts
    )  # fmt: skip
    empty = "There is no recording. 'sessioncapture arm' waits for the next connection."
    return Listing(columns, rows, title="Recordings", empty=empty, facts=facts)


def _kept(ctx: Context) -> list[About]:
    return [about for about in ctx.services.captures.kept() if about.kind == KIND]


def _facts(about: About) -> dict[str, Any]:
    return {
        "name": about.name,
        "made_at": iso(about.made_at),
        "number": about.number,
        "peer": about.peer,
        "content": about.content,
        "bytes": about.size,
        "user": about.user,
        "wanted": about.wanted,
        "remarks": list(about.remarks),
    }


@command("sessioncapture", "show", role="administrator", summary="Show what a recording is of")
def sessioncapture_show(ctx: Context, name: Name) -> Result:
    """Which connection, who asked for it, and what the file says about itself."""
    facts = _facts(_found(ctx, name))
    labels = {
        "name": "Name", "made_at": "Made at", "number": "Connection", "peer": "Peer", "content": "Content",
        "bytes": "Bytes", "user": "Armed by", "wanted": "Wanted",
    }  # fmt: skip
    shown = facts | {"content": "yes" if facts["content"] else "left out"}
    fields = [Field(label, shown[key], key) for key, label in labels.items()]
    fields += [Field("Remark", remark) for remark in facts["remarks"]]
    return Sheet(tuple(fields), facts=facts)


def _found(ctx: Context, name: str) -> About:
    about = ctx.services.captures.store.find(name)
    if about is None or about.kind != KIND:
        raise CommandFailed(f"There is no recording {name}. 'sessioncapture list' shows what there is")
    return about


@command("sessioncapture", "download", role="administrator", summary="Get a recording as a pcapng file")
async def sessioncapture_download(
    ctx: Context,
    name: Name,
    file: Annotated[OutputFile, Argument("File to write; it must not exist yet", ask="File name:")],
) -> Result:
    """The file holds the secrets that open what is in it: who has it reads it. Delete it when it is read."""
    about = _found(ctx, name)
    try:
        content = await asyncio.to_thread(ctx.services.captures.store.read, about.name)
    except StorageRefused as refused:
        raise CommandFailed(f"The recording can't be read: {refused}") from None
    what = "with message content" if about.content else "without message content"
    return File(file.path, content, f"{about.number} was written to {file.path}, {what}.", private=True)


@command("sessioncapture", "disarm", role="administrator", summary="Take back what is armed")
def sessioncapture_disarm(
    ctx: Context,
    number: Annotated[str, Argument("Its number, as 'status' shows it; all", complete=order_names)] = _ALL,
) -> Result:
    """What is being recorded for it ends here and is kept as far as it is."""
    captures = ctx.services.captures
    names = order_names(ctx) if number.lower() == _ALL else [number]
    gone = [order for name in names if (order := captures.disarm(name)) is not None]
    if not gone and number.lower() != _ALL:
        raise CommandFailed(f"Nothing is armed under {number}. 'sessioncapture status' shows what is")
    told = "; ".join(order.wanted() for order in gone)
    return Done(f"Disarmed: {told}." if gone else "Nothing was armed.", {"disarmed": [o.name for o in gone]})


@command("sessioncapture", "delete", role="administrator", summary="Remove a recording")
def sessioncapture_delete(
    ctx: Context,
    name: Annotated[str, Argument("Name of the recording; all", complete=recording_names)],
) -> Result:
    names = recording_names(ctx) if name.lower() == _ALL else [_found(ctx, name).name]
    gone = [each for each in names if ctx.services.captures.store.delete(each)]
    return Done(f"{len(gone)} deleted: {', '.join(gone)}." if gone else "There was none.", {"deleted": gone})
