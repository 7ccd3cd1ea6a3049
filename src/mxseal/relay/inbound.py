"""An incoming connection: bytes through the TLS engine and the server core, policy, replies, the spool.

The core says what the client asks and when it may; here is decided what it gets. A connection keeps the
document that it began with.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from itertools import count
from typing import Any, cast

from mxseal.events import types as facts
from mxseal.relay.access import Judgement
from mxseal.relay.intake import Gate, Intake, Reception, Silent
from mxseal.relay.receiving import Receiving
from mxseal.relay.resolver import ClientName
from mxseal.relay.secured import Secured
from mxseal.smtp import replies
from mxseal.smtp.server import Server
from mxseal.smtp.wire import (
    ChunkDone,
    Content,
    Data,
    EndOfMessage,
    Fault,
    Hello,
    Help,
    Mail,
    Noop,
    Quit,
    Rcpt,
    Reply,
    Request,
    Reset,
    StartTls,
    Verify,
)
from mxseal.storage.ports import StorageRefused

_READ_AHEAD = 64 * 1024
"""Bytes that a client may pipeline while its last message is being written to disk. Pausing at once would
cost two system calls for each message."""
_FLUSH_EVERY = 64


class Inbound(Secured):
    """One client. All state is in the core, the engine and, for the message at hand, `Receiving`."""

    def __init__(self, intake: Intake, gate: Gate, reception: Reception) -> None:
        super().__init__(intake, gate, reception)
        self._receiving: Receiving | None = None
        self._handlers: Mapping[type, Callable[[Inbound, Server, Any], None]] = _HANDLERS
        self._refusal = replies.CLIENT_CERTIFICATE_NEEDED
        self.messages = 0
        self.refused_recipients = 0
        self.extended = True
        self.hello = self.address = self.local_address = ""
        self._commands = 0
        self._errors = 0
        self._waiting = False
        """An answer waits for the disk or the resolver: no request is taken meanwhile."""
        self._stalled = False
        """The client does not read its replies: no request is taken meanwhile."""
        self._early = bytearray()
        """What came before the client's name was known."""
        self._ended = False
        """The client will send nothing more."""
        self._over = self._missing_told = False
        self._heard_at = self._began_at = 0.0
        self._timer: Any = None
        self._task: asyncio.Task[None] | None = None

    # --- the transport's side -----------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Not asserted: uvloop's transports have the methods and not the base class.
        self._transport = transport = cast("asyncio.Transport", transport)
        peer = transport.get_extra_info("peername") or ("0.0.0.0", 0)  # noqa: S104 - gone already
        self.address = str(peer[0])
        self.local_address = str((transport.get_extra_info("sockname") or [""])[0])
        if not self._intake.bus.ready():
            # A log that can't be written takes no further story: refused without one.
            if not self._listener.implicit_tls:
                transport.write(replies.TEMPORARY_TROUBLE.encode())
            self._over = True
            transport.close()
            return
        self._intake = self._intake.for_client(self.address, int(peer[1]))
        if isinstance(self._intake, Silent):
            self._refusal, self._handlers = replies.TEMPORARY_TROUBLE, _LOOKED_AT
        try:
            self.icid = self._intake.allocate("icid")
        except StorageRefused:  # no number, nothing to tell its story by: the client comes again later
            self._over = True
            transport.abort()
            return
        self._began_at = self._heard_at = self._intake.clock.monotonic()
        refusal = self._gate.enter(self.address, self._limits)
        self._gate.connections.add(self)
        self._arm(self._limits.idle_time)
        if refusal is not None:
            self._open(self.client, int(peer[1]))
            self._tell_refused(refusal)
            self._core = Server(self._reception.settings(None))
            self._say_and_close(refusal)
            return
        if not self._listener.reverse_dns:
            self._begin(self.client, int(peer[1]))
            return
        self._task = asyncio.get_running_loop().create_task(self._look_up(int(peer[1])))

    def _received(self, data: bytes) -> None:
        self._heard_at = self._intake.clock.monotonic()
        if self._judgement is None:
            # The client's name is still being looked up: with implicit TLS it talks first, and rightly so.
            # Pausing at once would not do: uvloop begins to read after connection_made.
            self._early += data
            if len(self._early) > _READ_AHEAD:
                self._stop_reading()
            return
        engine = self._engine
        if engine is not None:
            data = self._decrypt(engine, data)
        if data and self._core is not None and not self._closing:
            self._core.receive(data)
            if self._waiting and self._core.buffered > _READ_AHEAD:
                self._stop_reading()
            self._pump()

    def eof_received(self) -> bool:
        if self._engine is not None and not self._engine.established:
            self._engine.eof()
            self._tls_failed(self._engine)
        # A client may end its side behind its last command: the answer that waits for the disk is sent first.
        self._ended = True
        return self._waiting

    def connection_lost(self, error: Exception | None) -> None:
        if self._over:
            return
        engine = self._engine
        if engine is not None and engine.fault is None and not self._closing:
            if isinstance(error, OSError):
                engine.broken("reset", errno=error.errno or 0)
            else:
                engine.eof()
            if not engine.established:
                self._tls_failed(engine)
        self._over = True
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not None and not self._waiting:
            self._task.cancel()
        if self._receiving is not None:
            self._receiving.abandon()
            self._receiving = None
        self._gate.connections.discard(self)
        self._gate.leave(self.address, tls=self._tls_counted)
        if not self._closing:
            self._intake.publish(facts.ConnectionLost, icid=self.icid)
        self._intake.publish(facts.ConnectionClosed, icid=self.icid)

    def pause_writing(self) -> None:
        # Who does not read replies is not read from either: pipelined commands would pile up here.
        self._stalled = True
        self._stop_reading()

    def resume_writing(self) -> None:
        self._stalled = False
        self._read_on()

    def _read_on(self) -> None:
        """Go on reading, and with what was read, unless something else is waited for."""
        if self._waiting or self._stalled or self._resting or self._over:
            return
        if self._deaf and not self._transport.is_closing():
            self._deaf = False
            self._transport.resume_reading()
        if self._core is not None and not self._closing:
            self._pump()
        if self._ended and not self._waiting:
            self._transport.close()

    # --- the beginning ------------------------------------------------------------------------------------

    async def _look_up(self, port: int) -> None:
        name = await self._intake.resolver().client_name(self.address)
        if not self._over:
            self._task = None
            self._begin(name, port)
            early, self._early = bytes(self._early), bytearray()
            if early and not self._closing:
                self.data_received(early)
            self._read_on()

    def _open(self, name: ClientName, port: int) -> None:
        self.client = name
        self._intake.publish(
            facts.ConnectionOpened,
            icid=self.icid,
            listener=self._listener.name,
            local_ip=self.local_address,
            remote_ip=self.address,
            remote_port=port,
            reverse_dns=name.name,
            verified=name.verified,
        )

    def _begin(self, name: ClientName, port: int) -> None:
        self._open(name, port)
        judgement = self._reception.access.judge(self.address, name.confirmed)
        if not self._judged(judgement):
            return
        self._core = Server(self._reception.settings(judgement))
        if self._listener.implicit_tls:
            if refusal := self._no_tls_now():
                self._tell_refused(refusal)
                self._close()  # a reply in clear would be no TLS to the client
                return
            self._begin_tls()
        else:
            self._core.say(replies.banner(self._reception.hostname))
            self._flush()

    def _judged(self, judgement: Judgement) -> bool:
        """Take over a group and its policy; False when that ends the connection."""
        self._judgement = judgement
        self._trusted = judgement.policy.action == "relay"
        self._intake.publish(facts.ConnectionJudged, icid=self.icid, **judgement.told())
        if judgement.policy.action == "refuse":
            self._close()
            return False
        if judgement.policy.action == "reject":
            self._intake.publish(facts.RejectDelayed, icid=self.icid, remote_ip=self.address)
        return True

    # --- TLS ------------------------------------------------------------------------------------------------

    def _turn_away(self, core: Server, reply: Reply) -> None:
        self._refusal, self._handlers = reply, _TURNED_AWAY
        core.tls_started()
        # In the place of the banner (RFC 5321 §3.1). Behind STARTTLS the client has to speak first.
        if self._listener.implicit_tls:
            core.say(reply)
            self._flush()

    # --- requests -------------------------------------------------------------------------------------------

    def _pump(self) -> None:
        """Take requests until the client has to send more, or an answer has to wait."""
        core = self._core
        assert core is not None
        for turn in count(1):
            if self._waiting or self._stalled or self._closing:
                break
            request = core.next()
            if request is None:
                break
            if turn % _FLUSH_EVERY == 0:
                self._flush()  # a client that pipelines much and reads nothing is noticed while it does
            if not _is_content(request) and self._exhausted(core, request):
                break
            self._handlers[type(request)](self, core, request)
        if self._gate.hasty and self._at_rest() and not core.closed:
            core.say(replies.SHUTTING_DOWN)
        self._flush()
        if core.closed:
            self._close()

    def _at_rest(self) -> bool:
        """No message is at hand, and nothing waits: the connection could end here."""
        return self._receiving is None and not (self._waiting or self._stalled or self._closing)

    def _exhausted(self, core: Server, request: Request) -> bool:
        """Count what the client does; True when it has done too much and is being shown out."""
        self._commands += 1
        if isinstance(request, Fault) and request.kind != "size":
            self._errors += 1
            if request.kind == "tls-required":
                self.tell_tls_missing()
        if self._errors > self._limits.errors_per_connection:
            self._tell_refused(replies.TOO_MANY_ERRORS)
            core.say(replies.TOO_MANY_ERRORS)
        elif self._commands > self._limits.commands_per_connection:
            self._tell_refused(replies.TOO_MANY_COMMANDS)
            core.say(replies.TOO_MANY_COMMANDS)
        elif self._gate.leaving and self._receiving is None and not isinstance(request, Quit):
            core.say(replies.SHUTTING_DOWN)
        else:
            return False
        return True

    def _flush(self) -> None:
        core = self._core
        if core is None or self._over:
            return
        data = core.output()
        if not data:
            return
        if self._engine is not None:
            if not self._engine.established:
                return  # between STARTTLS and the end of the handshake there is nothing to say it with
            self._engine.write(data)
            data = self._engine.output()
        self._transport.write(data)

    def _on_fault(self, core: Server, request: Fault) -> None:
        if request.kind == "injected" or request.reply.code == 421:  # CVE-2011-0411: worth seeing
            self._tell_refused(request.reply)
        core.answer(request.reply)

    def _on_turned_away(self, core: Server, _request: Request) -> None:
        core.answer(self._refusal)
        self._flush()
        self._close()

    def _on_hello(self, core: Server, request: Hello) -> None:
        self._drop_message()
        self.hello = request.domain
        self.extended = request.extended
        core.answer(core.welcome(request))

    def _on_start_tls(self, core: Server, _request: StartTls) -> None:
        self._drop_message()
        if refusal := self._no_tls_now():
            self._tell_refused(refusal)
            core.answer(refusal)
            return
        core.answer(replies.START_TLS)
        self._flush()
        self._begin_tls()

    def _on_mail(self, core: Server, request: Mail) -> None:
        assert self._judgement is not None
        receiving = Receiving(self._intake, self._reception, self._judgement, self)
        reply = receiving.mail(request)
        if isinstance(reply, Reply):
            core.answer(self._started(receiving, reply))
        else:
            self._wait_for(core, self._asked_about(receiving, reply))

    async def _asked_about(self, receiving: Receiving, coming: Coroutine[Any, Any, Reply]) -> Reply:
        reply = self._started(receiving, await coming)
        if self._over or self._closing:  # the client has gone meanwhile
            self._drop_message()
        return reply

    def _started(self, receiving: Receiving, reply: Reply) -> Reply:
        if reply.code == 250:
            self._receiving = receiving
        elif reply.code == 421:
            self._tell_refused(reply)
        return reply

    def _on_rcpt(self, core: Server, request: Rcpt) -> None:
        assert self._receiving is not None
        reply = self._receiving.rcpt(request)
        if isinstance(reply, Reply):
            core.answer(reply)
        else:
            self._wait_for(core, reply)

    def _on_data(self, core: Server, _request: Data) -> None:
        assert self._receiving is not None
        core.answer(self._receiving.begin_content())

    def _on_content(self, core: Server, request: Content) -> None:
        assert self._receiving is not None
        self._receiving.content(request.data)
        self._useful = self._receiving.taking
        if self._receiving.endless:
            core.say(replies.MESSAGE_TOO_LARGE)
            self._flush()
            self._close()

    def _on_chunk(self, core: Server, request: ChunkDone) -> None:
        assert self._receiving is not None
        reply = self._receiving.chunk_reply(request.size)
        if reply.code != 250:  # RFC 3030 §2: the transaction is over
            self._drop_message()
        core.answer(reply)

    def _on_end(self, core: Server, request: EndOfMessage) -> None:
        receiving = self._receiving
        assert receiving is not None
        self._receiving = None
        reply = receiving.verdict(request.bare_newlines)
        if reply is not None:
            core.answer(reply)
            return
        self._wait_for(core, self._stored(receiving))

    async def _stored(self, receiving: Receiving) -> Reply:
        """250 is said after the message is on stable storage, and not before."""
        reply = await receiving.store()
        if reply.code == 250 and not self._trusted:
            self._earned(receiving.accepted)
        return reply

    def _wait_for(self, core: Server, coming: Coroutine[Any, Any, Reply]) -> None:
        """The reply needs the disk or a directory: no request is taken until it has come."""
        self._waiting = True
        self._task = asyncio.get_running_loop().create_task(self._reply_with(core, coming))

    async def _reply_with(self, core: Server, coming: Coroutine[Any, Any, Reply]) -> None:
        try:
            reply = await coming
        finally:
            self._waiting = False
            self._task = None
            self._heard_at = self._intake.clock.monotonic()  # it was we who took the time
        if self._over:
            return
        core.answer(reply)
        self._read_on()

    def _on_reset(self, core: Server, _request: Reset) -> None:
        self._drop_message()
        core.answer(replies.RESET)

    def _on_quit(self, core: Server, _request: Quit) -> None:
        self._drop_message()
        core.answer(replies.goodbye(self._reception.hostname))

    def _drop_message(self) -> None:
        if self._receiving is not None:
            self._receiving.abandon()
            self._receiving = None

    def tell_tls_missing(self) -> None:
        """TLS was needed for what the client asked; told once."""
        if not self._missing_told:
            self._missing_told = True
            self._intake.publish(facts.InboundTlsMissing, icid=self.icid)

    # --- the end --------------------------------------------------------------------------------------------

    def _tell_refused(self, reply: Reply) -> None:
        """A limit or trouble of ours ends the connection."""
        self._intake.publish(facts.ConnectionRefused, icid=self.icid, reason=reply.text)

    def _say_and_close(self, reply: Reply) -> None:
        assert self._core is not None
        self._core.say(reply)
        self._flush()
        self._close()

    def _close(self) -> None:
        if self._closing:
            return
        self._drop_message()
        self._closing = True
        if self._engine is not None and self._engine.fault is None and self._engine.established:
            self._engine.close()
            self._transport.write(self._engine.output())
        self._transport.close()

    def leave(self) -> None:
        """The gateway stops: a message at hand may end, an idle connection is closed with 421."""
        if self._core is None or (self._engine is not None and not self._engine.established):
            self._transport.abort()
        elif self._at_rest():
            self._say_and_close(replies.SHUTTING_DOWN)

    def abort(self) -> None:
        """The time for ending well is over."""
        self._transport.abort()

    # --- time -----------------------------------------------------------------------------------------------

    def _arm(self, delay: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._intake.clock.call_later(delay, self._alarm)

    def _alarm(self) -> None:
        """One timer for all limits: it looks what is over, and sleeps until the next may be."""
        if self._over:
            return
        now = self._intake.clock.monotonic()
        limits = self._limits
        idle_until = self._heard_at + limits.idle_time
        whole_until = self._began_at + limits.connection_time
        if self._handshake_until is not None and now >= self._handshake_until:
            if self._engine is not None:
                self._engine.broken("timeout")
                self._tls_failed(self._engine)
            self._transport.abort()
            return
        if self._waiting:
            self._arm(1.0)
            return
        if self._closing or (self._stalled and now >= idle_until):
            self._transport.abort()  # the client does not read: a goodbye would wait for ever
        elif now >= whole_until and self._core is not None:
            self._tell_refused(replies.TOO_LONG_CONNECTED)
            self._say_and_close(replies.TOO_LONG_CONNECTED)
            self._arm(limits.idle_time)
        elif now >= idle_until:
            if self._core is None:
                self._transport.abort()
                return
            self._tell_refused(replies.IDLE)
            self._say_and_close(replies.IDLE)
            self._arm(limits.idle_time)
        else:
            self._arm(min(idle_until, whole_until, self._handshake_until or whole_until) - now)


def _is_content(request: Request) -> bool:
    """Requests that don't count as commands: their number is bounded by the message's size."""
    return isinstance(request, Content | EndOfMessage) or (
        isinstance(request, ChunkDone) and request.size > 0
    )


_HANDLERS: dict[type, Callable[[Inbound, Server, Any], None]] = {
    Fault: Inbound._on_fault,  # noqa: SLF001 - the table belongs to the class
    Hello: Inbound._on_hello,  # noqa: SLF001
    StartTls: Inbound._on_start_tls,  # noqa: SLF001
    Mail: Inbound._on_mail,  # noqa: SLF001
    Rcpt: Inbound._on_rcpt,  # noqa: SLF001
    Data: Inbound._on_data,  # noqa: SLF001
    Content: Inbound._on_content,  # noqa: SLF001
    ChunkDone: Inbound._on_chunk,  # noqa: SLF001
    EndOfMessage: Inbound._on_end,  # noqa: SLF001
    Reset: Inbound._on_reset,  # noqa: SLF001
    Quit: Inbound._on_quit,  # noqa: SLF001
    Noop: lambda _connection, core, _request: core.answer(replies.OK),
    Verify: lambda _connection, core, _request: core.answer(replies.VERIFY),
    Help: lambda _connection, core, _request: core.answer(replies.HELP),
}
_TURNED_AWAY = {**dict.fromkeys(_HANDLERS, Inbound._on_turned_away), Quit: Inbound._on_quit}  # noqa: SLF001
"""Of a client whose certificate the policy does not take (RFC 3207 §4.1)."""
_LOOKED_AT = {**_HANDLERS, Mail: Inbound._on_turned_away}  # noqa: SLF001
"""Of the gateway's own look at what a listener shows: a message would have no story in the logs."""
