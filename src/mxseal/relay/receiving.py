"""One message on its way in: who may send it to whom, its content, and its place on the spool."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

import msgspec

from mxseal.directory.questions import Match
from mxseal.events.directory import LdapGroupUndecided, LdapMessageDeferred, LdapRecipientUndecided
from mxseal.events.types import (
    ConnectionRefused,
    MessageAborted,
    MessageQueued,
    MessageReceived,
    MessageStarted,
    ReceivingFailed,
    RecipientAccepted,
    RecipientRejected,
)
from mxseal.ldap.values import Fault
from mxseal.mail.headers import HeaderScanner
from mxseal.mail.received import Received, render
from mxseal.mail.removing import FieldRemover
from mxseal.relay.acceptance import Acceptance
from mxseal.relay.access import Judgement, canonical_domain
from mxseal.relay.intake import Intake, Reception
from mxseal.relay.sorting import Belonging, Letter, Sorted, Sorting, answer
from mxseal.relay.workqueue import mark
from mxseal.smtp import replies
from mxseal.smtp.grammar import split_address
from mxseal.smtp.wire import Mail, Rcpt, Reply
from mxseal.storage.ports import Envelope, Incoming, Queued, Recipient, StorageRefused

if TYPE_CHECKING:
    from mxseal.relay.inbound import Inbound


class Receiving:
    """From MAIL to the end of the content. `abandon` or `store` ends it."""

    def __init__(
        self, intake: Intake, reception: Reception, judgement: Judgement, connection: Inbound
    ) -> None:
        self._intake = intake
        self._reception = reception
        self._judgement = judgement
        self._connection = connection
        self._limits = reception.listener.limits
        self._mid = 0
        self._sender = ""
        self._smtputf8 = False
        self._eightbit = False
        self._recipients: list[Recipient] = []
        self._incoming: Incoming | None = None
        self._scanner = HeaderScanner(self._limits.header_size)
        self._remover = FieldRemover(reception.analysis.header) if reception.analysis.enabled else None
        """A stranger's word about the files of a message must not look like ours."""
        self._size = 0
        self._most = self._limits.message_size
        self._abandoned = False
        self._refusal: Reply | None = None
        """Set once the content can't be taken; the rest of it is read and thrown away."""
        self.endless = False
        """The client goes on far beyond what it may send: reading on for a polite refusal is not worth it."""

    @property
    def taking(self) -> bool:
        """Whether what comes is kept, not refused."""
        return self._refusal is None

    @property
    def accepted(self) -> int:
        """How many recipients."""
        return len(self._recipients)

    # --- envelope -------------------------------------------------------------------------------------------

    def mail(self, request: Mail) -> Reply | Coroutine[Any, Any, Reply]:
        """The answer to MAIL, or what it has to wait for."""
        policy = self._judgement.policy.limits
        most = min(
            self._limits.messages_per_connection,
            policy.messages_per_connection or self._limits.messages_per_connection,
        )
        if self._connection.messages >= most:
            return replies.TOO_MANY_MESSAGES
        senders = self._judgement.tls_senders
        if senders is not None and self._connection.facts is None and senders.holds(request.sender):
            self._connection.tell_tls_missing()
            return replies.SENDER_NEEDS_TLS
        groups = self._over_tls_only("sender")
        return self._mail_of_member(groups, request) if groups else self._start(request)

    def _over_tls_only(self, side: str) -> list[Belonging]:
        """The groups whose members would need TLS, which this connection has not."""
        if self._connection.facts is not None:
            return []
        found = self._reception.members.get(self._judgement.policy.name, ())
        return [each for each in found if each.side == side]

    async def _is_member(self, groups: list[Belonging], address: str) -> bool | None:
        """None: no directory says so, and the client is to come again."""
        for each in groups:
            found = await each.ask(address, answer)
            if isinstance(found, Fault):
                self._intake.publish(
                    LdapGroupUndecided,
                    icid=self._connection.icid,
                    address=address,
                    group=each.group,
                    reason=found.text,
                )
                return None
            if found:
                return True
        return False

    async def _mail_of_member(self, groups: list[Belonging], request: Mail) -> Reply:
        member = await self._is_member(groups, request.sender)
        if member is None:
            return replies.SENDER_UNDECIDED
        if not member:
            return self._start(request)
        self._connection.tell_tls_missing()
        return replies.SENDER_NEEDS_TLS

    def _start(self, request: Mail) -> Reply:
        policy = self._judgement.policy.limits
        if not self._intake.bus.ready():  # a log that can't be written must not miss a message
            return replies.TEMPORARY_TROUBLE
        refusal = self._intake.spool.refusal()
        if refusal is not None:
            return _storage_reply(refusal)
        try:
            self._mid = self._intake.allocate("mid")
        except StorageRefused as refused:
            return _storage_reply(refused)
        self._connection.messages += 1
        self._most = min(self._most, policy.message_size or self._most)
        self._sender = request.sender
        self._smtputf8 = request.smtputf8
        self._eightbit = request.body == "8BITMIME"
        self._intake.publish(
            MessageStarted,
            mid=self._mid,
            icid=self._connection.icid,
            sender=request.sender,
            identity=self._connection.identity,
        )
        return replies.sender_ok(request.sender)

    def rcpt(self, request: Rcpt) -> Reply | Coroutine[Any, Any, Reply]:
        """The answer to RCPT, or what it has to wait for; 421 ends the connection. Mail is relayed only where
        the policy says so."""
        policy = self._judgement.policy
        if policy.action == "reject":
            return self._reject(request.recipient, "HAT", replies.SENDER_REJECTED)
        most = min(
            self._limits.recipients_per_message,
            policy.limits.recipients_per_message or self._limits.recipients_per_message,
        )
        if len(self._recipients) >= most:
            return replies.TOO_MANY_RECIPIENTS
        address, ours = self._postmaster(request.recipient)
        domain = _domain(address)
        taken = policy.action == "relay" or self._reception.recipients.accepts(domain)
        if not (ours or (domain and taken)):
            return self._reject(request.recipient, "RAT", replies.RECIPIENT_REJECTED)
        groups = self._over_tls_only("recipient")
        if groups:
            return self._recipient_member(groups, request, address, ours=ours)
        return self._wanted(request, address, ours=ours)

    async def _recipient_member(
        self, groups: list[Belonging], request: Rcpt, address: str, *, ours: bool
    ) -> Reply:
        member = await self._is_member(groups, address)
        if self._abandoned or member is None:
            return replies.DIRECTORY_UNAVAILABLE
        if member:
            self._connection.tell_tls_missing()
            return self._reject(request.recipient, "TLS", replies.RECIPIENT_NEEDS_TLS)
        reply = self._wanted(request, address, ours=ours)
        return reply if isinstance(reply, Reply) else await reply

    def _wanted(self, request: Rcpt, address: str, *, ours: bool) -> Reply | Coroutine[Any, Any, Reply]:
        """The answer to RCPT for a domain that mail is taken for: whether there is the recipient."""
        policy, accepting = self._judgement.policy, self._reception.accepting
        # Who may relay writes to the world, of which no directory of ours knows.
        if accepting is None or ours or policy.action == "relay" or accepting.use.at != "conversation":
            return self._take(request.recipient, address)
        found = accepting.known(address, self._sender)
        if found is None:
            return self._ask(accepting, request.recipient, address)
        return self._found(found, request.recipient, address)

    def _take(self, recipient: str, address: str) -> Reply:
        rid = len(self._recipients)
        self._recipients.append(Recipient(rid=rid, address=address))
        self._intake.publish(
            RecipientAccepted, mid=self._mid, icid=self._connection.icid, rid=rid, recipient=address
        )
        return replies.recipient_ok(recipient)

    def _found(self, found: Match, recipient: str, address: str) -> Reply:
        if found:
            return self._take(recipient, address)
        return self._reject(recipient, "LDAPACCEPT", replies.RECIPIENT_REJECTED)

    async def _ask(self, accepting: Acceptance, recipient: str, address: str) -> Reply:
        """The directory's word. Without one nobody is refused for good."""
        found = await accepting.ask(address, self._sender)
        if self._abandoned:
            return replies.DIRECTORY_UNAVAILABLE  # to nobody: the client has gone meanwhile
        if not isinstance(found, Fault):
            return self._found(found, recipient, address)
        taken = accepting.use.unavailable == "accept"
        self._intake.publish(
            LdapRecipientUndecided,
            mid=self._mid,
            icid=self._connection.icid,
            recipient=address,
            query=accepting.question.name,
            reason=found.text,
            taken=taken,
        )
        return self._take(recipient, address) if taken else replies.DIRECTORY_UNAVAILABLE

    def _postmaster(self, recipient: str) -> tuple[str, bool]:
        """RFC 5321 §4.5.1: mail to this host's postmaster, also without a domain, goes where the document
        says. Gives the address and whether it is taken whatever its domain is."""
        named = f"postmaster@{self._reception.hostname}"
        if recipient.lower() not in {"postmaster", named}:
            return recipient, False
        return (self._reception.postmaster, True) if self._reception.postmaster else (named, False)

    def _reject(self, recipient: str, by: str, reply: Reply) -> Reply:
        self._intake.publish(
            RecipientRejected, mid=self._mid, icid=self._connection.icid, recipient=recipient, by=by
        )
        connection = self._connection
        connection.refused_recipients += 1
        if connection.refused_recipients <= self._limits.refused_recipients:
            return reply
        # Who asks for so many does not send mail but looks which addresses there are.
        self._intake.publish(ConnectionRefused, icid=connection.icid, reason=replies.TOO_MANY_REFUSED.text)
        return replies.TOO_MANY_REFUSED

    # --- content --------------------------------------------------------------------------------------------

    def begin_content(self) -> Reply:
        """The answer to DATA."""
        self._begin()
        return replies.GO_AHEAD if self._refusal is None else self._refusal

    def _begin(self) -> None:
        connection, facts = self._connection, self._connection.facts
        self._incoming = self._intake.spool.begin()
        line = render(
            Received(
                hello=connection.hello,
                client_name=connection.client.name if connection.client.verified else None,
                client_ip=connection.address,
                hostname=self._reception.hostname,
                extended=connection.extended,
                smtputf8=self._smtputf8,
                tls=facts,
                certificate=connection.certificate,
                mid=self._mid,
            ),
            self._intake.clock.now(),
        )
        self._keep(line)

    def content(self, data: bytes) -> None:
        """A piece of the content."""
        if self._incoming is None and self._refusal is None:  # BDAT has no command before its octets
            self._begin()
        self._size += len(data)
        if self._refusal is not None:
            self.endless = self._size > 2 * self._most
            return
        if self._size > self._most:
            self._refuse(replies.MESSAGE_TOO_LARGE)
            return
        if not self._scanner.done:
            self._scanner.feed(data)
            if self._scanner.too_large:
                self._refuse(replies.HEADER_TOO_LARGE)
                return
        self._keep(data if self._remover is None else self._remover.feed(data))

    def _keep(self, data: bytes) -> None:
        assert self._incoming is not None
        try:
            self._incoming.write(data)
        except StorageRefused as refusal:
            self._refuse(_storage_reply(refusal))

    def _refuse(self, reply: Reply) -> None:
        self._refusal = reply
        if self._incoming is not None:
            self._incoming.abort()
            self._incoming = None

    def chunk_reply(self, size: int) -> Reply:
        """The answer to a BDAT chunk that is not the last (RFC 3030 §2)."""
        return self._refusal or replies.chunk_ok(size)

    def verdict(self, bare_newlines: bool) -> Reply | None:
        """The reply that refuses the complete message; None: it is to be stored."""
        if self._incoming is None and self._refusal is None:  # BDAT 0 LAST
            self._begin()
        self._scanner.end()
        if self._remover is not None and self._refusal is None:
            self._keep(self._remover.end())
        reply = self._refusal
        if reply is None and self._scanner.too_large:
            reply = replies.HEADER_TOO_LARGE
        if reply is None and bare_newlines and self._reception.listener.bare_newlines == "reject":
            reply = replies.BARE_NEWLINES
        if reply is None and self._scanner.received_count > self._limits.hops:
            self._intake.publish(
                ReceivingFailed, icid=self._connection.icid, mid=self._mid, reason="Message loop"
            )
            reply = replies.TOO_MANY_HOPS
        if reply is not None:
            self._refuse(reply)
            self._told_aborted(reply.text)
        return reply

    async def store(self) -> Reply:
        """Put the message on the spool; the reply is the promise, or why there is none."""
        assert self._incoming is not None
        intake, now = self._intake, self._intake.clock.now()
        relayed = self._judgement.policy.action == "relay"
        intake.publish(
            MessageReceived,
            mid=self._mid,
            icid=self._connection.icid,
            size=self._size,
            sender=self._sender,
            message_id=self._scanner.message_id,
            subject=self._scanner.subject,
            identity=self._connection.identity,
            direction="outbound" if relayed else "inbound",
        )
        for recipient in self._recipients:
            recipient.next_attempt = now
        letter = Letter(
            mid=self._mid,
            now=now,
            sender=self._sender,
            recipients=tuple(self._recipients),
            relayed=relayed,
            smtputf8=self._smtputf8,
        )
        found = await self._sort(letter, self._reception.sorting)
        if isinstance(found, Fault):
            return replies.DIRECTORY_UNAVAILABLE
        letter = msgspec.structs.replace(letter, sender=found.sender, recipients=found.recipients)
        envelope, recipients = await self._ready(letter, self._reception.later)
        try:
            await self._incoming.commit(envelope, recipients)
        except StorageRefused as refusal:
            self._told_aborted(str(refusal))
            return _storage_reply(refusal)
        intake.publish(MessageQueued, mid=self._mid, icid=self._connection.icid)
        intake.queue.add(Queued(envelope=envelope, recipients=recipients), self._incoming.body)
        return replies.accepted(self._mid)

    async def _ready(self, letter: Letter, later: Sorting | None) -> tuple[Envelope, tuple[Recipient, ...]]:
        """As it is stored. What the work queue would ask and is known already is not asked there again."""
        assert self._incoming is not None
        asks = None
        if later is not None and later.wants(relayed=letter.relayed):
            known = await later.known(letter) if not later.headers(relayed=letter.relayed) else None
            if known is None or known.turned:
                asks = mark(self._reception.listener.name, relayed=letter.relayed)
            else:
                letter = msgspec.structs.replace(letter, sender=known.sender, recipients=known.recipients)
                self._tell(known)
        envelope = Envelope(
            mid=letter.mid,
            sender=letter.sender,
            size=self._incoming.size,
            queued_at=letter.now,
            smtputf8=self._smtputf8,
            eightbit=self._eightbit,
            icid=self._connection.icid,
            asks=asks,
            screening="" if self._reception.screens(self._judgement.policy) else None,
        )
        return envelope, letter.recipients

    async def _sort(self, letter: Letter, sorting: Sorting | None) -> Sorted | Fault:
        """What the directories say of the envelope. Without an answer the client keeps the message."""
        if sorting is None or not sorting.wants(relayed=letter.relayed):
            return Sorted(letter.sender, letter.recipients)
        found = await sorting.sort(letter)
        if isinstance(found, Fault):
            icid = self._connection.icid
            self._intake.publish(LdapMessageDeferred, mid=self._mid, icid=icid, reason=found.text)
            self._refuse(replies.DIRECTORY_UNAVAILABLE)
            self._told_aborted(replies.DIRECTORY_UNAVAILABLE.text)
        else:
            self._tell(found)
        return found

    def _tell(self, found: Sorted) -> None:
        for act in found.acts:
            self._intake.bus.publish(act)

    # --- the end --------------------------------------------------------------------------------------------

    def abandon(self) -> None:
        """The client went away or began anew."""
        self._abandoned = True
        if self._incoming is not None:
            self._incoming.abort()
            self._incoming = None
        self._told_aborted(self._refusal.text if self._refusal else "Receiving aborted by sender")

    def _told_aborted(self, reason: str) -> None:
        self._intake.publish(MessageAborted, mid=self._mid, icid=self._connection.icid, reason=reason)


def _domain(address: str) -> str:
    """The domain in lower case and A-labels, as recipient access has it; "" when there is none."""
    return canonical_domain(split_address(address)[1])


def _storage_reply(refusal: StorageRefused) -> Reply:
    return replies.QUEUE_FULL if refusal.kind == "full" else replies.TEMPORARY_ERROR
