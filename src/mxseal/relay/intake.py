"""What incoming connections share: the services behind them, a listener's values, a listener's counts."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec
from OpenSSL import SSL

from mxseal.config.model import Document, Listener, ListenerLimits
from mxseal.relay.access import HostAccessTable, RecipientAccessTable
from mxseal.relay.queue import Queue
from mxseal.relay.resolver import Resolver
from mxseal.smtp import replies
from mxseal.smtp.wire import Reply
from mxseal.tls.diagnosis import OurSettings

if TYPE_CHECKING:
    from mxseal.relay.inbound import Inbound


class Intake:
    """The services that a message goes through on its way in. One for the gateway."""

    def __init__(self, queue: Queue, resolver: Callable[[], Resolver]) -> None:
        self.queue = queue
        self.spool = queue.spool
        self.bus = queue.bus
        self.clock = queue.clock
        self.allocate = queue.allocate
        self.resolver = resolver

    def publish(self, event: Callable[..., Any], **facts: Any) -> None:
        """Publish an event of this type, now."""
        self.bus.publish(event(at=self.clock.now(), **facts))


class Reception(msgspec.Struct, frozen=True):
    """One listener in one document: what its connections begin with, and keep."""

    listener: Listener
    hostname: str
    context: SSL.Context
    access: HostAccessTable
    recipients: RecipientAccessTable
    ours: OurSettings
    postmaster: str | None


def receptions(
    document: Document,
    context: Callable[[str], SSL.Context],
    ours: Callable[[Listener], OurSettings],
) -> list[Reception]:
    """The receptions of a document; `context` gives a listener's TLS context by name, `ours` what a failed
    handshake is explained with."""
    recipients = RecipientAccessTable(document.recipient_access.domains)
    return [
        Reception(
            listener=listener,
            hostname=document.listener_hostname(listener),
            context=context(listener.name),
            access=HostAccessTable(document, listener.name),
            recipients=recipients,
            ours=ours(listener),
            postmaster=document.postmaster or _own_postmaster(document),
        )
        for listener in document.listeners
    ]


def _own_postmaster(document: Document) -> str | None:
    """RFC 5321 §4.5.1: <postmaster> must be taken. Without an address in the document it is the postmaster of
    the first domain that mail is accepted for; None where that is no single domain."""
    domains = document.recipient_access.domains
    return next((f"postmaster@{d}" for d in domains if d != "all" and not d.startswith(".")), None)


class Gate:
    """What one listener's port counts: who is connected, from where, and how many over TLS."""

    def __init__(self) -> None:
        self.connections: set[Inbound] = set()
        self.tls_sessions = 0
        self.leaving = False
        """The gateway stops: connections end at their next command."""
        self.when_empty: Callable[[], object] = lambda: None
        """Called when the last connection has gone."""
        self._inside = 0
        self._by_host: dict[str, int] = {}

    def enter(self, address: str, limits: ListenerLimits) -> Reply | None:
        """Count a connection; the reply that refuses it when it is one too many."""
        mine = self._by_host.get(address, 0) + 1
        self._by_host[address] = mine
        self._inside += 1
        if self.leaving:  # it was accepted just before the port was closed
            return replies.SHUTTING_DOWN
        if self._inside > limits.connections:
            return replies.TOO_MANY_TO_LISTENER
        return replies.TOO_MANY_FROM_HOST if mine > limits.connections_per_host else None

    def leave(self, address: str, *, tls: bool) -> None:
        self._inside -= 1
        self.tls_sessions -= tls
        left = self._by_host.get(address, 1) - 1
        if left:
            self._by_host[address] = left
        else:
            self._by_host.pop(address, None)
        if not self._inside:
            self.when_empty()
