"""One connection to the cluster's engine, NATS JetStream: keys, values, compare-and-set, a call for news.

No watch of the engine is relied upon: they were seen to fall silent when a server died. Who commits calls for
attention, all that hear it read what is there; and who hears nothing looks every few seconds.
"""

from __future__ import annotations

import asyncio
import random
import secrets
import ssl
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import msgspec

HISTORY = 64
"""Revisions that the engine keeps: more it does not keep of one key."""
_CONNECT, _ANSWER, _PATIENCE = 3.0, 2.0, 12.0
"""Seconds: to connect to one server, for one answer, and for one that outlasts the choice of a new leader."""
_HEAD = "head"
R = TypeVar("R")


class EngineAway(Exception):
    """The engine can't be asked now; the text is a sentence."""


class Overtaken(Exception):
    """Somebody else has written the head since it was read."""


class TooLarge(Exception):
    """The engine does not take values of this size."""


class Access(msgspec.Struct, frozen=True, kw_only=True):
    """How the engine is reached."""

    cluster: str
    machine: str
    servers: Sequence[str]
    context: Callable[[], ssl.SSLContext]
    """Made anew for each connection, so that a renewed certificate is used. May raise EngineAway."""


class Found(msgspec.Struct, frozen=True):
    """A value and its place in the engine's order."""

    value: bytes
    sequence: int


def _library() -> Any:
    try:
        import nats  # noqa: PLC0415 - an extra, which a single gateway does not need
        import nats.js.api  # noqa: PLC0415
    except ImportError:
        raise EngineAway("The package nats-py is not installed: pip install 'mxseal[cluster]'") from None
    return nats


class Engine:
    """A connection. It is not mended: when it is `closed`, make another."""

    def __init__(self, client: Any, access: Access, lost: Callable[[], None]) -> None:
        self._client = client
        self._lost = lost
        self._broken = False
        self._access = access
        self._library = _library()
        self._stream = client.jetstream(timeout=_ANSWER)
        self._settings = f"mxseal_{access.cluster}"
        self._states = f"mxseal_{access.cluster}_state"
        self._prefix = f"mxseal.{access.cluster}"

    @classmethod
    async def connect(cls, access: Access, closed: Callable[[], None]) -> Engine:
        """To the first server that answers. `closed` is called when the connection ends. EngineAway."""
        library = _library()
        problems = []
        for server in random.sample(list(access.servers), len(access.servers)):
            client = library.NATS()
            said: list[Exception] = []
            try:
                await asyncio.wait_for(_connected(client, server, access, closed, said), 2 * _CONNECT)
            except (library.errors.Error, OSError, TimeoutError) as error:
                problems.append(f"{server}: {_said((said or [error])[-1])}")
                await _ended(client)
                continue
            return cls(client, access, closed)
        raise EngineAway(f"No server of the engine can be used ({'; '.join(problems)})")

    @property
    def server(self) -> str:
        return str(self._client.connected_url.netloc) if self._client.is_connected else ""

    @property
    def closed(self) -> bool:
        return bool(self._broken or self._client.is_closed or not self._client.is_connected)

    async def close(self) -> None:
        self._broken = True
        await _ended(self._client)

    # --- places --------------------------------------------------------------------------------------------

    async def make(self, first: bytes) -> None:
        """Make a cluster's place in the engine, with its first revision. Raises Overtaken where there is a
        cluster of that name."""
        servers = min(3, len(self._client.servers) or 1)
        await self._lasting(lambda: self._make(servers))
        await self.put_head(first, None)

    async def _make(self, replicas: int) -> None:
        api = self._library.js.api
        for name, history in ((self._settings, HISTORY), (self._states, 1)):
            wanted = api.KeyValueConfig(
                bucket=name, history=history, replicas=replicas, storage="file", direct=False
            )
            await self._stream.create_key_value(config=wanted)

    async def unmake(self) -> None:
        """Remove all that the cluster has in the engine: its last machine has left."""
        for name in (self._settings, self._states):
            await self._lasting(lambda name=name: self._stream.delete_key_value(name))  # type: ignore[misc]

    # --- the head ------------------------------------------------------------------------------------------

    async def head(self) -> Found | None:
        """The newest revision; None where there is no cluster."""
        return await self.get(_HEAD)

    async def heads(self) -> list[Found]:
        """The revisions that are kept, oldest first."""

        async def read() -> list[Found]:
            bucket = await self._stream.key_value(self._settings)
            entries = await bucket.history(_HEAD)
            return [Found(bytes(entry.value), int(entry.revision)) for entry in entries if entry.value]

        return await self._lasting(read)

    async def put_head(self, value: bytes, after: int | None) -> None:
        """Write the head where `after` still is its place; None: where there is none. Raises Overtaken.

        An answer that is lost may be one of success: it is asked again with the same identification, which
        the engine does not take twice.
        """
        if len(value) + 4096 > self._client.max_payload:
            raise TooLarge(
                f"The configuration has {len(value)} bytes packed, and the engine takes "
                f"{self._client.max_payload}: raise max_payload of its servers"
            )
        header = {
            "Nats-Msg-Id": secrets.token_hex(16),
            "Nats-Expected-Last-Subject-Sequence": str(after or 0),
        }
        subject = f"$KV.{self._settings}.{_HEAD}"
        try:
            await self._lasting(lambda: self._stream.publish(subject, value, headers=header))
        except self._library.js.errors.APIError as error:
            if error.err_code in (10071, 10164):
                raise Overtaken from None
            raise EngineAway(f"The engine refuses it: {error.description}") from None
        await self.call()

    # --- other values --------------------------------------------------------------------------------------

    async def get(self, key: str) -> Found | None:
        async def read() -> Found | None:
            try:
                entry = await (await self._stream.key_value(self._settings)).get(key)
            except (self._library.js.errors.KeyNotFoundError, self._library.js.errors.BucketNotFoundError):
                return None
            return Found(bytes(entry.value), int(entry.revision))

        return await self._lasting(read)

    async def put(self, key: str, value: bytes) -> None:
        async def write() -> None:
            await (await self._stream.key_value(self._settings)).put(key, value)

        await self._lasting(write)

    async def take(self, key: str) -> bytes | None:
        """A value that only one gets: it is deleted. None when it is not there, or another was first."""
        found = await self.get(key)
        if found is None:
            return None
        header = {"KV-Operation": "DEL", "Nats-Expected-Last-Subject-Sequence": str(found.sequence)}
        try:
            await self._stream.publish(f"$KV.{self._settings}.{key}", headers=header)
        except self._library.js.errors.APIError:
            return None
        except (self._library.errors.Error, OSError, TimeoutError) as error:
            raise EngineAway(f"The engine does not answer ({_said(error)})") from None
        return found.value

    async def delete(self, key: str) -> None:
        async def remove() -> None:
            await (await self._stream.key_value(self._settings)).purge(key)

        await self._lasting(remove)

    # --- reports -------------------------------------------------------------------------------------------

    async def report(self, value: bytes) -> None:
        """What this machine tells about itself."""

        async def write() -> None:
            await (await self._stream.key_value(self._states)).put(f"m.{self._access.machine}", value)

        await self._lasting(write)

    async def reports(self, machines: Sequence[str]) -> dict[str, bytes]:
        """What machines told last; one that told nothing is not there."""

        async def read() -> dict[str, bytes]:
            bucket = await self._stream.key_value(self._states)
            found = {}
            for machine in machines:
                try:
                    found[machine] = bytes((await bucket.get(f"m.{machine}")).value)
                except self._library.js.errors.KeyNotFoundError:
                    continue
            return found

        return await self._lasting(read)

    # --- calls ---------------------------------------------------------------------------------------------

    async def call(self) -> None:
        """Tell all members that there is something to read."""
        try:
            await self._client.publish(f"{self._prefix}.changed", b"")
            await self._client.flush(2)
        except (self._library.errors.Error, OSError, TimeoutError):
            return  # they look by themselves

    async def listen(self, changed: Callable[[], None]) -> None:
        async def called(_message: Any) -> None:
            changed()

        await self._client.subscribe(f"{self._prefix}.changed", cb=called)

    async def answer(self, asked: Callable[[bytes], Awaitable[bytes]]) -> None:
        """Answer those that want to join; one of the members does."""
        running: set[asyncio.Task[None]] = set()

        async def work(message: Any) -> None:
            await message.respond(await asked(bytes(message.data)))

        async def called(message: Any) -> None:
            if len(running) < 4:  # strangers of the engine can make it no busier
                task = asyncio.get_running_loop().create_task(work(message))
                running.add(task)
                task.add_done_callback(running.discard)

        await self._client.subscribe(f"{self._prefix}.join", queue="members", cb=called)

    async def ask_to_join(self, request: bytes) -> bytes:
        """Raises EngineAway where no member answers."""
        try:
            answer = await self._client.request(f"{self._prefix}.join", request, timeout=30)
        except (self._library.errors.Error, OSError, TimeoutError) as error:
            raise EngineAway(f"No machine of the cluster answers ({_said(error)})") from None
        return bytes(answer.data)

    # --- patience ------------------------------------------------------------------------------------------

    async def _lasting(self, work: Callable[[], Awaitable[R]]) -> R:
        """`work`, again and again while the engine chooses a new leader. Raises EngineAway."""
        errors = self._library.errors
        loop = asyncio.get_running_loop()
        end = loop.time() + _PATIENCE
        while True:
            try:
                return await work()
            except self._library.js.errors.ServiceUnavailableError as error:
                problem: Exception = error
            except self._library.js.errors.NoStreamResponseError as error:
                problem = error
            except self._library.js.errors.APIError:
                raise
            except (errors.TimeoutError, errors.NoRespondersError, TimeoutError) as error:
                problem = error
            except (errors.Error, OSError) as error:
                raise self._given_up(error) from None
            if loop.time() > end or self.closed:
                raise self._given_up(problem) from None
            await asyncio.sleep(0.1)

    def _given_up(self, problem: Exception) -> EngineAway:
        """A server that does not answer, though it is connected, is left for another one."""
        self._broken = True
        self._lost()
        return EngineAway(f"The engine does not answer ({_said(problem)})")


def _said(error: Exception) -> str:
    return str(error).strip().rstrip(".") or type(error).__name__


async def _connected(
    client: Any, server: str, access: Access, closed: Callable[[], None], said: list[Exception]
) -> None:
    """Connect to one server. The library hides why it can't, but for `said`."""

    async def ended() -> None:
        closed()

    async def trouble(error: Exception) -> None:
        said.append(error)
        del said[:-1]

    await client.connect(
        server,
        name=access.machine,
        tls=access.context(),
        connect_timeout=_CONNECT,
        allow_reconnect=False,
        max_reconnect_attempts=1,  # 0 would be for ever
        reconnect_time_wait=0,
        ping_interval=5,
        max_outstanding_pings=2,
        closed_cb=ended,
        disconnected_cb=ended,
        error_cb=trouble,
    )


async def _ended(client: Any) -> None:
    """Close a connection, whatever state it is in."""
    try:
        await asyncio.wait_for(client.close(), _ANSWER)
    except (_library().errors.Error, OSError, TimeoutError):
        return  # it is gone either way
