"""From events to rows: what each event changes. Bounded whatever strangers do.

All of a batch happens in one transaction with the place up to which the log was read, so that each event
counts exactly once, whenever the process is killed. What is not over at the end of a batch (open connections,
messages that are being received) is written down too, and read again at the start.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import apsw
import msgspec

from mxseal.events import screening, types
from mxseal.events.types import Event
from mxseal.sinks.peerfacts import sender_domain
from mxseal.sinks.tracking import facts
from mxseal.sinks.tracking.counters import Counters
from mxseal.sinks.tracking.refusals import Refusals
from mxseal.sinks.tracking.rows import BOUNCED, DELETED, DELIVERED, WAITING
from mxseal.sinks.tracking.segments import Segments
from mxseal.sinks.tracking.state import Draft, Key, Link, Tls
from mxseal.storage.tracking import schema

MOST_LINKS, MOST_DRAFTS = 100_000, 20_000
"""That are open at the same time."""
LINGER, LINGER_FAILED = 3.0, 120.0
"""Seconds for which a connection is remembered behind its end: what it did to messages is told later, and
mail for a host that was not reached is delayed for the same reason for some time."""
STALE = 86_400.0
"""After so long without an end a connection or message is forgotten: its worker was killed."""
_LINK, _DRAFT = msgspec.msgpack.Decoder(Link), msgspec.msgpack.Decoder(Draft)
_ENCODE = msgspec.msgpack.encode
Many = Callable[[str, Sequence[tuple[Any, ...]]], None]


class Index:
    """Takes events one by one between `begin` and `flush`, which share a transaction of the caller's."""

    def __init__(self, connection: apsw.Connection, *, segment_rows: int, refusals: int) -> None:
        self._connection = connection
        self.counters = Counters(connection)
        self.segments = Segments(connection, segment_rows)
        self.refusals = Refusals(connection, refusals)
        self.orphans = 0
        """Events about messages that are not known, since the last flush."""
        self.newest = 0.0
        """Time of the last event."""
        self._links: dict[Key, Link] = {}
        self._drafts: dict[int, Draft] = {}
        self._closed: tuple[deque[tuple[float, Key]], ...] = (deque(), deque())
        """When they ended: those that were good, and those that failed."""
        self._dirty: set[Key] = set()
        self._written: set[Key] = set()
        """What of these has a row among the pending."""
        self._load()

    def take(self, event: Event) -> None:
        """Take what the event says."""
        self.newest = event.at  # a clock that jumped and came back must not end what is open
        _TAKES[type(event)](self, event)

    def _load(self) -> None:
        for kind, number, body in self._connection.execute("SELECT kind, number, body FROM pending"):
            self._written.add((kind, number))
            if kind == "mid":
                self._drafts[number] = _DRAFT.decode(body)
            else:
                link = _LINK.decode(body)
                self._links[link.key] = link
                self.newest = max(self.newest, link.at)
        self._links = dict(sorted(self._links.items(), key=lambda each: each[1].at))
        for at, key in sorted((link.closed, key) for key, link in self._links.items() if link.closed):
            self._closed[_failed(self._links[key])].append((at, key))

    def flush(self, many: Many) -> None:
        """Write all that the events brought."""
        self._expire()
        self.segments.flush(many)
        self.refusals.flush(many)
        self.counters.flush(many)
        self._flush_pending(many)

    def _expire(self) -> None:
        for closed, linger in zip(self._closed, (LINGER, LINGER_FAILED), strict=True):
            while closed and closed[0][0] < self.newest - linger:
                _, key = closed.popleft()
                self._links.pop(key, None)
                self._dirty.add(key)
        old = self.newest - STALE
        while self._links:
            key, link = next(iter(self._links.items()))
            if len(self._links) <= MOST_LINKS and link.at >= old:
                break
            del self._links[key]
            self._dirty.add(key)
        for draft in list(self._drafts.values()):
            if draft.started >= old and len(self._drafts) <= MOST_DRAFTS:
                break
            del self._drafts[draft.mid]
            self._dirty.add(("mid", draft.mid))

    def _flush_pending(self, many: Many) -> None:
        put: list[tuple[Any, ...]] = []
        gone: list[tuple[Any, ...]] = []
        for key in self._dirty:
            kind, number = key
            found: Any = self._drafts.get(number) if kind == "mid" else self._links.get(key)
            if found is not None:
                put.append((kind, number, _ENCODE(found)))
                self._written.add(key)
            elif key in self._written:
                gone.append(key)
                self._written.discard(key)
        many("INSERT OR REPLACE INTO pending VALUES(?, ?, ?)", put)
        many("DELETE FROM pending WHERE kind=? AND number=?", gone)
        self._dirty.clear()

    # --- incoming connections -------------------------------------------------------------------------------

    def _link(self, kind: str, number: int, at: float) -> Link:
        """The connection of that number, to be changed; a new one where its beginning was not read."""
        key = kind, number
        link = self._links.get(key)
        if link is None:
            link = Link(kind, number, at, Tls("in" if kind == "icid" else "out", ""))
            self._links[key] = link
        link.changes += 1
        self._dirty.add(key)
        return link

    def opened(self, event: types.ConnectionOpened) -> None:
        link = self._link("icid", event.icid, event.at)
        link.ip, link.port, link.host = event.remote_ip, event.remote_port, event.reverse_dns or ""
        link.local_ip, link.listener = event.local_ip, event.listener
        named = event.verified and event.reverse_dns
        link.domain = sender_domain(event.reverse_dns or "").lower() if named else event.remote_ip
        self.counters.count(event.at, "in", "connections")

    def judged(self, event: types.ConnectionJudged) -> None:
        link = self._link("icid", event.icid, event.at)
        link.sender_group, link.policy = event.sender_group or "", event.policy
        link.match, link.level = event.match, event.level
        if event.verdict in ("REJECT", "TCPREFUSE") and not link.told:
            link.told = True
            self.counters.count(event.at, "in", "refused", "policy")
            self.refusals.add(event.at, "connection", link, reason=f"{event.verdict} by the mail flow policy")

    def limited(self, event: types.ConnectionRefused) -> None:
        link = self._link("icid", event.icid, event.at)
        self.counters.count(event.at, "in", "refused", "limit")
        if not link.told:
            link.told = True
            self.refusals.add(event.at, "connection", link, reason=event.reason)

    def came_secure(self, event: types.InboundTlsSucceeded) -> None:
        link = self._link("icid", event.icid, event.at)
        link.tls = facts.came_secure(link, event)
        link.fact = facts.told(link, event)
        self.counters.tls(event.at, link.tls)
        self.counters.partner(event.at, "in", link.domain, _asked(link.level) + "_ok")
        if link.tls.state == "verified":
            self.counters.partner(event.at, "in", link.domain, "verified")

    def came_wrong(self, event: types.InboundTlsFailed) -> None:
        link = self._link("icid", event.icid, event.at)
        if event.fault.during == "transfer":  # it stood before: that it broke is no failure of the handshake
            self.counters.count(event.at, "in", "broken")
            return
        link.tls = facts.came_wrong(link, event)
        link.fact = facts.told(link, event)
        link.times = facts.times(event.times)
        self.counters.tls(event.at, link.tls)
        self._failed_coming(
            event.at, link, event.diagnosis.summary if event.diagnosis else event.fault.reason
        )
        self.refusals.add(event.at, "tls", link, reason=event.fault.reason or event.fault.kind)

    def came_without(self, event: types.InboundTlsMissing) -> None:
        link = self._link("icid", event.icid, event.at)
        link.tls = Tls("in", "failed", level=link.level, cause="tls-not-used")
        link.fact = facts.told(link, event)
        self.counters.tls(event.at, link.tls)
        self._failed_coming(event.at, link, "TLS is required here and was not used")
        self.refusals.add(event.at, "tls-required", link, reason="TLS is required here and was not used")

    def _failed_coming(self, at: float, link: Link, reason: str) -> None:
        what = "required_failed" if link.tls.cause == "tls-not-used" else f"{_asked(link.level)}_failed"
        self.counters.partner(at, "in", link.domain, what)
        self.counters.partner_failed(at, "in", link.domain, link.tls.cause, reason)

    def left(self, event: types.ConnectionClosed) -> None:
        self._close(("icid", event.icid), event.at)

    def _close(self, key: Key, at: float) -> None:
        if (link := self._links.get(key)) is not None:
            link.closed = at
            self._closed[_failed(link)].append((at, key))
            self._dirty.add(key)

    # --- messages that come ---------------------------------------------------------------------------------

    def started(self, event: types.MessageStarted) -> None:
        self._drafts[event.mid] = Draft(event.mid, event.icid, event.at, event.sender, event.identity)
        self._dirty.add(("mid", event.mid))
        link = self._links.get(("icid", event.icid))
        if link is not None and not link.mail:
            self._link("icid", event.icid, event.at).mail = True
            if not link.tls.encrypted:
                if link.tls.state != "failed":
                    link.tls = Tls("in", "clear", level=link.level)
                self.counters.count(event.at, "in", "tls", "clear")
                self.counters.partner(event.at, "in", link.domain, "clear")

    def _draft(self, mid: int) -> Draft | None:
        self._dirty.add(("mid", mid))
        return self._drafts.get(mid)

    def accepted(self, event: types.RecipientAccepted) -> None:
        if (draft := self._draft(event.mid)) is not None:
            draft.recipients.append((event.rid, event.recipient))

    def rejected(self, event: types.RecipientRejected) -> None:
        draft = self._draft(event.mid)
        self.counters.count(event.at, "in", "rejected", event.by)
        if draft is not None:
            draft.refused += 1
        link = self._links.get(("icid", event.icid)) or Link("icid", event.icid, event.at, Tls("in", ""))
        self.refusals.add(
            event.at, "recipient", link, reason=f"by {event.by}", mid=event.mid,
            between=(draft.sender if draft else None, event.recipient),
        )  # fmt: skip

    def received(self, event: types.MessageReceived) -> None:
        if (draft := self._draft(event.mid)) is not None:
            draft.received = True
            draft.size, draft.header, draft.subject = event.size, event.message_id, event.subject
            draft.outgoing = event.direction == "outbound"

    def noticed(self, event: types.DsnGenerated) -> None:
        self._drafts[event.mid] = Draft(
            event.mid, 0, event.at, "", recipients=[(0, event.recipient)], about=event.about,
            subject=f"Notification about MID {event.about} ({event.kind})", outgoing=True, received=True,
        )  # fmt: skip
        self._dirty.add(("mid", event.mid))

    def queued(self, event: types.MessageQueued) -> None:
        self._keep(event.mid, event.at)

    def _keep(self, mid: int, at: float) -> None:
        draft = self._drafts.pop(mid, None)
        if draft is None:
            self.orphans += 1
            return
        self._dirty.add(("mid", mid))
        link = self._links.get(("icid", draft.icid)) if draft.icid else None
        self.segments.add(draft, at, link)
        if draft.about:
            self.counters.count(at, "out", "notices")
            return
        word = (link.tls.state if link is not None else "") or "clear"
        self.counters.count(at, "in", "messages", word)
        self.counters.count(at, "in", "recipients", word, len(draft.recipients))
        self.counters.count(at, "in", "bytes", word, draft.size)
        if link is not None:
            self.counters.partner(at, "in", link.domain, _messages(link.tls))

    def aborted(self, event: types.MessageAborted) -> None:
        draft = self._drafts.pop(event.mid, None)
        self._dirty.add(("mid", event.mid))
        self.counters.count(event.at, "in", "aborted")
        if draft is None or (draft.refused and not draft.recipients):
            return  # its recipients were refused, each with a row of its own
        link = self._links.get(("icid", event.icid)) or Link("icid", event.icid, event.at, Tls("in", ""))
        between = draft.sender, draft.recipients[0][1] if draft.recipients else None
        self.refusals.add(event.at, "message", link, reason=event.reason, mid=event.mid, between=between)

    # --- deliveries -----------------------------------------------------------------------------------------

    def went(self, event: types.DeliveryOpened) -> None:
        link = self._hop(event)
        link.local_ip, link.ip, link.port = event.local_ip, event.remote_ip, event.port
        self.counters.count(event.at, "out", "connections")

    def _hop(
        self,
        event: types.DeliveryOpened | types.OutboundTlsSucceeded | types.OutboundTlsFailed
        | types.DeliveryInClear | types.DeliveryFailed,
    ) -> Link:  # fmt: skip
        link = self._link("dcid", event.dcid, event.at)
        link.domain, link.host = event.domain, event.host
        return link

    def secured(self, event: types.OutboundTlsSucceeded) -> None:
        link = self._hop(event)
        link.level, link.level_from = event.level, event.level_from
        link.tls, link.times = facts.went_secure(event), facts.times(event.times)
        link.fact = facts.told(link, event)
        self.counters.tls(event.at, link.tls)
        self.counters.partner(event.at, "out", link.domain, _asked(event.level) + "_ok")
        if link.tls.state == "verified":
            self.counters.partner(event.at, "out", link.domain, "verified")

    def went_wrong(self, event: types.OutboundTlsFailed) -> None:
        link = self._hop(event)
        link.level, link.level_from = event.level, event.level_from
        link.tls, link.times = facts.went_wrong(event), facts.times(event.times)
        link.fact = facts.told(link, event)
        self.counters.tls(event.at, link.tls)
        what = "required_failed" if event.required else "preferred_failed"
        self.counters.partner(event.at, "out", link.domain, what)
        reason = event.diagnosis.summary if event.diagnosis else event.verify_error or event.reason
        self.counters.partner_failed(event.at, "out", link.domain, link.tls.cause, reason)

    def in_clear(self, event: types.DeliveryInClear) -> None:
        link = self._hop(event)
        link.level, link.level_from = event.level, event.level_from
        link.tls = Tls("out", "clear", level=event.level, cause=facts.cause(event.diagnosis))
        link.times, link.fact = facts.times(event.times), facts.told(link, event)
        self.counters.tls(event.at, link.tls)
        self.counters.partner(event.at, "out", link.domain, "clear")

    def broke(self, event: types.DeliveryFailed) -> None:
        link = self._hop(event)
        link.ip, link.port, link.local_ip = event.remote_ip, event.port, event.local_ip
        link.trouble = f"{event.reason}: {event.details}"
        self.counters.count(event.at, "out", "failed", event.reason[:60])
        if not link.tls.state:
            link.times, link.fact = facts.times(event.times), facts.told(link, event)

    def ended(self, event: types.DeliveryClosed) -> None:
        self._close(("dcid", event.dcid), event.at)

    # --- what becomes of messages ---------------------------------------------------------------------------

    def began(self, event: types.DeliveryStarted) -> None:
        if event.mid in self._drafts:
            # The gateway was killed between the commit and the line about it.
            self._keep(event.mid, event.at)

    def _outcome(
        self, event: Any, kind: str, *, bits: int, state: int, rids: Sequence[int], text: Any
    ) -> None:
        self.began(event)
        dcid = getattr(event, "dcid", 0)
        found = self.segments.find(event.mid)
        if found is None:
            self.orphans += 1
            return
        rows, stored = found
        stored.last = max(stored.last, event.at)
        stored.bits |= bits
        following = getattr(event, "next_attempt", None)
        for rid in rids:
            rows.state(stored, rid, state, event.at, following)
        stored.delivered += len(rids) if state == DELIVERED else 0
        stored.bounced += len(rids) if state == BOUNCED else 0
        stored.deleted += len(rids) if state == DELETED else 0
        if (link := self._links.get(("dcid", dcid))) is not None:
            rows.met(stored, link)
            if link.tls.state == "failed":
                stored.bits |= schema.TLS_FAILED
            elif link.tls.state == "clear" and state == DELIVERED:
                stored.bits |= schema.IN_CLEAR
        rows.step(stored, event.at, (kind, dcid, rids, text))
        rows.change(stored)

    def delivered(self, event: types.RecipientsDelivered) -> None:
        self._outcome(
            event, "delivered", bits=schema.DELIVERED, state=DELIVERED, rids=event.rids,
            text={"response": _short(event.response)},
        )  # fmt: skip
        link = self._links.get(("dcid", event.dcid))
        word = (link.tls.state if link is not None else "") or "clear"
        self.counters.count(event.at, "out", "messages", word)
        self.counters.count(event.at, "out", "recipients", word, len(event.rids))
        if link is not None:
            self.counters.partner(event.at, "out", link.domain, _messages(link.tls))

    def delayed(self, event: types.RecipientDelayed) -> None:
        self._outcome(
            event, "delayed", bits=schema.DELAYED, state=WAITING, rids=(event.rid,),
            text=_reply(event) | {"next_attempt": event.next_attempt},
        )  # fmt: skip
        self.counters.count(event.at, "out", "delayed")

    def bounced(self, event: types.RecipientBounced) -> None:
        self._outcome(
            event, "bounced", bits=schema.BOUNCED, state=BOUNCED, rids=(event.rid,),
            text=_reply(event),
        )  # fmt: skip
        self.counters.count(event.at, "out", "bounced")

    def bounced_twice(self, event: types.DoubleBounced) -> None:
        self._outcome(
            event, "double-bounced", bits=schema.DOUBLE | schema.BOUNCED, state=BOUNCED, rids=(event.rid,),
            text=_reply(event),
        )  # fmt: skip
        self.counters.count(event.at, "out", "bounced")

    def perhaps(self, event: types.PossibleDelivery) -> None:
        self._outcome(event, "possible", bits=schema.POSSIBLE, state=WAITING, rids=event.rids, text={})

    def deleted(self, event: types.RecipientsDeleted) -> None:
        self._outcome(event, "deleted", bits=schema.DELETED, state=DELETED, rids=event.rids, text={})
        self.counters.count(event.at, "out", "deleted", by=len(event.rids))

    def held(self, event: screening.MessageHeld) -> None:
        self._outcome(
            event, "held", bits=schema.AMP | schema.HELD, state=WAITING, rids=(),
            text={"reason": _short(f"{event.name}: {event.word} {event.reason}".strip())},
        )  # fmt: skip

    def screened(self, event: screening.MessageScreened) -> None:
        kept, dropped = event.action == "quarantine", event.action == "drop"
        bits = schema.AMP | (schema.MALICIOUS if event.word == "malicious" else 0)
        bits |= (schema.QUARANTINED if kept else 0) | (schema.DELETED if dropped else 0)
        kind = "quarantined" if kept else "dropped" if dropped else "analysed"
        about = (event.name, event.word, event.threat, event.reason)
        self._outcome(
            event, kind, bits=bits, state=DELETED if dropped else WAITING, rids=event.rids if dropped else (),
            text={"reason": _short(" ".join(each for each in about if each))},
        )  # fmt: skip

    def released(self, event: screening.QuarantineReleased) -> None:
        self._outcome(
            event, "released", bits=schema.RELEASED, state=WAITING, rids=(),
            text={"reason": _short(event.user)},
        )  # fmt: skip

    def discarded(self, event: screening.QuarantineDeleted) -> None:
        self._outcome(
            event, "discarded", bits=schema.DELETED, state=DELETED, rids=event.rids,
            text={"reason": _short(f"{event.user} {event.reason}".strip())},
        )  # fmt: skip

    def finished(self, event: types.MessageFinished) -> None:
        found = self.segments.find(event.mid)
        if found is None:
            self.orphans += 1
            return
        rows, stored = found
        stored.last = max(stored.last, event.at)
        stored.finished = event.at
        rows.change(stored)
        self.segments.forget(event.mid)

    def gateway_started(self, event: types.GatewayStarted) -> None:
        """No connection outlives the gateway."""
        for closed in self._closed:
            closed.clear()
        for key in self._links:
            self._close(key, event.at)


def _failed(link: Link) -> bool:
    return link.kind == "dcid" and (link.tls.state == "failed" or bool(link.trouble))


def _asked(level: str) -> str:
    return "required" if level.startswith("required") else "preferred"


def _messages(tls: Tls) -> str:
    return "messages_tls" if tls.encrypted else "messages_clear"


def _short(text: str) -> str:
    return text[:500]


def _reply(event: Any) -> dict[str, Any]:
    return {
        "status": event.status,
        "reason": event.reason,
        "code": event.code,
        "lines": [_short(line) for line in event.lines[:5]],
    }


_TAKES: dict[type[Event], Callable[[Index, Any], None]] = {
    types.ConnectionOpened: Index.opened,
    types.ConnectionJudged: Index.judged,
    types.ConnectionRefused: Index.limited,
    types.InboundTlsSucceeded: Index.came_secure,
    types.InboundTlsFailed: Index.came_wrong,
    types.InboundTlsMissing: Index.came_without,
    types.ConnectionClosed: Index.left,
    types.MessageStarted: Index.started,
    types.RecipientAccepted: Index.accepted,
    types.RecipientRejected: Index.rejected,
    types.MessageReceived: Index.received,
    types.DsnGenerated: Index.noticed,
    types.MessageQueued: Index.queued,
    types.MessageAborted: Index.aborted,
    types.DeliveryOpened: Index.went,
    types.OutboundTlsSucceeded: Index.secured,
    types.OutboundTlsFailed: Index.went_wrong,
    types.DeliveryInClear: Index.in_clear,
    types.DeliveryFailed: Index.broke,
    types.DeliveryClosed: Index.ended,
    types.DeliveryStarted: Index.began,
    types.RecipientsDelivered: Index.delivered,
    types.RecipientDelayed: Index.delayed,
    types.RecipientBounced: Index.bounced,
    types.DoubleBounced: Index.bounced_twice,
    types.PossibleDelivery: Index.perhaps,
    types.RecipientsDeleted: Index.deleted,
    types.MessageFinished: Index.finished,
    screening.MessageHeld: Index.held,
    screening.MessageScreened: Index.screened,
    screening.QuarantineReleased: Index.released,
    screening.QuarantineDeleted: Index.discarded,
    types.GatewayStarted: Index.gateway_started,
}
WANTED: tuple[type[Event], ...] = tuple(_TAKES)
"""Kinds of events that are read; all others are passed over."""
