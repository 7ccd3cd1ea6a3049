"""How a cluster begins, and how machines come and go: create, invite, join, admit, remove."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence

import msgspec

from mxseal.cluster import change as changes_of
from mxseal.cluster import levels, transport
from mxseal.cluster import record as records
from mxseal.cluster.desk import Desk, NoMember, purpose_of
from mxseal.cluster.engine import Engine, EngineAway, Overtaken, TooLarge
from mxseal.cluster.history import problems_of
from mxseal.cluster.keys import Distrust, Identity, Proof, fingerprint, seal_to, signed
from mxseal.cluster.levels import Cluster, Level, Member, Refused
from mxseal.cluster.membership import (
    TOKEN_LIFE,
    Answer,
    Applicant,
    Membership,
    Request,
    Ticket,
    Token,
    read_token,
)
from mxseal.cluster.record import Author
from mxseal.cluster.settings import certificate_setting, join, split
from mxseal.config.history import BuildFailed
from mxseal.config.model import Document
from mxseal.config.toml import parse, render
from mxseal.storage.ports import StorageRefused
from mxseal.storage.sealing import Seal, SealBroken

_KEY_BYTES = 32


class Way(msgspec.Struct, frozen=True, kw_only=True):
    """How the engine is reached, as an administrator said it."""

    servers: tuple[str, ...]
    authority: str
    certificate: str


def _membership(desk: Desk, name: str, way: Way, identity: Identity) -> Membership:
    document = desk.around.alone.current().document
    return Membership(
        cluster=name,
        machine=document.hostname,
        servers=way.servers,
        authority=way.authority,
        certificate=way.certificate,
        identity=identity.secret,
        keys={},
    )


def _new_key(cluster: Cluster) -> tuple[Cluster, bytes]:
    """The cluster with a new key, sealed to each of its machines."""
    key = secrets.token_bytes(_KEY_BYTES)
    machines = {
        name: msgspec.structs.replace(member, wrapped=seal_to(member.sealing, key, purpose_of(cluster)))
        for name, member in cluster.machines.items()
    }
    return msgspec.structs.replace(cluster, machines=machines), key


# --- create ------------------------------------------------------------------------------------------------


async def create(desk: Desk, name: str, way: Way, user: str) -> Cluster:
    """A cluster of this machine, whose settings become the cluster's. Raises Refused, EngineAway."""
    async with desk.around.changing:
        return await _create(desk, name, way, user)


async def _create(desk: Desk, name: str, way: Way, user: str) -> Cluster:
    current = desk.around.alone.current()
    identity = Identity.make()
    now = desk.around.clock.now()
    membership = _membership(desk, name, way, identity)
    member = Member(group="", settings={}, signing=identity.signing, sealing=identity.sealing, joined=now)
    cluster = levels.new_cluster(name, membership.machine, member, current.document)
    own = certificate_setting(way.certificate)
    if own in cluster.settings:  # it says who this machine is: others have their own
        cluster = changes_of.move(cluster, own, cluster.top, Level("machine", membership.machine))
    cluster = msgspec.structs.replace(cluster, id=secrets.token_hex(16), number=current.number + 1)
    cluster, key = _new_key(cluster)
    record = records.write(cluster, Author(membership.machine, user, "cluster created", now), identity)
    engine = await Engine.connect(desk.access(membership), lambda: None)
    try:
        if await engine.head() is not None:
            raise Overtaken
        await engine.make(record.encode())
    except Overtaken:
        raise Refused(f"The engine has a cluster {name!r} already: join it, or choose another name") from None
    except TooLarge as large:
        raise Refused(str(large)) from None
    finally:
        await engine.close()
    desk.begin(msgspec.structs.replace(membership, keys={cluster.generation: key}), cluster, record)
    return cluster


# --- a token -----------------------------------------------------------------------------------------------


async def invite(desk: Desk, group: str) -> Token:
    """A token with which one machine can join. Raises Refused, EngineAway."""
    membership, history = desk.member
    history.agreed.group(group)
    identity = Identity(membership.identity)
    token = Token(
        cluster=membership.cluster,
        ticket=secrets.token_hex(8),
        secret=secrets.token_bytes(_KEY_BYTES),
        inviter=membership.machine,
        fingerprint=identity.fingerprint,
    )
    ticket = Ticket(
        secret=token.secret,
        group=group,
        by=membership.machine,
        expires=desk.around.clock.now() + TOKEN_LIFE,
    )
    place = f"ticket.{token.ticket}"
    await (await desk.engine()).put(place, desk.seal(history.agreed).seal(place, msgspec.json.encode(ticket)))
    return token


# --- join: the machine that comes --------------------------------------------------------------------------


async def enter(desk: Desk, text: str, way: Way, keep: Sequence[str], user: str) -> Cluster:
    """Join the cluster of a token. Raises Refused, EngineAway, Distrust, BuildFailed; then nothing is
    changed here, and the cluster does not have this machine."""
    token = read_token(text)
    if token is None:
        raise Refused("This is no token of 'clusterconfig token': copy all of it, from 'mxseal-join-' on")
    identity = Identity.make()
    membership = _membership(desk, token.cluster, way, identity)
    engine = await Engine.connect(desk.access(membership), lambda: None)
    try:
        record, cluster = await _apply(desk, engine, token, membership, keep)
        key = identity.open(cluster.machine(membership.machine).wrapped, purpose_of(cluster))
        membership = msgspec.structs.replace(membership, keys={cluster.generation: key})
        try:
            await _settle(desk, engine, membership, cluster, record)
        except (BuildFailed, EngineAway, Distrust):
            await _withdraw(engine, cluster, membership, user)
            raise
    finally:
        await engine.close()
    return cluster


async def _apply(
    desk: Desk, engine: Engine, token: Token, membership: Membership, keep: Sequence[str]
) -> tuple[records.Record, Cluster]:
    identity = Identity(membership.identity)
    document = desk.around.alone.current().document
    settings = split(document)
    wanted = ["machine", *keep, certificate_setting(membership.certificate)]
    own = join({name: settings[name] for name in wanted if name in settings})
    assert isinstance(own, Document), "part of a document that is in force"
    applicant = Applicant(
        machine=membership.machine,
        signing=identity.signing,
        sealing=identity.sealing,
        settings=render(own),
        keep=tuple(dict.fromkeys(wanted[1:])),
    )
    about = msgspec.json.encode(applicant)
    proof = Proof(token.secret)
    request = Request(ticket=token.ticket, about=about, proof=proof.of("request", about))
    raw = await engine.ask_to_join(msgspec.json.encode(request))
    try:
        answer = msgspec.json.decode(raw, type=Answer)
    except msgspec.MsgspecError:
        raise Distrust("What answered in the cluster's name can't be read") from None
    if answer.refusal:
        raise Refused(answer.refusal)
    if not proof.holds(answer.proof, "answer", answer.record):
        raise Distrust("What answered does not know the token: it is no machine of this cluster")
    record = records.decode(answer.record)
    cluster = records.content(record)
    inviter = cluster.machines.get(token.inviter)
    if inviter is None or fingerprint(inviter.signing, inviter.sealing) != token.fingerprint:
        raise Distrust(f"The machine {token.inviter}, which made the token, is not in the cluster")
    signer = cluster.machine(record.by)
    if not signed(signer.signing, record.signature, record.signed_content()):
        raise Distrust("The cluster's configuration is not signed by the machine that it names")
    return record, cluster


async def _settle(
    desk: Desk, engine: Engine, membership: Membership, cluster: Cluster, record: records.Record
) -> None:
    """Build what the cluster says of this machine, and only then become a member here."""
    document = levels.view(cluster, Level("machine", membership.machine))
    seal = Seal(membership.keys[cluster.generation])
    await transport.fetch(engine, seal, cluster, document, desk.around.keys)
    async with desk.around.changing:
        built = await desk.around.build(document)
        desk.begin(membership, cluster, record)
        assert desk.history is not None
        await desk.around.put_in_force(built, desk.history.revisions(1)[0], document)


async def _withdraw(engine: Engine, cluster: Cluster, membership: Membership, user: str) -> None:
    """Take the entry back that a member has made. If that fails too, the others see it and can remove it."""
    rest, _ = levels.remove_machine(cluster, membership.machine)
    rest = msgspec.structs.replace(rest, number=cluster.number + 1)
    author = Author(membership.machine, user, "could not join", cluster.machine(membership.machine).joined)
    record = records.write(rest, author, Identity(membership.identity))
    try:
        found = await engine.head()
        if found is not None and records.decode(found.value).number == cluster.number:
            await engine.put_head(record.encode(), found.sequence)
    except (EngineAway, Overtaken, TooLarge, Distrust):
        return


# --- join: a member that answers ---------------------------------------------------------------------------


async def admit(desk: Desk, raw: bytes) -> bytes:
    """Answer a machine that wants to join. Whatever is wrong with it is a refusal."""
    try:
        answer = await _admit(desk, raw)
    except (Refused, EngineAway, Distrust, StorageRefused) as refused:
        answer = Answer(refusal=str(refused))
    except NoMember:
        answer = Answer(refusal="The machine that was asked has just left the cluster: try it again")
    return msgspec.json.encode(answer)


async def _admit(desk: Desk, raw: bytes) -> Answer:
    membership, history = desk.member
    try:
        request = msgspec.json.decode(raw, type=Request)
    except msgspec.MsgspecError:
        raise Refused("What this machine asks can't be read: is its program older or newer?") from None
    if not request.ticket.isalnum() or len(request.ticket) > 64:
        raise Refused("There is no such token")
    place = f"ticket.{request.ticket}"
    ticket = await _ticket(desk, place)
    proof = Proof(ticket.secret)
    if not proof.holds(request.proof, "request", request.about):
        raise Refused("The token is not one of this cluster")
    now = desk.around.clock.now()
    if ticket.expires < now:
        raise Refused("The token has expired: 'clusterconfig token' on a member gives another")
    applicant, document = _applicant(request.about)
    member = Member(
        group=ticket.group, settings={}, signing=applicant.signing, sealing=applicant.sealing, joined=now
    )

    def add(cluster: Cluster) -> Cluster:
        made = levels.add_machine(cluster, applicant.machine, member, document, applicant.keep)
        if problems := problems_of(made):
            raise Refused(
                f"With {applicant.machine} the configuration would be wrong: "
                f"{'; '.join(map(str, problems[:3]))}"
            )
        key = _key(desk, cluster)
        wrapped = seal_to(applicant.sealing, key, purpose_of(cluster))
        joined = msgspec.structs.replace(made.machine(applicant.machine), wrapped=wrapped)
        return msgspec.structs.replace(made, machines={**made.machines, applicant.machine: joined})

    add(history.agreed)  # what is wrong with it must not cost the token
    if await (await desk.engine()).take(place) is None:
        raise Refused("The token was used already: 'clusterconfig token' on a member gives another")
    author = Author(membership.machine, "cluster", f"{applicant.machine} joined", now)
    cluster = await desk.amend(add, author)
    record = desk.around.state.cluster.get(cluster.number) or b""
    return Answer(record=record, proof=proof.of("answer", record))


def _key(desk: Desk, cluster: Cluster) -> bytes:
    desk.seal(cluster)  # opens it, if it is a new one
    membership, _ = desk.member
    return membership.keys[cluster.generation]


async def _ticket(desk: Desk, place: str) -> Ticket:
    _, history = desk.member
    found = await (await desk.engine()).get(place)
    if found is None:
        raise Refused("The token was used already, or is of another cluster")
    try:
        return msgspec.json.decode(desk.seal(history.agreed).open(place, found.value), type=Ticket)
    except (SealBroken, msgspec.MsgspecError):
        raise Refused("The token is older than the last removal of a machine: make another") from None


def _applicant(about: bytes) -> tuple[Applicant, Document]:
    try:
        applicant = msgspec.json.decode(about, type=Applicant)
    except msgspec.MsgspecError:
        raise Refused("What this machine says about itself can't be read") from None
    document = parse(applicant.settings)
    if not isinstance(document, Document) or document.hostname != applicant.machine:
        raise Refused("The settings that this machine brings can't be read: is its program older or newer?")
    if len(applicant.signing) != _KEY_BYTES or len(applicant.sealing) != _KEY_BYTES:
        raise Refused("The keys of this machine are none")
    return applicant, document


# --- remove ------------------------------------------------------------------------------------------------


async def remove(desk: Desk, name: str, user: str) -> Cluster:
    """Take a machine out; the others get a new key, under which all private keys are sealed anew. Raises
    Refused, EngineAway."""
    membership, history = desk.member
    if list(history.agreed.machines) == [name]:
        cluster = history.agreed
        await (await desk.engine()).unmake()
        async with desk.around.changing:
            await desk.leave(user, f"left the cluster {membership.cluster}, of which it was the last machine")
        return cluster
    before = history.agreed
    rest, _ = levels.remove_machine(before, name)
    # By chance, so that two removals at the same moment do not seal keys in each other's place.
    rest = msgspec.structs.replace(rest, generation=secrets.randbits(48))
    rest, key = _new_key(rest)
    await transport.reseal(await desk.engine(), desk.seal(before), Seal(key), before, rest)
    membership, _ = desk.member
    desk.keep(msgspec.structs.replace(membership, keys={**membership.keys, rest.generation: key}))
    author = Author(membership.machine, user, f"{name} removed", desk.around.clock.now())

    async def behind() -> None:
        try:
            await transport.sweep(await desk.engine(), before)
        except EngineAway:
            pass  # they are sealed under a key that nobody needs any more
        if name == membership.machine:
            await desk.leave(user, f"left the cluster {membership.cluster}")

    return await desk.amend(_only_now(before, rest), author, behind)


def _only_now(before: Cluster, after: Cluster) -> Callable[[Cluster], Cluster]:
    def change(cluster: Cluster) -> Cluster:
        if cluster.number != before.number:
            raise Refused("Somebody committed at the same moment: nothing was changed. Try it again")
        return after

    return change
