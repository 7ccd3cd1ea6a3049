"""A profile in use: hosts by failover or balance, answers that are kept, questions that are shared."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import msgspec

from mxseal.clock import Timer
from mxseal.config.model import LdapProfile
from mxseal.config.values import split_host_port
from mxseal.directory.cache import Cache
from mxseal.directory.host import IDLE_SECONDS, Host
from mxseal.directory.opening import Around, Client, Opening, Server
from mxseal.directory.state import ProfileState
from mxseal.events.directory import LdapAnswered, LdapAsked, LdapCacheCleared, LdapFailed
from mxseal.ldap.conversation import SIZE_LIMIT, SUCCESS, Answer
from mxseal.ldap.values import Fault, Found, Kind, Search

PROBE_SECONDS = 5.0
"""Where all hosts rest, one of them is asked again after so long: a profile must not stay away for longer
than its directory."""
_TIDY_SECONDS = 30.0


class Label(msgspec.Struct, frozen=True):
    """What a question is for, in the log."""

    kind: Kind
    query: str


class Profile:
    """Everything about one profile of the document in this process."""

    def __init__(
        self, around: Around, client: Client | None, spec: LdapProfile, password: str | None
    ) -> None:
        self.spec = spec
        self.client = client
        self.password = password
        self._around = around
        self._clock = around.clock
        self._hosts = [self._host(server) for server in servers(spec)]
        self._cache = Cache(spec.cache_entries, spec.cache_time, spec.negative_time)
        self._asking: dict[Search, asyncio.Task[Found | Fault]] = {}
        self._shared = 0
        self._turn = 0
        self._retired = False
        self._tidying: Timer | None = None

    def _host(self, server: Server) -> Host:
        def opening() -> Opening:
            return Opening(self._around, self.client, self.spec, server, self.password)

        return Host(self._clock, self.spec, server, lambda: opening().run())

    def kept(self, search: Search) -> Found | None:
        """The answer, if it is known."""
        return self._cache.get(search, self._clock.monotonic())

    async def search(self, search: Search, label: Label) -> Found | Fault:
        """The answer of the first host that gives one. The same question is asked once at a time."""
        task = self._asking.get(search)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._search(search, label))
            self._asking[search] = task
            task.add_done_callback(lambda _task: self._asking.pop(search, None))
        else:
            self._shared += 1
        return await asyncio.shield(task)

    async def _search(self, search: Search, label: Label) -> Found | Fault:
        self._tidy_later()
        fault: Fault | None = None
        for host in self._order():
            got = await self._ask(host, search, label)
            if isinstance(got, Fault) and got.kind == "lost":
                # A server may close a connection that was idle just when it is used: that is no failure yet.
                got = await self._ask(host, search, label)
            if isinstance(got, Found):
                self._cache.put(search, got, self._clock.monotonic())
                return got
            fault = got
        if fault is None:
            fault = self._all_resting()
            self._tell_failed(None, search, label, fault.text)
        return fault

    def _order(self) -> Sequence[Host]:
        now = self._clock.monotonic()
        ready = [host for host in self._hosts if host.rests_until <= now]
        if not ready:
            longest = min(self._hosts, key=lambda host: host.failed_at)
            return [longest] if now - longest.failed_at >= PROBE_SECONDS else []
        if self.spec.strategy == "failover":
            return ready
        self._turn = (self._turn + 1) % len(ready)
        turned = ready[self._turn :] + ready[: self._turn]
        return sorted(turned, key=lambda host: host.pending)

    def _all_resting(self) -> Fault:
        last = max(self._hosts, key=lambda host: host.failed_at)
        text = f"no server of {self.spec.name} answers, the last one said: {last.last_error}"
        return Fault(kind="unreachable", text=text, host=last.server.name)

    async def _ask(self, host: Host, search: Search, label: Label) -> Found | Fault:
        connection = await host.connection()
        if isinstance(connection, Fault):
            host.failed += 1
            self._tell_failed(host, search, label, connection.text)
            return connection
        began = self._clock.monotonic()
        if self._around.detailed:
            self._around.publish(LdapAsked(at=self._clock.now(), **_about(self, host, search, label)))
        try:
            got = _judged(await connection.search(search, self.spec.search_time), host)
        finally:
            host.done()
        if isinstance(got, Found):
            host.answered += 1
            if self._around.detailed:
                seconds = self._clock.monotonic() - began
                about = _about(self, host, search, label)
                at = self._clock.now()
                self._around.publish(LdapAnswered(at=at, results=got.count, seconds=seconds, **about))
            return got
        host.failed += 1
        host.timeouts += got.kind == "silent"
        host.last_error = got.text
        self._tell_failed(host, search, label, got.text)
        return got

    def _tell_failed(self, host: Host | None, search: Search, label: Label, reason: str) -> None:
        about = _about(self, host, search, label)
        self._around.publish(LdapFailed(at=self._clock.now(), reason=reason, **about))

    async def trial(self) -> AsyncIterator[tuple[Server, Fault | None]]:
        """Each host, and why it can't be asked; None: it can."""
        for host in self._hosts:
            got = await host.connection()
            yield host.server, got if isinstance(got, Fault) else None

    # --- keeping house --------------------------------------------------------------------------------------

    def clear(self) -> int:
        """Throw away what is kept."""
        count = self._cache.clear()
        self._around.publish(LdapCacheCleared(at=self._clock.now(), profile=self.spec.name, entries=count))
        return count

    def state(self) -> ProfileState:
        return ProfileState(
            name=self.spec.name,
            hosts=tuple(host.state() for host in self._hosts),
            cache=self._cache.state(self._clock.monotonic()),
            shared=self._shared,
        )

    def retire(self) -> None:
        """The document has another in its place: who still asks is answered, and then it hangs up."""
        self._retired = True
        self._tidy()

    def stop(self) -> None:
        """Hang up now."""
        if self._tidying is not None:
            self._tidying.cancel()
        for task in list(self._asking.values()):
            task.cancel()
        for host in self._hosts:
            host.stop()

    def _tidy_later(self) -> None:
        if self._tidying is None:
            self._tidying = self._clock.call_later(_TIDY_SECONDS, self._tidy)

    def _tidy(self) -> None:
        if self._tidying is not None:
            self._tidying.cancel()
            self._tidying = None
        for host in self._hosts:
            host.close_idle(0.0 if self._retired else IDLE_SECONDS)
        if any(host.connections or host.pending for host in self._hosts):
            self._tidy_later()


def servers(spec: LdapProfile) -> list[Server]:
    """The hosts of a profile with the ports that are meant where none is written."""
    return [Server(*split_host_port(host, default_port(spec))) for host in spec.hosts]


def default_port(spec: LdapProfile) -> int:
    """Active Directory's global catalog has ports of its own (reference §7.2)."""
    ports = {"active-directory": (3268, 3269)}.get(spec.type, (389, 636))
    return ports[spec.security == "ldaps"]


def _judged(answer: Answer | Fault, host: Host) -> Found | Fault:
    """Only a complete answer is one: "not found" must not be read out of an error."""
    if isinstance(answer, Fault):
        return answer
    if answer.code == SUCCESS or (answer.code == SIZE_LIMIT and answer.entries):
        return Found(answer.entries)
    said = f": {answer.text}" if answer.text else ""
    text = f"the server answered {answer.name}{said}"
    return Fault(kind="refused", text=text, host=host.server.name)


def _about(profile: Profile, host: Host | None, search: Search, label: Label) -> dict[str, Any]:
    server = host.server if host is not None else Server("", 0)
    return {
        "kind": label.kind,
        "query": label.query,
        "profile": profile.spec.name,
        "filter": search.filter,
        "host": server.host,
        "port": server.port,
    }
