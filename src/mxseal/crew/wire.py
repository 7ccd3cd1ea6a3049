"""What the leading process and a worker say to each other, and the frames that carry it.

A pair of unix sockets: over the first go frames (length, then msgpack), over the second the listening sockets
that a `Prepare` names. Only the gateway's own processes hold the ends, so that what comes is trusted.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import operator
import struct
from collections.abc import Callable
from typing import Any, Final, TypeVar

import msgspec

from mxseal.capture.orders import Order as CaptureOrder
from mxseal.config.check import Problem
from mxseal.directory.state import ProfileState
from mxseal.events import EVENT_TYPES
from mxseal.relay.orders import LaneState, Order, Selection
from mxseal.relay.ports import Place
from mxseal.storage.ports import Queued
from mxseal.storage.quarantine import Kept

T = TypeVar("T")
_LENGTH = struct.Struct("!I")
READ_AHEAD: Final = 1 << 20
FOLLOWERS, MESSAGES, BYTES = 0, 1, 2
"""Cells of the board: how many follow a log; what each share of the queue holds."""


class Request(msgspec.Struct, frozen=True, tag_field="do"):
    """What a worker is asked; `RESULTS` has what it gives."""


class Prepare(Request, frozen=True, tag=True):
    """Build all that a document needs. The sockets of `places` come over the second pair, in this order."""

    toml: str
    places: tuple[Place, ...]
    listening: bool = True
    """False: this worker opens no ports, it only delivers."""
    fresh: bool = False
    """Build everything anew: the trust lists outside of the document may have changed."""


class Adopt(Request, frozen=True, tag=True):
    """Put in force what was prepared."""


class Discard(Request, frozen=True, tag=True):
    """Forget what was prepared."""


class Suspend(Request, frozen=True, tag=True):
    """Begin no delivery until `Resume`."""


class Resume(Request, frozen=True, tag=True):
    """Deliver again."""


class ReopenLogs(Request, frozen=True, tag=True):
    """Write to the newest files from now on; what was held goes to the old ones first."""


class ReadLists(Request, frozen=True, tag=True):
    """Read the lists of revoked certificates again."""


class Expect(Request, frozen=True, tag=True):
    """A connection from here is the gateway's own look at what a listener shows."""

    address: str
    port: int


class Record(Request, frozen=True, tag=True):
    """Record connections for these orders from now on; recordings of `stopped` ones end."""

    orders: tuple[CaptureOrder, ...]
    stopped: tuple[str, ...] = ()


class Gauge(Request, frozen=True, tag=True):
    """What is now."""


class Browse(Request, frozen=True, tag=True):
    """A page of the share of the queue, by MID."""

    after: int
    limit: int


class Load(Request, frozen=True, tag=True):
    """One message, if it is in this share."""

    mid: int


class Carry(Request, frozen=True, tag=True):
    """An administrator's order to the queue."""

    order: Order
    selection: Selection


class Lanes(Request, frozen=True, tag=True):
    """How deliveries go, by target."""


class Directories(Request, frozen=True, tag=True):
    """How it goes with directories."""


class ClearDirectories(Request, frozen=True, tag=True):
    """Throw away the directories' answers that are kept."""

    names: tuple[str, ...] = ()
    """Of these profiles; empty: of all."""


class BrowseKept(Request, frozen=True, tag=True):
    """A page of the quarantine of the share, by MID."""

    after: int
    limit: int


class FindKept(Request, frozen=True, tag=True):
    """One message in quarantine, if it is in this share."""

    mid: int


class ShowKept(Request, frozen=True, tag=True):
    """The header of one message in quarantine."""

    mid: int


class ReleaseKept(Request, frozen=True, tag=True):
    """One message goes from the quarantine into the queue."""

    mid: int
    user: str


class DeleteKept(Request, frozen=True, tag=True):
    """One message in quarantine is deleted."""

    mid: int
    user: str


class Stop(Request, frozen=True, tag=True):
    """Finish what is in flight and end."""

    patience: float = 0.0
    """Seconds for which clients that have no message at hand are waited for."""


AnyRequest = (
    Prepare
    | Adopt
    | Discard
    | Suspend
    | Resume
    | ReopenLogs
    | ReadLists
    | Expect
    | Record
    | Gauge
    | Browse
    | Load
    | Carry
    | Lanes
    | Directories
    | ClearDirectories
    | BrowseKept
    | FindKept
    | ShowKept
    | ReleaseKept
    | DeleteKept
    | Stop
)


class Gauges(msgspec.Struct, frozen=True):
    """What one worker holds at this moment."""

    messages: int = 0
    size: int = 0
    """Bytes of them."""
    at_work: int = 0
    incoming: int = 0
    outgoing: int = 0
    """Connections."""

    def plus(self, other: Gauges) -> Gauges:
        sums = zip(msgspec.structs.astuple(self), msgspec.structs.astuple(other), strict=True)
        return Gauges(*(mine + theirs for mine, theirs in sums))


RESULTS: Final[dict[type[Any], Any]] = {
    Prepare: list[Problem],
    Gauge: Gauges,
    Browse: list[Queued],
    Load: Queued | None,
    Carry: int,
    Lanes: list[LaneState],
    Directories: list[ProfileState],
    ClearDirectories: int,
    BrowseKept: list[Kept],
    FindKept: Kept | None,
    ShowKept: bytes | None,
    ReleaseKept: bool,
    DeleteKept: bool,
}
"""Those that are not here give nothing."""


class Fault(msgspec.Struct, frozen=True):
    """Why a request was not carried out: storage's kind, or "" for a fault of ours."""

    kind: str
    text: str


class Asked(msgspec.Struct, frozen=True, tag=True):
    """Leader to worker."""

    number: int
    request: AnyRequest


class Answered(msgspec.Struct, frozen=True, tag=True):
    """Worker to leader."""

    number: int
    result: msgspec.Raw = msgspec.Raw(b"\xc0")
    fault: Fault | None = None


class Told(msgspec.Struct, frozen=True, tag=True):
    """Worker to leader: an event that the leader acts on."""

    event: msgspec.Raw


class Written(msgspec.Struct, frozen=True, tag=True):
    """Worker to leader: lines were written to the logs, and somebody follows them."""


Notice = Told | Written
_ENCODER = msgspec.msgpack.Encoder()


def event_decoder() -> msgspec.msgpack.Decoder[Any]:
    """Reads any event."""
    return msgspec.msgpack.Decoder(functools.reduce(operator.or_, EVENT_TYPES))


def raw(value: object) -> msgspec.Raw:
    """A value, packed."""
    return msgspec.Raw(_ENCODER.encode(value))


class Frames:
    """One end of the first pair."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, takes: Any) -> None:
        """`takes` is the type, or union, of what comes in."""
        self._reader = reader
        self._writer = writer
        self._decoder = msgspec.msgpack.Decoder(takes)

    def send(self, value: object) -> None:
        """Queue a frame; nothing happens when the other side is gone, which `receive` tells."""
        if self._writer.is_closing():
            return
        data = _ENCODER.encode(value)
        self._writer.write(_LENGTH.pack(len(data)) + data)

    async def receive(self) -> Any:
        """The next frame; None when the other side is gone."""
        try:
            (length,) = _LENGTH.unpack(await self._reader.readexactly(_LENGTH.size))
            return self._decoder.decode(await self._reader.readexactly(length))
        except (asyncio.IncompleteReadError, ConnectionError):
            return None

    async def drain(self) -> None:
        """Return when all was handed to the system."""
        if not self._writer.is_closing():
            self._writer.close()
            with contextlib.suppress(ConnectionError):
                await self._writer.wait_closed()

    def close(self) -> None:
        self._writer.close()


class Calls:
    """Numbers requests and finds the one that an answer belongs to."""

    def __init__(self, send: Callable[[Asked], None]) -> None:
        self._send = send
        self._number = 0
        self._open: dict[int, asyncio.Future[Answered]] = {}

    def ask(self, request: AnyRequest) -> asyncio.Future[Answered]:
        self._number += 1
        future = asyncio.get_running_loop().create_future()
        self._open[self._number] = future
        self._send(Asked(self._number, request))
        return future

    def answered(self, answer: Answered) -> None:
        future = self._open.pop(answer.number, None)
        if future is not None and not future.done():
            future.set_result(answer)

    def give_up(self, reason: Exception) -> None:
        """The worker is gone: nobody waits any longer."""
        waiting, self._open = self._open, {}
        for future in waiting.values():
            if not future.done():
                future.set_exception(reason)
