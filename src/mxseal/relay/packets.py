"""Packets as the system's tcpdump sees them: started with typed limits, read from a pipe, then sealed.

tcpdump writes no file and knows no shell; what it gives stays in memory, bounded, until it is sealed.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import time
from collections.abc import Sequence

import msgspec

from mxseal.clock import Clock, Timer
from mxseal.relay.recordings import Recordings
from mxseal.storage.captures import About
from mxseal.storage.ports import StorageRefused

_PLACES = "/usr/sbin:/usr/bin:/sbin:/bin"
_START_SECONDS = 10.0
_END_SECONDS = 5.0
_PIECE = 256 * 1024
_LISTENING = "listening on "
_NO_RIGHT = re.compile(r"permi(?:ssion|tted)|CAP_NET_RAW|not supported by protocol", re.IGNORECASE)
_UNPRIVILEGED = "nobody"
KIND = "packets"


class PacketsRefused(Exception):
    """It can't be done; the text is a sentence with the remedy."""


class Filter(msgspec.Struct, frozen=True, kw_only=True):
    """Which packets, and how many. Networks and ports are alternatives among themselves; all are checked."""

    interface: str
    networks: tuple[str, ...] = ()
    ports: tuple[int, ...] = ()
    size: int
    """Bytes."""
    seconds: float

    def expression(self) -> list[str]:
        """In tcpdump's words, as its arguments."""
        nets = " or ".join(f"net {network}" for network in self.networks)
        ports = " or ".join(f"port {port}" for port in self.ports)
        return " and ".join(f"( {part} )" for part in (nets, ports) if part).split()

    def wanted(self) -> str:
        """In words for people."""
        return " ".join([f"interface {self.interface}", *self.expression()])


class Running(msgspec.Struct, frozen=True, kw_only=True):
    """A capture that is going on."""

    filter: Filter
    user: str
    began: float
    until: float
    size: int


class Packets:
    """At most one capture at a time."""

    def __init__(self, recordings: Recordings, clock: Clock) -> None:
        self._recordings = recordings
        self._clock = clock
        self._process: asyncio.subprocess.Process | None = None
        self._filter: Filter | None = None
        self._user = ""
        self._began = 0.0
        self._got = bytearray()
        self._work: asyncio.Task[About | None] | None = None
        self._timer: Timer | None = None
        self.last_problem = ""
        """Why the last capture could not be kept."""

    def running(self) -> Running | None:
        """What is going on."""
        if self._filter is None or self._work is None:
            return None
        return Running(
            filter=self._filter,
            user=self._user,
            began=self._began,
            until=self._began + self._filter.seconds,
            size=len(self._got),
        )

    async def start(self, wanted: Filter, user: str) -> Running:
        """Returns when tcpdump listens. Raises PacketsRefused, RecordingRefused."""
        if self._filter is not None:
            raise PacketsRefused("Packets are being captured already: 'packetcapture stop' ends that")
        program = shutil.which("tcpdump") or shutil.which("tcpdump", path=_PLACES)
        if program is None:
            raise PacketsRefused("There is no tcpdump on this machine: apt-get install tcpdump")
        self._recordings.room(wanted.size)
        self._filter, self._user, self._began = wanted, user, self._clock.now()
        self._got, self.last_problem = bytearray(), ""
        try:
            process = await asyncio.create_subprocess_exec(
                *_words(program, wanted),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env={"PATH": _PLACES, "LC_ALL": "C"},
            )
            await self._listening(process)
        except (OSError, PacketsRefused) as error:
            self._filter = None
            raise PacketsRefused(str(error)) from None
        except BaseException:
            self._filter = None
            raise
        self._process = process
        self._work = asyncio.get_running_loop().create_task(self._take(process, wanted))
        self._timer = self._clock.call_later(wanted.seconds, self._end)
        running = self.running()
        assert running is not None
        return running

    async def _listening(self, process: asyncio.subprocess.Process) -> None:
        assert process.stderr is not None
        said: list[str] = []
        try:
            async with asyncio.timeout(_START_SECONDS):
                while line := (await process.stderr.readline()).decode("utf-8", "replace").strip():
                    if _LISTENING in line:
                        return
                    said.append(line)
                await process.wait()
        except TimeoutError:
            said.append("it did not begin in time")
        if process.returncode is None:
            process.kill()
            await process.wait()
        raise PacketsRefused(_explained(" ".join(said)))

    async def _take(self, process: asyncio.subprocess.Process, wanted: Filter) -> About | None:
        assert process.stdout is not None
        assert process.stderr is not None
        talk = asyncio.ensure_future(process.stderr.read())
        while piece := await process.stdout.read(_PIECE):
            if len(self._got) + len(piece) > wanted.size:
                self._end()
                break  # a packet that is cut could not be read
            self._got += piece
        while await process.stdout.read(_PIECE):
            pass
        await process.wait()
        await talk
        return await self._keep(wanted)

    async def _keep(self, wanted: Filter) -> About | None:
        if self._timer is not None:
            self._timer.cancel()
        now, content = self._clock.now(), bytes(self._got)
        about = About(
            name=f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime(self._began))}-packets",
            kind=KIND,
            made_at=now,
            size=len(content),
            user=self._user,
            wanted=wanted.wanted(),
            content=True,
        )
        try:
            await asyncio.to_thread(self._recordings.store.store, about, content, mark="leader")
        except StorageRefused as refused:
            self.last_problem = str(refused)
            return None
        finally:
            self._filter, self._process, self._work = None, None, None
            self._got = bytearray()
        return about

    def _end(self) -> None:
        process = self._process
        if process is not None and process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()  # tcpdump writes out what it has

    async def stop(self) -> About | None:
        """End it and keep what there is; None when nothing ran, or it could not be kept."""
        work, process = self._work, self._process
        if work is None or process is None:
            return None
        self._end()
        try:
            async with asyncio.timeout(_END_SECONDS):
                return await asyncio.shield(work)
        except TimeoutError:
            process.kill()
            return await work


def _words(program: str, wanted: Filter) -> Sequence[str]:
    """Packet by packet to the pipe; root is given up once the interface is open."""
    drop = ["-Z", _UNPRIVILEGED] if os.geteuid() == 0 else []
    return [program, "-i", wanted.interface, "-n", "-U", "-w", "-", *drop, *wanted.expression()]


def _explained(said: str) -> str:
    said = said[:300] or "it said nothing"
    if not _NO_RIGHT.search(said):
        return f"tcpdump can't capture: {said}"
    return (
        f"tcpdump lacks the right to read packets (CAP_NET_RAW): {said}. Give it to the gateway in its "
        "systemd unit ('systemctl edit mxseal', then restart it): AmbientCapabilities=CAP_NET_RAW, "
        "CapabilityBoundingSet=CAP_NET_RAW, RestrictAddressFamilies=AF_PACKET AF_NETLINK. Outside of systemd "
        "give it to tcpdump alone: setcap cap_net_raw+ep $(command -v tcpdump). 'sessioncapture' needs no "
        "right"
    )
