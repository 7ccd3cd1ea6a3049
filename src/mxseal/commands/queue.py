"""Commands on the queue: what waits, for whom, why, and orders to deliver, stop or delete (reference §14)."""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Literal

from mxseal.commands.context import CommandFailed, Context
from mxseal.commands.levels import level_words, read_level
from mxseal.commands.parameters import Argument, Option
from mxseal.commands.registry import command
from mxseal.commands.results import Cell, Column, Done, Field, Parts, Record, Result, Table
from mxseal.commands.times import when
from mxseal.config.values import domain_name
from mxseal.relay.orders import LaneState, Order, Selection
from mxseal.relay.resolver import DnsFault
from mxseal.relay.routing import Routing, Target, own_level
from mxseal.smtp.grammar import split_address
from mxseal.storage.ports import Envelope, Queued, Recipient, StorageRefused

Where = Annotated[
    list[str],
    Argument("MIDs, recipients, or domains; 'all' for everything", metavar="MID|ADDRESS|DOMAIN|all…"),
]


def _routing(ctx: Context) -> Routing:
    return Routing(ctx.services.history.current().document)


@command("showrecipients", role="read-only", summary="List the recipients that wait for delivery")
async def showrecipients(
    ctx: Context,
    match: Annotated[str, Argument("Part of a sender or recipient address")] = "",
    *,
    limit: Annotated[int, Option("List at most this many", least=1, most=100_000)] = 100,
) -> Result:
    """The oldest message comes first. The last column says what the last attempt gave."""
    rows: list[tuple[Cell, ...]] = []
    left_out = 0
    wanted = match.lower()
    async for queued in ctx.services.mail.waiting():
        envelope = queued.envelope
        for recipient in queued.recipients:
            if wanted not in f"{envelope.sender} {recipient.address}".lower():
                continue
            if len(rows) >= limit:
                left_out += 1
                continue
            due = recipient.next_attempt
            rows.append(
                (
                    envelope.mid,
                    recipient.rid,
                    f"<{envelope.sender}>",
                    recipient.address,
                    envelope.size,
                    recipient.attempts,
                    when(due, text="now" if due <= ctx.services.now() else ""),
                    recipient.last_error,
                )
            )
    return Table(
        (
            Column("MID"),
            Column("RID"),
            Column("From", cut=30),
            Column("To", cut=40),
            Column("Bytes"),
            Column("Attempts"),
            Column("Next attempt"),
            Column("Last result", cut=60),
        ),
        tuple(rows),
        empty="No recipient waits for delivery.",
        note=f"{left_out} more; --limit shows more of them." if left_out else "",
    )


@command("tophosts", role="read-only", summary="List the destinations with the most waiting recipients")
async def tophosts(
    ctx: Context,
    order: Annotated[
        Literal["active", "connections", "delivered", "soft", "hard"], Argument("What decides the order")
    ] = "active",
    *,
    limit: Annotated[int, Option("List at most this many", least=1, most=10_000)] = 20,
    down: Annotated[bool, Option("Only destinations that were down at the last attempt")] = False,
    within: Annotated[
        int | None, Option("Count among so many messages of the queue, the oldest", least=1)
    ] = None,
) -> Result:
    """A '*' marks a destination that was down at the last attempt. Counts are since the gateway's start."""
    lanes: dict[Target, list[LaneState]] = {}
    for lane in await ctx.services.mail.lanes():
        lanes.setdefault(lane.target, []).append(lane)
    bad = {target for target, states in lanes.items() if any(lane.up is False for lane in states)}
    # a long queue takes its time, and where nothing is down nobody asks for it
    waiting, left_out = (Counter[Target](), False) if down and not bad else await _waiting(ctx, within)
    rows: list[tuple[tuple[str, str], tuple[int, ...]]] = []
    for target in bad if down else set(waiting) | set(lanes):
        states = lanes.get(target, [])
        numbers = (
            waiting[target],
            sum(lane.connected for lane in states),
            sum(lane.delivered for lane in states),
            sum(lane.soft_failures for lane in states),
            sum(lane.hard_failures for lane in states),
        )
        rows.append(((f"*{target.name}" if target in bad else target.name, target.tls), numbers))
    column = ("active", "connections", "delivered", "soft", "hard").index(order)
    rows.sort(key=lambda row: (-row[1][column], row[0]))
    return Table(
        (
            Column("Recipient host", "host", cut=50),
            Column("TLS"),
            Column("Active recipients", "active"),
            Column("Connections out", "connections"),
            Column("Delivered", "delivered"),
            Column("Delayed", "soft"),
            Column("Bounced", "hard"),
        ),
        tuple((*named, *numbers) for named, numbers in rows[:limit]),
        empty=_NONE_DOWN if down else "Nothing was delivered since the start, and nothing waits.",
        note=f"Recipients are counted among the {within} oldest messages." if left_out else "",
    )


_NONE_DOWN = "No destination was down at the last attempt."


async def _waiting(ctx: Context, within: int | None) -> tuple[Counter[Target], bool]:
    """Recipients by target, and whether there are more messages than were looked at."""
    routing, found, seen = _routing(ctx), Counter[Target](), 0
    async for queued in ctx.services.mail.waiting():
        if seen == within:
            return found, True
        seen += 1
        sender, level = queued.envelope.sender, own_level(queued.envelope)
        found.update(
            routing.target_of(each.address, sender, level, each.route, each.groups)
            for each in queued.recipients
        )
    return found, False


@command("hoststatus", role="read-only", summary="Show how deliveries to one destination go")
async def hoststatus(ctx: Context, host: Annotated[str, Argument("A recipient domain")]) -> Result:
    try:
        domain = domain_name(host)
    except ValueError as error:
        raise CommandFailed(f"{error}.") from None
    target = _routing(ctx).target(domain)
    lanes = [
        lane
        for lane in await ctx.services.mail.lanes()
        if lane.target == target or lane.target.also_serves(domain, target)
    ]
    waiting = 0
    async for queued in ctx.services.mail.waiting():
        waiting += sum(split_address(r.address)[1].lower() == domain for r in queued.recipients)
    states = {lane.up for lane in lanes}
    seen = max((lane.last_activity for lane in lanes), default=0.0)
    errors = [lane.last_error for lane in lanes if lane.last_error]
    fields = [
        Field("Host", domain),
        Field("Status", "down" if False in states else "up" if True in states else "unknown"),
        Field("Last activity", when(seen or None, "none since the start")),
        Field("Waiting recipients", waiting),
        Field("Connections", sum(lane.connected for lane in lanes)),
        Field("Delivered recipients", sum(lane.delivered for lane in lanes)),
        Field("Delayed", sum(lane.soft_failures for lane in lanes)),
        Field("Bounced", sum(lane.hard_failures for lane in lanes)),
        Field("Last error", errors[-1] if errors else "none"),
        Field("TLS level", target.tls),
        Field("Way", f"SMTP route {target.name}" if target.hosts else "MX records"),
    ]
    return Parts((Record(tuple(fields)), await _hops(ctx, domain)))


async def _hops(ctx: Context, domain: str) -> Table:
    target = _routing(ctx).target(domain)
    columns = (Column("Next hop"), Column("Port"), Column("Addresses"))
    if target.hosts:
        found = [await ctx.services.resolver.host(name, port) for name, port in target.hosts]
        hosts = [host for host in found if not isinstance(host, DnsFault)]
        faults = [host.text for host in found if isinstance(host, DnsFault)]
    else:
        answer = await ctx.services.resolver.hosts(domain)
        hosts = [] if isinstance(answer, DnsFault) else list(answer)
        faults = [answer.text] if isinstance(answer, DnsFault) else []
    return Table(
        columns,
        tuple((host.name, host.port, ", ".join(host.addresses)) for host in hosts),
        empty="; ".join(faults) or "No next hop was found.",
    )


def _selections(where: list[str]) -> list[Selection]:
    """What the words mean. Raises CommandFailed when nothing is named."""
    if not where:
        raise CommandFailed("Name MIDs, recipients or domains, or write 'all'.", 2)
    if [word.lower() for word in where] == ["all"]:
        return [Selection()]
    mids = tuple(int(word) for word in where if word.isdecimal())
    named = [Selection(which=word) for word in where if not word.isdecimal()]
    return [Selection(mids=mids), *named] if mids else named


async def _carry_out(ctx: Context, where: list[str], order: Order) -> tuple[str, int]:
    """('3 recipients', 3) after the order."""
    try:
        count = sum([await ctx.services.mail.carry(order, each) for each in _selections(where)])
    except StorageRefused as refused:
        raise CommandFailed(f"The queue could not be changed as a whole: {refused}.") from None
    return ("1 recipient" if count == 1 else f"{count} recipients"), count


@command("delivernow", role="operator", summary="Try waiting recipients at once")
async def delivernow(ctx: Context, where: Where) -> Result:
    """The time until the next regular attempt is cut short; limits of time and attempts stay."""
    told, count = await _carry_out(ctx, where, "deliver")
    return Done(f"{told} {'is' if count == 1 else 'are'} tried now.", {"recipients": count})


@command("deleterecipients", role="operator", summary="Take recipients off the queue, without a bounce")
async def deleterecipients(ctx: Context, where: Where) -> Result:
    """What is being delivered at this moment is left alone. Nobody is told: the messages are gone."""
    told, count = await _carry_out(ctx, where, "delete")
    return Done(f"{told} {'was' if count == 1 else 'were'} deleted.", {"recipients": count})


@command("settls", role="administrator", summary="Set the TLS level of one waiting message")
async def settls(
    ctx: Context,
    mid: Annotated[int, Argument("The message", metavar="MID")],
    level: Annotated[
        str, Argument("One of the six levels, or 'default': as the rules say", complete=level_words)
    ] = "",
) -> Result:
    """The level outranks TLS overrides and destination controls, for this message and all its recipients, and
    survives a restart. It counts from the next attempt on; 'delivernow MID' makes that at once. Without a
    level the command shows which one each recipient has, and who says so."""
    queued = await ctx.services.mail.load(mid)
    if queued is None:
        raise CommandFailed(
            f"There is no message {mid} in the queue. 'showrecipients' lists those that there are."
        )
    if not level:
        return _levels(_routing(ctx), queued)
    own = read_level(level)
    try:
        await ctx.services.mail.carry("level", Selection(mids=(mid,), level=own))
    except StorageRefused as refused:
        raise CommandFailed(f"The level could not be kept: {refused}.") from None
    facts = {"mid": mid, "level": own, "previous": own_level(queued.envelope)}
    if own is None:
        return Done(f"Message {mid} is delivered as overrides and destination controls say.", facts)
    return Done(
        f"Message {mid} is delivered with TLS level {own} from its next attempt on: 'delivernow {mid}' makes "
        "it now.",
        facts,
    )


def _target(routing: Routing, envelope: Envelope, each: Recipient) -> Target:
    return routing.target_of(each.address, envelope.sender, own_level(envelope), each.route, each.groups)


def _levels(routing: Routing, queued: Queued) -> Table:
    envelope = queued.envelope
    found = [(each, _target(routing, envelope, each)) for each in queued.recipients]
    return Table(
        (Column("RID"), Column("To", cut=40), Column("TLS level", "level"), Column("From", "level_from")),
        tuple((each.rid, each.address, target.tls, target.level_from) for each, target in found),
    )


@command("suspenddel", role="operator", summary="Stop delivering; mail is still received")
async def suspenddel(ctx: Context) -> Result:
    """Messages at work are finished. A restart of the gateway resumes deliveries."""
    await ctx.services.mail.suspend()
    return Done("Deliveries are suspended. 'resumedel' resumes them.", {"suspended": True})


@command("resumedel", role="operator", summary="Deliver again after suspenddel")
async def resumedel(ctx: Context) -> Result:
    await ctx.services.mail.resume()
    return Done("Mail delivery resumed.", {"suspended": False})


@command("showmessage", role="read-only", summary="Show one waiting message")
async def showmessage(ctx: Context, mid: Annotated[int, Argument("The message", metavar="MID")]) -> Result:
    """Its envelope, and each recipient that waits: how often it was tried, what the last attempt gave, when
    the next one is, and which TLS level it needs."""
    queued = await ctx.services.mail.load(mid)
    if queued is None:
        raise CommandFailed(
            f"There is no message {mid} in the queue. 'showrecipients' lists those that there are."
        )
    envelope, routing, now = queued.envelope, _routing(ctx), ctx.services.now()
    head = Record((
        Field("MID", envelope.mid),
        Field("From", f"<{envelope.sender}>", "sender"),
        Field("Bytes", envelope.size, "size"),
        Field("Queued", when(envelope.queued_at), "queued_at"),
        Field("ICID", envelope.icid),
        Field("Bounce of MID", envelope.dsn_for, "bounce_of"),
        Field("TLS level of its own", envelope.tls_level, "level"),
        Field("Directories to be asked", envelope.asks, "asks"),
    ))  # fmt: skip
    columns = (
        Column("RID"), Column("To"), Column("Attempts"), Column("Next attempt"), Column("Last result"),
        Column("TLS level", "level"), Column("From", "level_from"),
    )  # fmt: skip
    rows: list[tuple[Cell, ...]] = []
    for each in queued.recipients:
        target = _target(routing, envelope, each)
        due = when(each.next_attempt, text="now" if each.next_attempt <= now else "")
        rows.append(
            (each.rid, each.address, each.attempts, due, each.last_error, target.tls, target.level_from)
        )
    return Parts((head, Table(columns, tuple(rows))))
