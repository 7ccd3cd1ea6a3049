"""This machine in its cluster: what it has agreed to, the link to the engine, how news are put in force."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Sequence

import msgspec

from mxseal.certs.keys import KeyStore
from mxseal.certs.webtls import WebTlsRefused, engine_context
from mxseal.clock import Clock
from mxseal.cluster import membership as members
from mxseal.cluster import record as records
from mxseal.cluster import transport
from mxseal.cluster.engine import Access, Engine, EngineAway, Found, Overtaken, TooLarge
from mxseal.cluster.history import ClusterHistory, flattened
from mxseal.cluster.keys import Distrust, Identity
from mxseal.cluster.levels import Cluster, Level, view
from mxseal.cluster.link import Link
from mxseal.cluster.membership import Membership
from mxseal.cluster.record import Author, Record
from mxseal.config.history import BuildFailed, Built, History
from mxseal.config.model import Document
from mxseal.events.bus import Bus
from mxseal.events.types import ReloadRefused
from mxseal.storage.ports import Revision
from mxseal.storage.sealing import Seal
from mxseal.storage.state import State

_REPORT_SECONDS = 60.0
_LOOK_SECONDS = 600.0
"""Between two looks at what the listeners serve, when nothing changes."""


class Around(msgspec.Struct, frozen=True, kw_only=True):
    """What a machine in a cluster needs of its gateway."""

    state: State
    keys: KeyStore
    clock: Clock
    bus: Bus
    changing: asyncio.Lock
    alone: History
    """Of a machine that is in no cluster."""
    build: Callable[[Document], Awaitable[Built]]
    put_in_force: Callable[[Built, Revision, Document], Awaitable[Sequence[str]]]
    served: Callable[[], Awaitable[dict[str, list[str]]]]
    """Certificates by name, and the fingerprints (SHA-256) that were seen where they are assigned."""
    version: str


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What a machine tells the others about itself."""

    number: int
    """The revision that is in force there."""
    at: float
    problem: str = ""
    """Why that is not the newest."""
    served: dict[str, list[str]] = {}
    """Certificates by name, and the fingerprints that its own listeners were seen to serve; "" where nothing
    was seen."""
    version: str = ""


class Desk:
    """`start` and `stop` it with the gateway."""

    def __init__(self, around: Around) -> None:
        self.around = around
        self.membership = members.load(around.state.secrets)
        self.history: ClusterHistory | None = None
        self.link: Link | None = None
        self.problem = ""
        """Why this machine does not do what was agreed; empty: it does."""
        self.admit: Callable[[bytes], Awaitable[bytes]] | None = None
        """Answers a machine that wants to join."""
        self._told = ""
        self._served: dict[str, list[str]] = {}
        self._looked = self._reported = float("-inf")
        self._changed = True
        """Whether what the listeners serve may be something else since it was looked at."""
        if self.membership is not None:
            self.history = self._history(self.membership)

    def _history(self, membership: Membership) -> ClusterHistory:
        return ClusterHistory(self.around.state, membership.machine, self.publish)

    @property
    def member(self) -> tuple[Membership, ClusterHistory]:
        """Raises NoMember."""
        if self.membership is None or self.history is None:
            raise NoMember
        return self.membership, self.history

    async def engine(self) -> Engine:
        """Raises EngineAway."""
        if self.link is None:
            raise EngineAway(
                "This machine was detached from its cluster: 'clusterconfig reconnect' takes it back"
            )
        return await self.link.reached()

    def start(self) -> None:
        """Begin to follow the engine; mail does not wait for it."""
        if self.membership is None or not self.membership.connected:
            return
        self._changed = True
        self.link = Link(self.access(self.membership), self.around.clock, self._begin, self._look)
        self.link.start()

    async def stop(self) -> None:
        if self.link is not None:
            link, self.link = self.link, None
            await link.stop()

    def access(self, membership: Membership) -> Access:
        """How the engine is reached with the certificate that is in force now."""

        def context() -> ssl.SSLContext:
            current = self.history or self.around.alone
            document = current.current().document
            try:
                return engine_context(
                    document, membership.certificate, membership.authority, self.around.keys,
                    self.around.clock.now(),
                )  # fmt: skip
            except WebTlsRefused as refused:
                raise EngineAway(str(refused.problem)) from None

        return Access(
            cluster=membership.cluster,
            machine=membership.machine,
            servers=membership.servers,
            context=context,
        )

    # --- becoming a member, and not being one any more -----------------------------------------------------

    def begin(self, membership: Membership, cluster: Cluster, record: Record) -> None:
        """This machine is a member now; what `cluster` says of it is in force."""
        state = self.around.state
        state.cluster.begin_again()
        state.cluster.put(cluster.number, record.encode())
        state.put_fact(members.ACTIVE, str(cluster.number))
        members.save(state.secrets, membership)
        self.membership = membership
        self.history = self._history(membership)
        self.problem = ""
        self.start()

    def keep(self, membership: Membership) -> None:
        """Something about the membership has changed."""
        members.save(self.around.state.secrets, membership)
        self.membership = membership

    async def leave(self, user: str, comment: str) -> Revision:
        """Go on alone, with the settings that are in force. Gives the revision that holds them."""
        membership, history = self.member
        state = self.around.state
        cluster = history.cluster_at(history.in_force) or history.agreed
        text = flattened(cluster, membership.machine)
        latest = state.latest()
        number = 0 if latest is None else latest.number
        revision = state.put(number, text, user, comment, self.around.clock.now())
        members.forget(state.secrets)
        state.cluster.begin_again()
        self.membership = self.history = None
        self.problem = ""
        await self.stop()
        return revision

    # --- writing -------------------------------------------------------------------------------------------

    async def publish(self, cluster: Cluster, author: Author) -> Record | None:
        """See `history.Publish`. A server that dies meanwhile is no reason to give up: what it may have taken
        is recognised by its signature."""
        membership, _ = self.member
        seal = self.seal(cluster)
        record = records.write(cluster, author, Identity(membership.identity))
        for last in (False, False, True):
            try:
                return await self._written(cluster, record, seal)
            except EngineAway:
                if last or self.link is None:
                    raise
        return None

    async def _written(self, cluster: Cluster, record: Record, seal: Seal) -> Record | None:
        membership, _ = self.member
        engine = await self.engine()
        found = await self._head(engine)
        if found.value != record.encode():
            if records.decode(found.value).number != cluster.number - 1:
                await self.read(engine, found)
                return None
            if found.value != self.around.state.cluster.get(cluster.number - 1):
                raise Distrust(f"The engine has another revision {cluster.number - 1} than this machine")
            await transport.publish(engine, seal, cluster, membership.machine, self.around.keys)
            try:
                await engine.put_head(record.encode(), found.sequence)
            except Overtaken:
                await self.read(engine, await self._head(engine))
                return None
            except TooLarge as large:
                raise Distrust(str(large)) from None
        if self.link is not None:
            self._changed = True
            self.link.wake()
        return record

    async def amend(
        self,
        change: Callable[[Cluster], Cluster],
        author: Author,
        behind: Callable[[], Awaitable[None]] | None = None,
    ) -> Cluster:
        """Change machines or groups at once, whoever commits meanwhile. `behind` is done before anybody else
        here hears of it. Raises Refused, EngineAway."""
        _, history = self.member
        async with self.around.changing:
            for _ in range(10):
                wanted = change(history.agreed)
                wanted = msgspec.structs.replace(wanted, number=history.agreed.number + 1)
                record = await self.publish(wanted, author)
                if record is None:
                    continue
                history.take(wanted, record)
                if self.membership is not None and self.membership.machine in wanted.machines:
                    await self._activate(await self.engine())
                if behind is not None:
                    await behind()
                return wanted
        raise EngineAway("Others commit without a pause: nothing was changed. Try it again")

    def seal(self, cluster: Cluster) -> Seal:
        """That of a cluster's key. Raises Distrust when this machine can't open it."""
        membership, _ = self.member
        key = membership.keys.get(cluster.generation)
        if key is None:
            wrapped = cluster.machine(membership.machine).wrapped
            key = Identity(membership.identity).open(wrapped, purpose_of(cluster))
            self.keep(msgspec.structs.replace(membership, keys={**membership.keys, cluster.generation: key}))
        return Seal(key)

    # --- reading -------------------------------------------------------------------------------------------

    async def _head(self, engine: Engine) -> Found:
        found = await engine.head()
        if found is None:
            name = "" if self.membership is None else self.membership.cluster
            raise EngineAway(f"The engine has no cluster {name!r}: was its storage emptied?")
        return found

    async def _begin(self, engine: Engine) -> None:
        if self.admit is not None:
            await engine.answer(self.admit)

    async def _look(self, engine: Engine) -> None:
        """There may be news."""
        async with self.around.changing:
            if self.membership is None:
                return
            try:
                await self.read(engine, await self._head(engine))
                await self._activate(engine)
            except Distrust as distrust:
                self._trouble(str(distrust))
        if self.membership is not None:
            await self._report(engine)

    async def read(self, engine: Engine, found: Found) -> None:
        """Take what was agreed since, revision by revision: each is signed by a member of the one before. A
        machine that was removed can write no more, whatever it still reaches. Raises Distrust."""
        _, history = self.member
        newest = records.decode(found.value)
        known = history.agreed
        if newest.number == known.number:
            return
        if newest.number < known.number:
            raise Distrust(f"The engine went back from revision {known.number} to {newest.number}")
        # The list comes from a server of the engine that may lag behind the one that gave the head.
        kept = [records.decode(each.value) for each in await engine.heads()]
        for record in sorted([*kept, newest], key=lambda each: each.number):
            if record.number > history.agreed.number:
                history.take(records.follow(history.agreed, record), record)

    async def _activate(self, engine: Engine) -> None:
        """Put in force what was agreed. The lock `changing` is held."""
        membership, history = self.member
        cluster = history.agreed
        if membership.machine not in cluster.machines:
            await self.leave("cluster", f"removed from the cluster {membership.cluster}")
            return
        if history.in_force == cluster.number:
            self.problem = self._told = ""
            return
        document = view(cluster, Level("machine", membership.machine))
        seal = self.seal(cluster)
        missing = await transport.fetch(engine, seal, cluster, document, self.around.keys)
        if document != history.current().document:
            try:
                built = await self.around.build(document)
            except BuildFailed as failed:
                lost = f"; no machine gave the keys of {', '.join(missing)}" if missing else ""
                self._trouble(f"revision {cluster.number} can't be put in force: {failed}{lost}")
                return
            revision = history.revisions(1)[0]
            history.activated(cluster)
            await self.around.put_in_force(built, revision, document)
        else:
            history.activated(cluster)
        self.problem = self._told = ""
        self._changed = True

    def _trouble(self, problem: str) -> None:
        """Told once as an event, and by reports as long as it lasts."""
        if problem != self.problem:
            self.problem = problem
            self._reported = float("-inf")
        if problem != self._told:
            self._told = problem
            self.around.bus.publish(ReloadRefused(at=self.around.clock.now(), problem=problem))

    # --- telling -------------------------------------------------------------------------------------------

    async def _report(self, engine: Engine) -> None:
        now = self.around.clock.monotonic()
        if self._changed or now - self._looked >= _LOOK_SECONDS:
            self._changed = False
            self._served = await self.around.served()
            self._looked, self._reported = now, float("-inf")
        if now - self._reported < _REPORT_SECONDS or self.history is None:
            return
        report = Report(
            number=self.history.in_force,
            at=self.around.clock.now(),
            problem=self.problem,
            served=self._served,
            version=self.around.version,
        )
        await engine.report(msgspec.json.encode(report))
        self._reported = now

    async def reports(self) -> dict[str, Report]:
        """What each machine told last. Raises EngineAway."""
        _, history = self.member
        raw = await (await self.engine()).reports(list(history.agreed.machines))
        return {name: msgspec.json.decode(value, type=Report) for name, value in raw.items()}


class NoMember(Exception):
    """This machine is in no cluster."""


def purpose_of(cluster: Cluster) -> str:
    """What the cluster's key is sealed for, so that one of another cluster or time is no answer."""
    return f"mxseal cluster key {cluster.id} {cluster.generation}"
