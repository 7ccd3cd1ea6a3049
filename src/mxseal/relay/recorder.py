"""A worker's recordings: which connections are overheard, which of them are kept, and how they are stored.

Nothing is armed nearly always: then `armed` is False, and a connection costs the one look at it. While
something is, a connection whose name decides is recorded from its beginning and forgotten when it turns out
to be another one.
"""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections.abc import Callable, Sequence

from mxseal import __version__
from mxseal.capture.masking import Masking, SmtpMasking
from mxseal.capture.masking_analysis import AnalysisMasking
from mxseal.capture.masking_ldap import LdapMasking
from mxseal.capture.orders import Connection, Order, matches, may_match, tidy
from mxseal.capture.tape import Tape
from mxseal.clock import Clock
from mxseal.config.model import Listener
from mxseal.events.bus import Bus
from mxseal.events.types import ConnectionOpened, Event, MessageStarted
from mxseal.events.upkeep import SessionCaptured, SessionCaptureFailed
from mxseal.relay.overhearing import Overheard
from mxseal.storage.captures import About, Captures
from mxseal.storage.ports import StorageRefused

MOST = 8 << 20
"""Bytes of one recording."""
_UNDECIDED = 256 * 1024
"""Bytes of one that may turn out to be of no interest."""
_MOST_UNDECIDED = 100
_INCOMING, _DELIVERY = "ICID", "DCID"


Own = Callable[[str, int], bool]


def _nobody(_address: str, _port: int) -> bool:
    return False


class Recorder:
    """One for each worker. A sink of the bus while something is armed."""

    def __init__(self, bus: Bus, clock: Clock, captures: Captures, mark: str) -> None:
        """`mark` names this worker among those that write."""
        self.armed = False
        self._bus = bus
        self._clock = clock
        self._captures = captures
        self._mark = mark
        self._orders: tuple[Order, ...] = ()
        self._undecided: set[Overheard] = set()
        self._kept: set[Overheard] = set()
        self._storing: set[asyncio.Task[None]] = set()

    def arm(self, orders: Sequence[Order], stopped: Sequence[str] = ()) -> None:
        """These orders, in the place of those before; recordings of `stopped` ones end here and are kept."""
        self._orders = tuple(orders)
        if self.armed != bool(orders):
            self.armed = bool(orders)
            (self._bus.add if self.armed else self._bus.remove)(self)
        for heard in list(self._undecided):
            if not any(may_match(order, heard.known) for order in self._orders):
                self._forget(heard)
        for heard in list(self._kept):
            if heard.order is not None and heard.order.name in stopped and heard.tape is not None:
                heard.tape.end(self._clock.now(), "open", ours=True)
                self._finished(heard)
                heard.drop()

    async def stop(self) -> None:
        """Store what is being made, as far as it goes."""
        self.arm((), [heard.order.name for heard in self._kept if heard.order is not None])
        await asyncio.gather(*self._storing)

    # --- connections ----------------------------------------------------------------------------------------

    def incoming(self, connection: asyncio.Protocol, listener: Listener, own: Own) -> asyncio.Protocol:
        """What the transport gets in the place of a connection that was accepted. `own` tells by address and
        port which are the gateway's own looks at its listeners: nobody wants those."""
        known = Connection(direction="incoming", address="", listener=listener.name)
        return self._overheard(connection, known, tls_first=listener.implicit_tls, own=own)

    def delivery(self, channel: asyncio.Protocol, known: Connection, dcid: int) -> asyncio.Protocol:
        """The same for a connection to a next hop, of which all is known."""
        if not any(matches(order, known) for order in self._orders):
            return channel
        heard = self._overheard(channel, known, tls_first=False)
        heard.number = f"{_DELIVERY} {dcid}"
        return heard

    def directory(self, connection: asyncio.Protocol, profile: str) -> asyncio.Protocol:
        """The same for a connection to a directory server."""
        known = Connection(direction="directory", address="", profile=profile)
        if not any(matches(order, known) for order in self._orders):
            return connection
        heard = self._overheard(connection, known, tls_first=False)
        heard.number = f"LDAP {profile}"
        return heard

    def analysis(self, connection: asyncio.Protocol, server: str) -> asyncio.Protocol:
        """The same for a connection to an analysis server, which begins with TLS where it has any."""
        known = Connection(direction="analysis", address="", profile=server)
        if not any(matches(order, known) for order in self._orders):
            return connection
        heard = self._overheard(connection, known, tls_first=False)
        heard.number = f"ANALYSIS {server}"
        return heard

    def _overheard(
        self, inner: asyncio.Protocol, known: Connection, *, tls_first: bool, own: Own = _nobody
    ) -> Overheard:
        def began(heard: Overheard) -> Tape | None:
            if own(heard.remote.address, heard.remote.port):
                return None
            heard.known.address = heard.remote.address
            tape = self._begin(heard, tls_first=tls_first)
            if tape is not None:
                inner.tape = heard  # type: ignore[attr-defined]
            return tape

        return Overheard(inner, self._clock, known, began=began, moved=self._look_again, over=self._finished)

    def _begin(self, heard: Overheard, *, tls_first: bool) -> Tape | None:
        """A tape for a connection that is meant, or may be."""
        now = self._clock.now()
        orders = [order for order in self._orders if now < order.until]
        meant = next((order for order in orders if matches(order, heard.known)), None)
        if meant is not None and self._claim(heard, meant):
            return self._tape(heard, meant, MOST, tls_first)
        possible = [order for order in self._orders if may_match(order, heard.known)]
        if not possible or len(self._undecided) >= _MOST_UNDECIDED:
            return None
        self._undecided.add(heard)
        # What shows less serves until it is known which order it is.
        least = min(possible, key=lambda order: order.content)
        return self._tape(heard, least, _UNDECIDED, tls_first)

    def _tape(self, heard: Overheard, order: Order, most: int, tls_first: bool) -> Tape:
        return Tape(
            self._clock.now(),
            we_are_client=heard.known.direction != "incoming",
            masking=None if order.content else _masking(heard),
            fresh=os.urandom,
            most=most,
            tls_first=tls_first,
        )

    def _claim(self, heard: Overheard, order: Order) -> bool:
        number = self._captures.claim(order.name, order.count, self._mark)
        if number is None:
            self.arm([each for each in self._orders if each.name != order.name])  # all of it is under way
            return False
        heard.order, heard.claim = order, number
        self._undecided.discard(heard)
        self._kept.add(heard)
        return True

    def _look_again(self, heard: Overheard) -> None:
        """Something was said: the connection may be known better now."""
        if heard in self._kept and heard.tape is not None and heard.tape.full:
            self._finished(heard)
            heard.drop()
        elif heard in self._undecided:
            hello = getattr(heard.inner, "hello", "")
            if hello:
                heard.known.names.add(tidy(hello))
            self._decide(heard)

    def _decide(self, heard: Overheard) -> None:
        now = self._clock.now()
        for order in self._orders:
            if now < order.until and matches(order, heard.known) and heard.tape is not None:
                if heard.tape.full or order.content != heard.tape.with_content:
                    continue
                if self._claim(heard, order):
                    heard.tape.allow(MOST)
                    return

    def _forget(self, heard: Overheard) -> None:
        self._undecided.discard(heard)
        heard.drop()

    # --- facts ----------------------------------------------------------------------------------------------

    def handle(self, event: Event) -> None:
        """A sink's: names and senders of connections that are undecided."""
        if not self._undecided or not isinstance(event, ConnectionOpened | MessageStarted):
            return
        for heard in self._undecided:
            if getattr(heard.inner, "icid", 0) != event.icid:
                continue
            if isinstance(event, MessageStarted):
                heard.known.domains.add(tidy(event.sender.rpartition("@")[2]))
            elif event.reverse_dns:
                heard.known.names.add(tidy(event.reverse_dns))
            return

    def ready(self) -> bool:
        """A recording never holds mail up."""
        return True

    # --- the end --------------------------------------------------------------------------------------------

    def _finished(self, heard: Overheard) -> None:
        if heard in self._undecided:
            self._decide(heard)
        self._undecided.discard(heard)
        if heard not in self._kept:
            return
        self._kept.discard(heard)
        tape, order = heard.tape, heard.order
        assert tape is not None
        assert order is not None
        number = heard.number or f"{_INCOMING} {getattr(heard.inner, 'icid', 0)}"
        task = asyncio.get_running_loop().create_task(self._store(tape, order, number, heard))
        self._storing.add(task)
        task.add_done_callback(self._storing.discard)

    async def _store(self, tape: Tape, order: Order, number: str, heard: Overheard) -> None:
        now = self._clock.now()
        stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime(tape.began))
        name = f"{stamp}-{re.sub('[^a-z0-9]', '', number.lower())[:40]}"
        if heard.known.profile is not None:  # has no number of its own
            name = f"{name}-{order.name}-{heard.claim}"
        peer = f"{heard.remote.address} {heard.remote.port}"
        told = f"{number}: {heard.known.direction} {_told(order)}, peer {peer}"

        def write() -> None:
            file = tape.file(heard.local, heard.remote, f"MXSeal {__version__}", told)
            about = About(
                name=name,
                kind="session",
                made_at=now,
                size=len(file),
                user=order.user,
                wanted=order.wanted(),
                content=order.content,
                number=number,
                peer=peer,
                remarks=tuple(tape.remarks),
            )
            self._captures.store(about, file, mark=self._mark)
            self._captures.fulfil(order.name, heard.claim, self._mark)

        try:
            await asyncio.to_thread(write)  # checksums of megabytes would hold mail up
        except (StorageRefused, ValueError) as error:
            self._captures.give_back(order.name, heard.claim)
            self._bus.publish(SessionCaptureFailed(at=now, number=number, error=str(error)))
        else:
            self._bus.publish(
                SessionCaptured(at=now, number=number, name=name, user=order.user, content=order.content)
            )


def _masking(heard: Overheard) -> Masking:
    if heard.known.direction == "analysis":
        return AnalysisMasking()
    return SmtpMasking() if heard.known.profile is None else LdapMasking()


def _told(order: Order) -> str:
    if order.content:
        return "with all content, and the session's own secrets"
    return (
        "without message content; behind the handshake the records are sealed anew, with secrets of this "
        "file's own"
    )
