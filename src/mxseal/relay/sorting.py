"""What directories change of a message: unknown recipients, routes, senders, who belongs to which group.

`Sorting` is asked once the content has come: that of the conversation before the message is acknowledged, so
that the client keeps it where a directory does not answer; that of the work queue behind it (`workqueue`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence

import msgspec

from mxseal.config.model import Document, LdapMasquerade, LdapRewrite, Listener, Undecided
from mxseal.config.values import mail_address, split_host_port
from mxseal.directory.questions import Match, Question
from mxseal.events.directory import LdapAction, LdapRecipientActed
from mxseal.ldap.filters import Values
from mxseal.ldap.values import Fault
from mxseal.mail.masquerade import rewritten, spots
from mxseal.relay.acceptance import Acceptance, Questions, acceptance
from mxseal.storage.ports import Head, Recipient

_ADDRESSES = 200
"""Different addresses of a header that are looked up; further ones stay as they are."""
Ask = Callable[[Question, Values], Awaitable[Match | Fault]]


class Rewrite(msgspec.Struct, frozen=True):
    """A listener's routing query."""

    question: Question
    use: LdapRewrite


class Masquerade(msgspec.Struct, frozen=True):
    """A listener's masquerade query."""

    question: Question
    use: LdapMasquerade


class Belonging(msgspec.Struct, frozen=True):
    """Whether senders or recipients belong to a group."""

    side: str
    """'sender' or 'recipient'."""
    group: str
    """Its name in the document."""
    dn: str
    question: Question
    unavailable: Undecided

    @property
    def mark(self) -> str:
        """As a recipient on the spool has it."""
        return f"{self.side} {self.group}"

    async def ask(self, address: str, ask: Ask) -> bool | Fault:
        """A fault: nobody knows, and the message is to wait until somebody does."""
        if not address:
            return False
        found = await ask(self.question, Values(address=address, group=self.dn))
        if isinstance(found, Fault):
            return found if self.unavailable == "defer" else self.unavailable == "member"
        return bool(found)


class Letter(msgspec.Struct, frozen=True, kw_only=True):
    """A message as directories are asked about it."""

    mid: int
    now: float
    sender: str
    recipients: tuple[Recipient, ...]
    relayed: bool
    """The client may relay, so that its recipients are not ours, and its sender is."""
    header: bytes | None = None
    """None: it is not at hand."""
    smtputf8: bool = False


class Turned(msgspec.Struct, frozen=True):
    """A recipient that the directory does not know."""

    recipient: Recipient
    query: str
    drop: bool


class Sorted(msgspec.Struct, frozen=True):
    """What became of a message's envelope."""

    sender: str
    recipients: tuple[Recipient, ...]
    """All of them, with new addresses, routes and groups."""
    turned: tuple[Turned, ...] = ()
    """Those of them to which nothing is delivered."""
    acts: tuple[LdapRecipientActed, ...] = ()
    head: Head | None = None


class Sorting(msgspec.Struct, frozen=True):
    """What a listener asks about a message whose content has come."""

    accepting: Acceptance | None = None
    routing: Rewrite | None = None
    masquerading: Masquerade | None = None
    belonging: tuple[Belonging, ...] = ()

    def wants(self, *, relayed: bool) -> bool:
        """Whether there is anything to ask about such a message."""
        own = self.masquerading if relayed else self.accepting or self.routing
        return own is not None or bool(self.belonging)

    def headers(self, *, relayed: bool) -> tuple[str, ...]:
        """The header fields that it rewrites."""
        return self.masquerading.use.headers if relayed and self.masquerading is not None else ()

    async def known(self, letter: Letter) -> Sorted | None:
        """The outcome, where all answers are kept; None: directories have to be asked."""
        try:
            found = await self.sort(letter, _kept)
        except _Unknown:
            return None
        return None if isinstance(found, Fault) else found

    async def sort(self, letter: Letter, ask: Ask | None = None) -> Sorted | Fault:
        """Fault: there is no answer, and the listener wants one."""
        ask = ask or answer
        acts: list[LdapRecipientActed] = []
        grouped = await self._grouped(letter, ask, acts)
        if isinstance(grouped, Fault):
            return grouped
        if letter.relayed:
            return await self._masquerade(letter, grouped, ask, acts)
        decided = await asyncio.gather(*(self._decide(each, letter.sender, ask) for each in grouped))
        fresh: list[Recipient] = []
        turned: list[Turned] = []
        for recipient, found in zip(grouped, decided, strict=True):
            if isinstance(found, Fault):
                return found
            became = found if isinstance(found, Recipient) else recipient
            fresh.append(became)
            if isinstance(found, Turned):
                turned.append(found)
                action: LdapAction = "drop" if found.drop else "bounce"
                acts.append(_act(letter, recipient, action, found.query))
            elif self.routing is not None and became is not recipient:
                query = self.routing.question.name
                acts.append(_act(letter, recipient, "reroute", query, to=became.address, route=became.route))
        return Sorted(letter.sender, tuple(fresh), tuple(turned), tuple(acts))

    async def _grouped(
        self, letter: Letter, ask: Ask, acts: list[LdapRecipientActed]
    ) -> tuple[Recipient, ...] | Fault:
        """The recipients, each with the groups that are known of it and of the sender."""
        marks: list[set[str]] = [set(each.groups) for each in letter.recipients]
        for belonging in self.belonging:
            people = list(letter.recipients) if belonging.side == "recipient" else [None]
            found = await asyncio.gather(
                *(belonging.ask(each.address if each else letter.sender, ask) for each in people)
            )
            for at, (person, member) in enumerate(zip(people, found, strict=True)):
                if isinstance(member, Fault):
                    return member
                if member:
                    acts.append(_act(letter, person, "group", belonging.question.name, to=belonging.group))
                    for each in marks if person is None else [marks[at]]:
                        each.add(belonging.mark)
        return tuple(
            recipient if set(recipient.groups) == each else _with(recipient, groups=tuple(sorted(each)))
            for recipient, each in zip(letter.recipients, marks, strict=True)
        )

    async def _decide(self, recipient: Recipient, sender: str, ask: Ask) -> Recipient | Turned | Fault:
        values = Values(address=recipient.address, sender=sender)
        if self.accepting is not None:
            use = self.accepting.use
            known = await ask(self.accepting.question, values)
            if isinstance(known, Fault):
                if use.unavailable == "defer":
                    return known
            elif not known:
                return Turned(recipient, self.accepting.question.name, use.no_match == "drop")
        if self.routing is None:
            return recipient
        found = await ask(self.routing.question, values)
        if isinstance(found, Fault):
            return found if self.routing.use.unavailable == "defer" else recipient
        return _rerouted(recipient, found)

    async def _masquerade(
        self, letter: Letter, recipients: tuple[Recipient, ...], ask: Ask, acts: list[LdapRecipientActed]
    ) -> Sorted | Fault:
        same = Sorted(letter.sender, recipients, (), tuple(acts))
        if self.masquerading is None:
            return same
        question, use = self.masquerading.question, self.masquerading.use
        found = spots(letter.header or b"", use.headers)
        asked = list(dict.fromkeys([letter.sender, *(spot.address for spot in found)]))
        asked = [each for each in asked if each][: _ADDRESSES + 1]
        answers = await asyncio.gather(*(ask(question, Values(address=each, sender=each)) for each in asked))
        became: dict[str, str] = {}
        for address, answer in zip(asked, answers, strict=True):
            if isinstance(answer, Fault):
                if use.unavailable == "defer":
                    return answer
                continue
            fresh = _address(answer.address)
            if fresh and fresh != address and (letter.smtputf8 or fresh.isascii()):
                became[address] = fresh
        sender = became.get(letter.sender, letter.sender)
        header, changed = rewritten(letter.header or b"", found, became)
        if sender != letter.sender:
            acts.append(_masked(letter, question, letter.sender, sender))
        acts += [_masked(letter, question, s.address, became[s.address], header=s.field) for s in changed]
        head = Head(header, len(letter.header or b"")) if changed else None
        return Sorted(sender, recipients, (), tuple(acts), head)


class _Unknown(Exception):
    """A directory has to be asked."""


async def _kept(question: Question, values: Values) -> Match:
    known = question.known(values)
    if known is None:
        raise _Unknown
    return known


async def answer(question: Question, values: Values) -> Match | Fault:
    """The kept answer, or the directory's."""
    known = question.known(values)
    return known if known is not None else await question.ask(values)


def _rerouted(recipient: Recipient, found: Match) -> Recipient:
    """With what the directory names, as far as it can be used: its texts are checked as an administrator's
    are."""
    address = _address(found.address) or recipient.address
    route = _route(found.host)
    if (address, route) == (recipient.address, recipient.route):
        return recipient
    return _with(recipient, address=address, route=route)


def _with(recipient: Recipient, **values: object) -> Recipient:
    return msgspec.structs.replace(recipient, **values)


def _address(text: str) -> str:
    """In canonical form; empty for what is no mail address."""
    try:
        return mail_address(text) if text else ""
    except ValueError:
        return ""


def _route(text: str) -> str:
    try:
        host, port = split_host_port(text) if text else ("", 0)
    except ValueError:
        return ""
    if not host:
        return ""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _act(
    letter: Letter, recipient: Recipient | None, action: LdapAction, query: str, **became: str
) -> LdapRecipientActed:
    """`recipient` None: it is about the sender."""
    return LdapRecipientActed(
        at=letter.now,
        mid=letter.mid,
        rid=recipient.rid if recipient is not None else None,
        action=action,
        query=query,
        address=recipient.address if recipient is not None else letter.sender,
        **became,
    )


def _masked(
    letter: Letter, question: Question, address: str, to: str, header: str = ""
) -> LdapRecipientActed:
    act = _act(letter, None, "masquerade", question.name, to=to, header=header)
    return msgspec.structs.replace(act, address=address)


# --- what a document says ---------------------------------------------------------------------------------


def belongings(
    document: Document, questions: Questions, sides: Sequence[str] = ("sender", "recipient")
) -> tuple[Belonging, ...]:
    """Who has to be looked up in which group, for the levels of deliveries."""
    found: dict[str, Belonging] = {}
    for override in document.tls_overrides:
        for side, name in (("sender", override.sender_group), ("recipient", override.recipient_group)):
            for made in _belongings(document, questions, side, (name or "",), override.unavailable):
                if side in sides:
                    found.setdefault(made.mark, made)
    return tuple(found.values())


def over_tls_only(document: Document, questions: Questions) -> dict[str, tuple[Belonging, ...]]:
    """By mail flow policy: the groups whose members send or get mail over TLS only."""
    return {
        policy.name: (
            *_belongings(
                document, questions, "sender", policy.tls_sender_groups, policy.tls_groups_unavailable
            ),
            *_belongings(
                document, questions, "recipient", policy.tls_recipient_groups, policy.tls_groups_unavailable
            ),
        )
        for policy in document.mail_flow_policies
    }


def _belongings(
    document: Document, questions: Questions, side: str, names: Sequence[str], unavailable: Undecided
) -> Iterator[Belonging]:
    for group in document.ldap_groups:
        question = questions(group.query) if group.name in names else None
        if question is not None:
            yield Belonging(side, group.name, group.group, question, unavailable)


def sortings(
    listener: Listener, document: Document, questions: Questions
) -> tuple[Sorting | None, Sorting | None]:
    """What is asked in the conversation, and what in the work queue; None: nothing.

    Groups are looked up in the work queue, by the addresses that the client gave: where the conversation
    changes these, it looks them up before."""
    accept = acceptance(listener.ldap_accept, questions)
    routing = _rewrite(listener.ldap_routing, questions)
    masquerading = _masquerading(listener.ldap_masquerade, questions)
    early_routing = routing if routing is not None and routing.use.at == "conversation" else None
    early_mask = masquerading if masquerading is not None and masquerading.use.at == "conversation" else None
    groups = belongings(document, questions)
    early = Sorting(None, early_routing, early_mask, groups if early_routing or early_mask else ())
    late = Sorting(
        accept if accept is not None and accept.use.at == "work-queue" else None,
        routing if early_routing is None else None,
        masquerading if early_mask is None else None,
        () if early.belonging else groups,
    )
    return (early if early != Sorting() else None, late if late != Sorting() else None)


def _rewrite(use: LdapRewrite | None, questions: Questions) -> Rewrite | None:
    question = questions(use.query) if use is not None else None
    return Rewrite(question, use) if question is not None and use is not None else None


def _masquerading(use: LdapMasquerade | None, questions: Questions) -> Masquerade | None:
    question = questions(use.query) if use is not None else None
    return Masquerade(question, use) if question is not None and use is not None else None
