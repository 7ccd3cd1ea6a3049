"""Facts about LDAP directories: connections, questions, and what became of recipients by them."""

from __future__ import annotations

from typing import Literal

from mxseal.events.event import Event
from mxseal.ldap.values import Kind
from mxseal.tls.facts import Diagnosis, StageTimes, TlsFacts, TlsFault
from mxseal.tls.verification import Verification

__all__ = [
    "LdapAnswered",
    "LdapAsked",
    "LdapCacheCleared",
    "LdapConnected",
    "LdapConnecting",
    "LdapConnectionFailed",
    "LdapFailed",
    "LdapGroupUndecided",
    "LdapMessageDeferred",
    "LdapMessageRequeued",
    "LdapRecipientActed",
    "LdapRecipientUndecided",
]

LdapAction = Literal["bounce", "drop", "reroute", "masquerade", "group"]
LdapStage = Literal["lookup", "connect", "starttls", "handshake", "verification", "bind"]


# --- directories ------------------------------------------------------------------------------------------


class LdapConnecting(Event, frozen=True, kw_only=True, tag=True):
    """A connection to a directory server is begun. Told while there is the log ldap_debug."""

    profile: str
    host: str
    port: int
    security: str


class LdapConnected(Event, frozen=True, kw_only=True, tag=True):
    """A connection to a directory server stands: TLS is as the profile wants it, and the bind was taken."""

    profile: str
    host: str
    port: int
    address: str
    """The one that was connected to."""
    security: str
    facts: TlsFacts | None = None
    """null: without TLS."""
    verification: Verification | None = None
    verified: bool = False
    verdict: str = ""
    """About the server's certificate, in words."""
    diagnosis: Diagnosis | None = None
    """What is wrong with the certificate, where the profile does not verify it."""
    certificate: str | None = None
    """The profile of the client certificate that was offered."""
    bind: str
    """none, password, external."""
    times: StageTimes
    bind_seconds: float | None = None
    """How long the bind took; null: there was none."""


class LdapConnectionFailed(Event, frozen=True, kw_only=True, tag=True):
    """No connection to a directory server came about. It is not asked again for a while."""

    profile: str
    host: str
    port: int
    security: str
    stage: LdapStage
    """How far it came."""
    reason: str
    """As the log has it."""
    fault: TlsFault | None = None
    facts: TlsFacts | None = None
    """Where the handshake was complete."""
    verification: Verification | None = None
    diagnosis: Diagnosis | None = None
    certificate: str | None = None
    """The profile of the client certificate that was offered."""
    times: StageTimes


class LdapAsked(Event, frozen=True, kw_only=True, tag=True):
    """A question was sent. Told while there is the log ldap_debug."""

    kind: Kind
    query: str
    profile: str
    filter: str
    host: str
    port: int


class LdapAnswered(Event, frozen=True, kw_only=True, tag=True):
    """A directory server answered. Told while there is the log ldap_debug."""

    kind: Kind
    query: str
    profile: str
    filter: str
    host: str
    port: int
    results: int
    """Entries that were found; no more than a few are asked for."""
    seconds: float


class LdapFailed(Event, frozen=True, kw_only=True, tag=True):
    """A question has no answer from this server: it was silent, gone, or answered with an error."""

    kind: Kind
    query: str
    profile: str
    filter: str
    host: str
    """Empty: no server was asked."""
    port: int
    reason: str


class LdapCacheCleared(Event, frozen=True, kw_only=True, tag=True):
    """Kept answers were thrown away: somebody asked for it."""

    profile: str
    entries: int
    """How many there were."""


class LdapRecipientUndecided(Event, frozen=True, kw_only=True, tag=True):
    """A directory was to say whether a recipient exists, and could not be asked."""

    mid: int
    icid: int
    recipient: str
    query: str
    reason: str
    taken: bool
    """The recipient was accepted all the same, as the listener says; else it was put off with a 4xx reply."""


class LdapGroupUndecided(Event, frozen=True, kw_only=True, tag=True):
    """A directory was to say whether somebody belongs to a group whose mail needs TLS, and could not be
    asked. The client was told to come again."""

    icid: int
    address: str
    """Of the sender, or of a recipient."""
    group: str
    """Its name in the document."""
    reason: str


class LdapRecipientActed(Event, frozen=True, kw_only=True, tag=True):
    """A directory's answer changed what becomes of a message, once its content had come."""

    mid: int
    rid: int | None
    """null: it is about the sender."""
    action: LdapAction
    """What becomes of it."""
    query: str
    address: str
    """As the client gave it."""
    to: str = ""
    """The address that it became, or the group that it belongs to."""
    route: str = ""
    """The next hop that was named, host:port."""
    header: str = ""
    """The header field that it stands in; empty: it is the envelope's."""


class LdapMessageDeferred(Event, frozen=True, kw_only=True, tag=True):
    """A message was put off with a 4xx reply at its end, since a directory did not answer."""

    mid: int
    icid: int
    reason: str


class LdapMessageRequeued(Event, frozen=True, kw_only=True, tag=True):
    """A message stays in the work queue, since a directory did not answer. It is asked again."""

    mid: int
    reason: str
    next_attempt: float
