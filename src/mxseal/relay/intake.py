"""What incoming connections share: the services behind them, a listener's values, a listener's counts."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec
from OpenSSL import SSL

from mxseal.config.model import Analysis, Document, Listener, ListenerLimits, MailFlowPolicy
from mxseal.relay.acceptance import Acceptance, Questions, acceptance
from mxseal.relay.access import HostAccessTable, Judgement, RecipientAccessTable
from mxseal.relay.descriptors import crowded
from mxseal.relay.pace import Fairness
from mxseal.relay.queue import Queue
from mxseal.relay.recorder import Recorder
from mxseal.relay.resolver import Resolver
from mxseal.relay.revocation import held_against
from mxseal.relay.sorting import Belonging, Sorting, over_tls_only, sortings
from mxseal.relay.verification import Revoking, no_lists, trusted_lists
from mxseal.smtp import replies
from mxseal.smtp.server import ServerSettings
from mxseal.smtp.wire import Reply
from mxseal.storage.board import Row
from mxseal.tls.diagnosis import OurSettings
from mxseal.tls.facts import TlsFacts
from mxseal.tls.profiles import chosen
from mxseal.tls.receiving import CORE
from mxseal.tls.verification import Revocation

if TYPE_CHECKING:
    from mxseal.relay.inbound import Inbound

_LOOK_SECONDS = 10.0


class Intake:
    """The services that a message goes through on its way in. One for the gateway."""

    def __init__(
        self,
        queue: Queue,
        resolver: Callable[[], Resolver],
        revoking: Callable[[], Revoking | None] = no_lists,
        recorder: Recorder | None = None,
    ) -> None:
        """`revoking`: the lists of revoked certificates for clients, None where the look-up is off."""
        self.recorder = recorder
        self.queue = queue
        self._revoking = revoking
        self.spool = queue.spool
        self.bus = queue.bus
        self.clock = queue.clock
        self.allocate = queue.allocate
        self.resolver = resolver
        self.fairness = Fairness()
        self._looks: set[tuple[str, int]] = set()
        """Where the gateway's own connections come from."""

    def checked(self, facts: TlsFacts) -> tuple[TlsFacts, Revocation]:
        """A client's handshake, held against the lists of revoked certificates, and what those say."""
        return held_against(facts, self._revoking(), self.clock.now())

    def expect(self, address: str, port: int) -> None:
        """The next connection from there is the gateway's own, which looks what a listener shows."""
        self._looks.add((address, port))
        # One that never came must not be taken for whoever gets that port later.
        self.clock.call_later(_LOOK_SECONDS, lambda: self._looks.discard((address, port)))

    def is_own(self, address: str, port: int) -> bool:
        """Whether a connection is such a look."""
        return (address, port) in self._looks

    def for_client(self, address: str, port: int) -> Intake:
        """The intake for a connection: itself, or a silent one for the gateway's own."""
        if (address, port) not in self._looks:
            return self
        self._looks.discard((address, port))
        return Silent(self)

    def publish(self, event: Callable[..., Any], **facts: Any) -> None:
        """Publish an event of this type, now."""
        self.bus.publish(event(at=self.clock.now(), **facts))


class Silent(Intake):
    """For connections that no log, figure or record is to have. They bring no mail."""

    def __init__(self, of: Intake) -> None:
        self.__dict__.update(of.__dict__)
        self.allocate = lambda _counter: 0

    def publish(self, event: Callable[..., Any], **facts: Any) -> None:
        """Nothing is told."""


class Reception(msgspec.Struct, frozen=True):
    """One listener in one document: what its connections begin with, and keep."""

    listener: Listener
    hostname: str
    context: SSL.Context
    access: HostAccessTable
    recipients: RecipientAccessTable
    ours: OurSettings
    postmaster: str | None
    trust: tuple[str, ...] = ()
    """The lists of authorities that clients' certificates are held against."""

    accepting: Acceptance | None = None
    """The directory that is asked whether recipients exist."""
    sorting: Sorting | None = None
    """What directories are asked at the end of a message, before it is acknowledged."""
    later: Sorting | None = None
    """What they are asked behind that, in the work queue."""
    analysis: Analysis = Analysis()
    """What is asked about the files of messages."""
    members: Mapping[str, tuple[Belonging, ...]] = {}
    """By mail flow policy: directory groups whose members send or get mail over TLS only."""

    def screens(self, policy: MailFlowPolicy) -> bool:
        """Whether the files of mail under this policy are analysed."""
        if policy.analysis is None:
            return self.analysis.enabled and policy.action != "relay"
        return self.analysis.enabled and policy.analysis == "on"

    def settings(self, judgement: Judgement | None) -> ServerSettings:
        """What a connection offers under its policy; None: it is about to be refused."""
        policy = judgement.policy if judgement is not None else None
        size = self.listener.limits.message_size
        if policy is not None and policy.limits.message_size is not None:
            size = min(size, policy.limits.message_size)
        return ServerSettings(
            hostname=self.hostname,
            message_size=size,
            tls=CORE[policy.tls] if policy is not None else "off",
            clean_newlines=self.listener.bare_newlines == "clean",
        )


def receptions(
    document: Document,
    context: Callable[[str], SSL.Context],
    ours: Callable[[Listener], OurSettings],
    questions: Questions = lambda _name: None,
) -> list[Reception]:
    """The receptions of a document; `context` gives a listener's TLS context by name, `ours` what a failed
    handshake is explained with, `questions` the directories' queries."""
    recipients = RecipientAccessTable(document.recipient_access.domains)
    ssl = document.ssl.inbound
    versions = chosen("inbound", ssl.profile, ssl.protocols, ssl.ciphers).versions
    members = over_tls_only(document, questions)
    asked = [sortings(listener, document, questions) for listener in document.listeners]
    return [
        Reception(
            listener=listener,
            hostname=document.listener_hostname(listener),
            context=context(listener.name),
            access=HostAccessTable(document, listener.name),
            recipients=recipients,
            ours=msgspec.structs.replace(ours(listener), versions=versions),
            postmaster=document.postmaster or _own_postmaster(document),
            accepting=acceptance(listener.ldap_accept, questions),
            sorting=early,
            later=late,
            members=members,
            trust=trusted_lists(document.trust),
            analysis=document.analysis,
        )
        for listener, (early, late) in zip(document.listeners, asked, strict=True)
    ]


def _own_postmaster(document: Document) -> str | None:
    """RFC 5321 §4.5.1: <postmaster> must be taken. Without an address in the document it is the postmaster of
    the first domain that mail is accepted for; None where that is no single domain."""
    domains = document.recipient_access.domains
    return next((f"postmaster@{d}" for d in domains if d != "all" and not d.startswith(".")), None)


class Gate:
    """What one listener's port counts: who is connected, from where, and how many over TLS."""

    def __init__(self, row: Row, place: str) -> None:
        """`place` names the port; limits hold for all processes that listen on it together."""
        self.connections: set[Inbound] = set()
        self.leaving = False
        """The gateway stops: connections end at their next command."""
        self.hasty = False
        """Connections without a message at hand are not waited for."""
        self.when_empty: Callable[[], object] = lambda: None
        """Called when the last connection has gone."""
        self._row = row
        self._port = f"in {place}"
        self._tls = f"tls {place}"
        self._shakes, self._shaken_at = math.inf, 0.0
        """Handshakes that strangers may begin, and when that was so."""

    def enter(self, address: str, limits: ListenerLimits) -> Reply | None:
        """Count a connection; the reply that refuses it when it is one too many."""
        mine = self._row.enter(f"{self._port} {address}")
        inside = self._row.enter(self._port)
        if self.leaving:  # it was accepted just before the port was closed
            return replies.SHUTTING_DOWN
        if crowded():
            return replies.TOO_MANY_TO_HOST
        if inside > limits.connections:
            return replies.TOO_MANY_TO_LISTENER
        return replies.TOO_MANY_FROM_HOST if mine > limits.connections_per_host else None

    def leave(self, address: str, *, tls: bool) -> None:
        self._row.leave(f"{self._port} {address}")
        self._row.leave(self._port)
        if tls:
            self._row.leave(self._tls)
        if not self.connections:
            self.when_empty()

    def may_shake(self, per_second: int, now: float) -> bool:
        """Whether one more handshake of a client that nobody knows may begin; counted if so.

        A second's worth may come at once. `now`: of the monotonic clock."""
        rate = per_second / self._row.board.movers
        room = max(1.0, rate)
        self._shakes = min(room, self._shakes + rate * (now - self._shaken_at))
        self._shaken_at = now
        if self._shakes < 1.0:
            return False
        self._shakes -= 1.0
        return True

    @property
    def tls_sessions(self) -> int:
        """Connections over TLS, in all processes."""
        return self._row.inside(self._tls)

    def enter_tls(self) -> None:
        """Count a connection that begins TLS; `leave` takes it back."""
        self._row.enter(self._tls)
