"""A cluster's revision as the engine keeps it: compressed, and signed by the machine that committed it.

The engine is trusted with keeping revisions and putting them in order, not with what is in them: a member
takes a revision only when a machine signed it that was a member before.
"""

from __future__ import annotations

import hashlib
import zlib

import msgspec

from mxseal.cluster.keys import Distrust, Identity, signed
from mxseal.cluster.levels import Cluster

LARGEST = 32 << 20
"""Bytes of a revision when it is unpacked: what is packed can be small and without end."""


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """One revision. `body` is the cluster, as compressed JSON."""

    number: int
    by: str
    """The machine that committed it."""
    user: str
    comment: str
    at: float
    """Seconds since the epoch."""
    body: bytes
    signature: bytes = b""

    def signed_content(self) -> bytes:
        """What the signature is of."""
        head = (self.number, self.by, self.user, self.comment, self.at, hashlib.sha256(self.body).hexdigest())
        return b"mxseal revision\0" + msgspec.json.encode(head)

    def encode(self) -> bytes:
        return msgspec.json.encode(self)


class Author(msgspec.Struct, frozen=True):
    """Who commits: on which machine, which user, why, when."""

    machine: str
    user: str
    comment: str
    at: float


def write(cluster: Cluster, author: Author, identity: Identity) -> Record:
    """The signed revision of a cluster."""
    body = zlib.compress(msgspec.json.encode(cluster))
    bare = Record(
        number=cluster.number,
        by=author.machine,
        user=author.user,
        comment=author.comment,
        at=author.at,
        body=body,
    )
    return msgspec.structs.replace(bare, signature=identity.sign(bare.signed_content()))


def decode(raw: bytes) -> Record:
    """Raises Distrust."""
    try:
        return msgspec.json.decode(raw, type=Record)
    except msgspec.MsgspecError as error:
        raise Distrust(
            f"The engine has a revision that can't be read ({error}): a newer program may have written it"
        ) from None


def content(record: Record) -> Cluster:
    """The cluster of a record, whoever signed it. Raises Distrust."""
    try:
        unpacker = zlib.decompressobj()
        text = unpacker.decompress(record.body, LARGEST)
        if unpacker.unconsumed_tail:
            raise Distrust(f"Revision {record.number} unpacks to more than {LARGEST >> 20} MiB")
        cluster = msgspec.json.decode(text, type=Cluster)
    except (zlib.error, msgspec.MsgspecError) as error:
        raise Distrust(f"Revision {record.number} can't be read ({error})") from None
    if cluster.number != record.number:
        raise Distrust(f"Revision {record.number} says that it is revision {cluster.number}")
    return cluster


def follow(known: Cluster, record: Record) -> Cluster:
    """The cluster of a record that comes after `known`. Raises Distrust when no machine of `known` signed it,
    or it is another cluster's or an older one."""
    signer = known.machines.get(record.by)
    if signer is None or not signed(signer.signing, record.signature, record.signed_content()):
        raise Distrust(
            f"Revision {record.number} bears the name of {record.by!r}, and no machine of that name that "
            f"revision {known.number} knows has signed it"
        )
    cluster = content(record)
    if cluster.id != known.id:
        raise Distrust(f"Revision {record.number} is of another cluster")
    if record.number <= known.number:
        raise Distrust(f"The engine went back from revision {known.number} to {record.number}")
    return cluster
