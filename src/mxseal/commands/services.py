"""What commands reach of the running gateway. The composition root implements it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from pathlib import Path
from typing import Protocol

import msgspec

from mxseal.alerts.desk import Alerts
from mxseal.certs.keys import KeyStore
from mxseal.certs.revocation import CrlKeeper
from mxseal.cluster.desk import Desk
from mxseal.config.history import Built, History
from mxseal.config.model import Document
from mxseal.directory.directories import Directories
from mxseal.directory.state import ProfileState
from mxseal.events.bus import Bus
from mxseal.events.event import Event
from mxseal.logs.follow import Wait
from mxseal.relay.orders import LaneState, Order, Selection
from mxseal.relay.packets import Packets
from mxseal.relay.probe import Seen
from mxseal.relay.recordings import Recordings
from mxseal.relay.resolver import Resolver
from mxseal.scanning.analysers import Analysers
from mxseal.storage.peers import PeersFile
from mxseal.storage.ports import Queued, Revision, Secrets
from mxseal.storage.quarantine import Kept
from mxseal.storage.tokens import Tokens
from mxseal.storage.tracking.file import TrackingFile
from mxseal.storage.users import Users
from mxseal.storage.web import WebStore


class Figure(msgspec.Struct, frozen=True):
    """One number of `status`: a gauge (what is now) or a counter (since the start)."""

    section: str
    """Heading, such as 'Queue' or 'Receiving'."""
    label: str
    value: int | float | str
    key: str = ""
    """Its name for programs; made from the label when left out."""
    detail: bool = False
    """Shown by `status detail` only."""


class PushState(msgspec.Struct, frozen=True, kw_only=True):
    """How sending a log to its syslog server goes."""

    log: str
    server: str
    """transport://host:port."""
    state: str
    """connected, connecting or waiting (for the next attempt)."""
    since: float | None
    """When that began: seconds since the epoch."""
    sent: int
    """Lines since the gateway started."""
    waiting: int
    """Bytes in the log's files that were not sent."""
    lost: int
    """Lines that were deleted before they could be sent, since the gateway started."""
    problem: str = ""
    """Why the last attempt failed; empty while connected."""


class Mail(Protocol):
    """The queue of all workers together. StorageRefused where a disk refuses."""

    def waiting(self) -> AsyncIterator[Queued]:
        """All messages by MID; mail goes on meanwhile."""
        ...

    async def load(self, mid: int) -> Queued | None:
        """One message; None when it is not in the queue."""
        ...

    async def carry(self, order: Order, selection: Selection) -> int:
        """Carry out an order; gives the number of recipients."""
        ...

    async def lanes(self) -> list[LaneState]:
        """A target that several workers deliver to is there several times."""
        ...

    def quarantine(self) -> AsyncIterator[Kept]:
        """All messages in quarantine by MID."""
        ...

    async def kept(self, mid: int) -> Kept | None:
        """One message in quarantine; None when it is not there."""
        ...

    async def kept_header(self, mid: int) -> bytes | None:
        """Its header as it came in, bounded."""
        ...

    async def release(self, mid: int, user: str) -> bool:
        """From the quarantine into the queue; False when it is not there."""
        ...

    async def delete_kept(self, mid: int, user: str) -> bool:
        """Delete a message in quarantine; False when it is not there."""
        ...

    async def suspend(self) -> None:
        """Begin no delivery."""
        ...

    async def resume(self) -> None: ...


class Tracking(Protocol):
    """Message tracking: what was found, and the indexer that finds it."""

    @property
    def file(self) -> TrackingFile: ...

    @property
    def pid(self) -> int | None:
        """Process id of the indexer; None: none runs."""
        ...

    @property
    def problem(self) -> str:
        """What is wrong, in sentences; empty: nothing."""
        ...


class Directing(Protocol):
    """Directories: those in use, and those of a document that is not in force."""

    async def states(self) -> list[ProfileState]:
        """How it goes with each profile, in all workers together."""
        ...

    async def clear(self, names: Iterable[str] = ()) -> int:
        """Throw away the answers that are kept, of these profiles or of all; gives their number."""
        ...

    def trying(self, document: Document, hear: Callable[[Event], None]) -> Directories:
        """The directories of a document, asked from here, with connections and answers of their own; `hear`
        gets every step. The caller stops them. Raises ContextsRefused."""
        ...


class Analysing(Protocol):
    """Analysis servers of a document that need not be in force."""

    def trying(self, document: Document, hear: Callable[[Event], None]) -> Analysers:
        """The analysis servers of a document, asked from here, with connections of their own; `hear` gets
        every connection. The caller stops them. Raises ContextsRefused."""
        ...


class Services(Protocol):
    """The gateway as the commands see it."""

    @property
    def version(self) -> str: ...

    @property
    def started_at(self) -> float:
        """Seconds since the epoch, UTC."""
        ...

    @property
    def history(self) -> History: ...

    @property
    def cluster(self) -> Desk:
        """This machine in its cluster, or alone."""
        ...

    @property
    def changing(self) -> asyncio.Lock:
        """Held from the check of a commit until its document is in force, so that commits come one by one."""
        ...

    def now(self) -> float:
        """Seconds since the epoch, UTC."""
        ...

    async def build(self, document: Document) -> Built:
        """Make all that `document` needs: TLS contexts, new ports, routes. Raises BuildFailed with every
        problem, having given up what it had begun. Nothing in force changes."""
        ...

    async def put_in_force(self, built: Built, revision: Revision, document: Document) -> Sequence[str]:
        """Swap in what `build` gave; open sessions keep what they began with. Gives sentences for the
        administrator, such as which certificate a probe of the listener has seen. Must not fail."""
        ...

    @property
    def keys(self) -> KeyStore:
        """Private keys, sealed."""
        ...

    @property
    def users(self) -> Users:
        """Who may log in over SSH, and who did."""
        ...

    @property
    def tokens(self) -> Tokens:
        """Who may use the API."""
        ...

    @property
    def web(self) -> WebStore:
        """Sessions of browsers, second factors."""
        ...

    @property
    def bus(self) -> Bus:
        """Where facts are told."""
        ...

    @property
    def secrets(self) -> Secrets:
        """What must not be read at rest, such as the keys by which the gateway is known over SSH."""
        ...

    @property
    def alerts(self) -> Alerts:
        """Who is told of what goes wrong, and the last alerts."""
        ...

    @property
    def crls(self) -> CrlKeeper:
        """Lists of revoked certificates."""
        ...

    @property
    def mail(self) -> Mail:
        """The queue and the deliveries."""
        ...

    @property
    def directories(self) -> Directing:
        """LDAP."""
        ...

    @property
    def analysis(self) -> Analysing:
        """Servers that analyse files."""
        ...

    @property
    def peers(self) -> PeersFile:
        """The record of TLS by peer; only read here, and in a thread."""
        ...

    @property
    def tracking(self) -> Tracking:
        """Message tracking; its file is only read here, and in a thread."""
        ...

    @property
    def captures(self) -> Recordings:
        """What is armed to be recorded, and what was recorded."""
        ...

    @property
    def packets(self) -> Packets:
        """Captures of packets, with the system's tcpdump."""
        ...

    @property
    def resolver(self) -> Resolver: ...

    @property
    def restart(self) -> Callable[[], None]:
        """Finish what is in flight, then become the program that is installed now; ports stay open."""
        ...

    @property
    def logs_home(self) -> Path:
        """The home whose logs `mxseal.logs` reads."""
        ...

    def log_wait(self) -> Wait:
        """Returns, each time it is awaited, when lines were written to a log since the last time."""
        ...

    def pushes(self) -> Sequence[PushState]:
        """How sending to syslog servers goes, a log each."""
        ...

    def roll_over(self, log: str) -> Sequence[str]:
        """Save the current file of a log and begin another; the names of those that were."""
        ...

    async def probe(self) -> Sequence[Seen]:
        """Which certificates the listeners serve, seen from outside just now."""
        ...

    async def metrics(self) -> str:
        """All metrics in Prometheus' text format."""
        ...

    async def figures(self) -> Sequence[Figure]:
        """The numbers of `status`, section by section."""
        ...
