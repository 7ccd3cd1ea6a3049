"""`packetcapture`: packets of an interface, as the system's tcpdump sees them; bounded."""

from __future__ import annotations

import asyncio
import re
import socket
from typing import Annotated, Any

import msgspec

from mxseal.capture.orders import network
from mxseal.commands.certificates import Listing, Sheet, iso
from mxseal.commands.context import CommandFailed, Context
from mxseal.commands.parameters import Argument, Option, OutputFile
from mxseal.commands.registry import command
from mxseal.commands.results import Column, Done, Field, File, Result
from mxseal.relay.packets import KIND, Filter, PacketsRefused, Running
from mxseal.relay.recordings import RecordingRefused
from mxseal.storage.captures import About
from mxseal.storage.ports import StorageRefused

GROUPS = {"packetcapture": "Capture packets of an interface with the system's tcpdump"}
_INTERFACE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:@-]{0,31}")
_ANY, _ALL = "any", "all"
_MOST_FILTERS = 20


def interface_names(_ctx: Context) -> list[str]:
    return [_ANY, *(name for _, name in socket.if_nameindex())]


def capture_names(ctx: Context) -> list[str]:
    return [about.name for about in _kept(ctx)]


Name = Annotated[str, Argument("Name of the capture, as 'list' shows it", complete=capture_names)]


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Which packets, and how many."""

    ip: Annotated[
        tuple[str, ...], Option("Only packets from or to these addresses or networks", metavar="ADDRESS")
    ] = ()
    port: Annotated[tuple[int, ...], Option("Only packets from or to these ports", least=1, most=65_535)] = ()
    interface: Annotated[str, Option("Network interface; any: all of them", complete=interface_names)] = _ANY
    size: Annotated[int, Option("It ends with so many MiB", least=1, most=64)] = 8
    minutes: Annotated[int, Option("It ends after so many minutes", least=1, most=120)] = 10


@command("packetcapture", "start", role="administrator", summary="Begin to capture packets")
async def packetcapture_start(ctx: Context, *, limits: Limits) -> Result:
    """Needs the system's tcpdump and the right to read packets; what is missing is said. What is encrypted on
    the wire stays encrypted: 'sessioncapture' opens it. What is not is there in full, message content too.

    Example: packetcapture start --ip 192.0.2.7 --port 25 --minutes 5
    """
    wanted = Filter(
        interface=_interface(ctx, limits.interface),
        networks=tuple(_network(text) for text in limits.ip[:_MOST_FILTERS]),
        ports=tuple(limits.port[:_MOST_FILTERS]),
        size=limits.size << 20,
        seconds=limits.minutes * 60.0,
    )
    try:
        running = await ctx.services.packets.start(wanted, ctx.user)
    except (PacketsRefused, RecordingRefused) as refused:
        raise CommandFailed(str(refused)) from None
    return Done(
        f"Packets are captured: {wanted.wanted()}, until {iso(running.until)} or {limits.size} MiB. "
        "'packetcapture stop' ends it.",
        _running_facts(running),
    )


def _interface(ctx: Context, name: str) -> str:
    if name not in interface_names(ctx) or not _INTERFACE.fullmatch(name):
        raise CommandFailed(f"There is no interface {name}. There are: {', '.join(interface_names(ctx))}")
    return name


def _network(text: str) -> str:
    found = network(text.strip())
    if found is None:
        raise CommandFailed(f"{text} is no IP address and no network such as 192.0.2.0/24", 2)
    return str(found)


@command("packetcapture", "stop", role="administrator", summary="End the capture of packets and keep it")
async def packetcapture_stop(ctx: Context) -> Result:
    """What was captured so far is kept: 'packetcapture list' shows it."""
    packets = ctx.services.packets
    if packets.running() is None:
        raise CommandFailed("No packets are being captured")
    about = await packets.stop()
    if about is None:
        raise CommandFailed(f"The capture could not be kept: {packets.last_problem}")
    return Done(f"{about.name} has {about.size} bytes.", _facts(about))


@command("packetcapture", "status", role="administrator", summary="Show whether packets are captured")
def packetcapture_status(ctx: Context) -> Result:
    """Which, since when, until when, how many bytes."""
    running = ctx.services.packets.running()
    if running is None:
        facts: dict[str, Any] = {"running": False, "problem": ctx.services.packets.last_problem}
        told = "no" if not facts["problem"] else f"no; the last could not be kept: {facts['problem']}"
        return Sheet((Field("Running", told),), facts=facts)
    facts = _running_facts(running)
    labels = {"wanted": "Packets", "since": "Since", "until": "Until", "bytes": "Bytes", "user": "User"}
    fields = [Field("Running", "yes"), *(Field(label, facts[key], key) for key, label in labels.items())]
    return Sheet(tuple(fields), facts=facts)


def _running_facts(running: Running) -> dict[str, Any]:
    return {
        "running": True,
        "wanted": running.filter.wanted(),
        "since": iso(running.began),
        "until": iso(running.until),
        "bytes": running.size,
        "most_bytes": running.filter.size,
        "user": running.user,
    }


@command("packetcapture", "list", role="administrator", summary="List the captures of packets")
def packetcapture_list(ctx: Context) -> Result:
    """Newest last. They are deleted after keep_days of [captures]."""
    facts = tuple(_facts(about) for about in _kept(ctx))
    columns = (
        Column("Name"),
        Column("Made at"),
        Column("Packets", "wanted"),
        Column("Bytes"),
        Column("User"),
    )
    rows = tuple(tuple(each[key] for key in ("name", "made_at", "wanted", "bytes", "user")) for each in facts)
    empty = "There is no capture. 'packetcapture start' begins one."
    return Listing(columns, rows, title="Captures", empty=empty, facts=facts)


def _kept(ctx: Context) -> list[About]:
    return [about for about in ctx.services.captures.kept() if about.kind == KIND]


def _facts(about: About) -> dict[str, Any]:
    return {
        "name": about.name,
        "made_at": iso(about.made_at),
        "wanted": about.wanted,
        "bytes": about.size,
        "user": about.user,
    }


def _found(ctx: Context, name: str) -> About:
    about = ctx.services.captures.store.find(name)
    if about is None or about.kind != KIND:
        raise CommandFailed(f"There is no capture {name}. 'packetcapture list' shows what there is")
    return about


@command("packetcapture", "download", role="administrator", summary="Get a capture as a pcap file")
async def packetcapture_download(
    ctx: Context,
    name: Name,
    file: Annotated[OutputFile, Argument("File to write; it must not exist yet", ask="File name:")],
) -> Result:
    """Wireshark and tcpdump read it."""
    about = _found(ctx, name)
    try:
        content = await asyncio.to_thread(ctx.services.captures.store.read, about.name)
    except StorageRefused as refused:
        raise CommandFailed(f"The capture can't be read: {refused}") from None
    return File(file.path, content, f"{about.name} was written to {file.path}.", private=True)


@command("packetcapture", "delete", role="administrator", summary="Remove a capture of packets")
def packetcapture_delete(
    ctx: Context, name: Annotated[str, Argument("Name of the capture; all", complete=capture_names)]
) -> Result:
    names = capture_names(ctx) if name.lower() == _ALL else [_found(ctx, name).name]
    gone = [each for each in names if ctx.services.captures.store.delete(each)]
    return Done(f"{len(gone)} deleted: {', '.join(gone)}." if gone else "There was none.", {"deleted": gone})
