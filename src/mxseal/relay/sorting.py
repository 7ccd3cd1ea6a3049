"""What directories change of a message once its content has come: unknown recipients, routes, the sender.

All of it happens before the message is acknowledged: where a directory does not answer and the listener says
defer, the client keeps the message and comes again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import msgspec

from mxseal.config.model import LdapRewrite, Listener
from mxseal.config.values import mail_address, split_host_port
from mxseal.directory.questions import Match, Question
from mxseal.events.directory import LdapAction, LdapRecipientActed
from mxseal.ldap.filters import Values
from mxseal.ldap.values import Fault
from mxseal.relay.acceptance import Acceptance, Questions, acceptance
from mxseal.relay.bounces import Verdict, bounce
from mxseal.relay.queue import Queue
from mxseal.storage.ports import Outcome, Queued, Recipient

_REJECTED = "#5.1.0 Address rejected."


class Rewrite(msgspec.Struct, frozen=True):
    """A listener's routing or masquerade query."""

    question: Question
    use: LdapRewrite


class Turned(msgspec.Struct, frozen=True):
    """A recipient that the directory does not know."""

    recipient: Recipient
    query: str
    drop: bool


class Sorted(msgspec.Struct, frozen=True):
    """What became of a message's envelope."""

    sender: str
    recipients: tuple[Recipient, ...]
    """All of them, with new addresses and routes."""
    turned: tuple[Turned, ...] = ()
    """Those of them to which nothing is delivered."""
    acts: tuple[LdapRecipientActed, ...] = ()


class Sorting(msgspec.Struct, frozen=True):
    """What a listener asks at the end of a message."""

    accepting: Acceptance | None = None
    routing: Rewrite | None = None
    masquerading: Rewrite | None = None

    async def sort(
        self, mid: int, now: float, sender: str, recipients: Sequence[Recipient], *, relayed: bool
    ) -> Sorted | Fault:
        """`relayed`: the client may relay, so that its recipients are not ours, and its sender is. Fault:
        there is no answer, and the listener wants one."""
        if relayed:
            return await self._masquerade(mid, now, sender, recipients)
        decided = await asyncio.gather(*(self._decide(each, sender) for each in recipients))
        fault = next((each for each in decided if isinstance(each, Fault)), None)
        if fault is not None:
            return fault
        fresh: list[Recipient] = []
        turned: list[Turned] = []
        acts: list[LdapRecipientActed] = []
        for recipient, found in zip(recipients, decided, strict=True):
            assert not isinstance(found, Fault)
            became = found if isinstance(found, Recipient) else recipient
            fresh.append(became)
            if isinstance(found, Turned):
                turned.append(found)
                action: LdapAction = "drop" if found.drop else "bounce"
                acts.append(_act(now, mid, recipient, action, found.query))
            elif self.routing is not None and became is not recipient:
                query = self.routing.question.name
                acts.append(
                    _act(now, mid, recipient, "reroute", query, to=became.address, route=became.route)
                )
        return Sorted(sender, tuple(fresh), tuple(turned), tuple(acts))

    async def _decide(self, recipient: Recipient, sender: str) -> Recipient | Turned | Fault:
        values = Values(address=recipient.address, sender=sender)
        if self.accepting is not None:
            use = self.accepting.use
            known = await _answer(self.accepting.question, values)
            if isinstance(known, Fault):
                if use.unavailable == "defer":
                    return known
            elif not known:
                return Turned(recipient, self.accepting.question.name, use.no_match == "drop")
        if self.routing is None:
            return recipient
        found = await _answer(self.routing.question, values)
        if isinstance(found, Fault):
            return found if self.routing.use.unavailable == "defer" else recipient
        return _rerouted(recipient, found)

    async def _masquerade(
        self, mid: int, now: float, sender: str, recipients: Sequence[Recipient]
    ) -> Sorted | Fault:
        same = Sorted(sender, tuple(recipients))
        if self.masquerading is None or not sender:
            return same
        found = await _answer(self.masquerading.question, Values(address=sender, sender=sender))
        if isinstance(found, Fault):
            return found if self.masquerading.use.unavailable == "defer" else same
        address = _address(found.address)
        if not address or address == sender:
            return same
        query = self.masquerading.question.name
        act = LdapRecipientActed(
            at=now, mid=mid, rid=None, action="masquerade", query=query, address=sender, to=address
        )
        return Sorted(address, tuple(recipients), (), (act,))


async def _answer(question: Question, values: Values) -> Match | Fault:
    known = question.known(values)
    return known if known is not None else await question.ask(values)


def _rerouted(recipient: Recipient, found: Match) -> Recipient:
    """With what the directory names, as far as it can be used: its texts are checked as an administrator's
    are."""
    address = _address(found.address) or recipient.address
    route = _route(found.host)
    if (address, route) == (recipient.address, recipient.route):
        return recipient
    return Recipient(rid=recipient.rid, address=address, next_attempt=recipient.next_attempt, route=route)


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
    now: float, mid: int, recipient: Recipient, action: LdapAction, query: str, **became: str
) -> LdapRecipientActed:
    return LdapRecipientActed(
        at=now, mid=mid, rid=recipient.rid, action=action, query=query, address=recipient.address, **became
    )


def sorting(listener: Listener, questions: Questions) -> Sorting | None:
    """What a listener's keys say; None: nothing is asked at the end of a message."""
    accept = acceptance(listener.ldap_accept, questions)
    late = accept if accept is not None and accept.use.at == "work-queue" else None
    routing = _rewrite(listener.ldap_routing, questions)
    masquerading = _rewrite(listener.ldap_masquerade, questions)
    return Sorting(late, routing, masquerading) if late or routing or masquerading else None


def _rewrite(use: LdapRewrite | None, questions: Questions) -> Rewrite | None:
    question = questions(use.query) if use is not None else None
    return Rewrite(question, use) if question is not None and use is not None else None


async def turn_away(queue: Queue, queued: Queued, turned: Sequence[Turned]) -> Queued | None:
    """Take those recipients out of a message that is on the spool, with one bounce for all that want one;
    gives what is left of it, None when nothing is."""
    verdicts = [_bounced(each.recipient) for each in turned if not each.drop]
    notice = await bounce(queue, queued, verdicts) if verdicts else None
    mid = queued.envelope.mid
    outcomes = [Outcome(mid=mid, rid=each.recipient.rid, done=True) for each in turned]
    await queue.keep(outcomes, [notice] if notice is not None else [])
    gone = {each.recipient.rid for each in turned}
    left = tuple(each for each in queued.recipients if each.rid not in gone)
    return msgspec.structs.replace(queued, recipients=left) if left else None


def _bounced(recipient: Recipient) -> Verdict:
    lines = (_REJECTED,)
    return Verdict(
        recipient=recipient, kind="bounced", code="550", status="5.1.0", text=_REJECTED, lines=lines
    )
