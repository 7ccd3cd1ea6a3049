"""Private keys of certificates between machines: in the engine they are sealed under the cluster's key.

A key that only its own machine uses stays there. One whose certificate another machine sees is put into the
engine before the revision that names it, and taken from there before that revision is built.
"""

from __future__ import annotations

from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)

from mxseal.certs import profiles
from mxseal.certs.facts import PrivateKey, spki_sha256
from mxseal.certs.keys import KeyStore
from mxseal.certs.x509 import Bundle
from mxseal.cluster.engine import Engine
from mxseal.cluster.keys import Distrust
from mxseal.cluster.levels import Cluster, Level, view
from mxseal.config.model import Certificate, Document
from mxseal.storage.sealing import Seal, SealBroken


def _place(generation: int, spki: str) -> str:
    return f"key.{generation}.{spki}"


def _spki(profile: Certificate) -> str | None:
    """Of the key that a profile needs; None when its certificate can't be read."""
    bundle = profiles.parse(profile)
    return spki_sha256(bundle.leaf) if isinstance(bundle, Bundle) else None


def shared(cluster: Cluster, machine: str) -> dict[str, str]:
    """Keys (by the digest of their public half) of certificates that machines other than this one see, and
    the certificate's name."""
    found = {}
    for each in cluster.machines:
        if each != machine:
            for profile in view(cluster, Level("machine", each)).certificates:
                if (spki := _spki(profile)) is not None:
                    found[spki] = profile.name
    return found


async def publish(engine: Engine, seal: Seal, cluster: Cluster, machine: str, keys: KeyStore) -> None:
    """Put those keys that this machine has and others need into the engine. Raises EngineAway."""
    for spki in shared(cluster, machine):
        key = keys.load(spki)
        place = _place(cluster.generation, spki)
        if key is not None and await engine.get(place) is None:
            await engine.put(place, seal.seal(place, _plain(key)))


async def fetch(
    engine: Engine, seal: Seal, cluster: Cluster, document: Document, keys: KeyStore
) -> list[str]:
    """Take the keys that a document needs and this machine lacks; gives the names of certificates whose key
    is nowhere. Raises EngineAway, Distrust."""
    missing = []
    for profile in document.certificates:
        spki = _spki(profile)
        if spki is None or keys.load(spki) is not None:
            continue
        place = _place(cluster.generation, spki)
        found = await engine.get(place)
        if found is None:
            missing.append(profile.name)
            continue
        key = _opened(seal, place, found.value)
        if spki_sha256(key) != spki:
            raise Distrust(f"The engine has another key for the certificate {profile.name} than its own")
        keys.put(key)
    return missing


def _opened(seal: Seal, place: str, sealed: bytes) -> PrivateKey:
    try:
        key = load_der_private_key(seal.open(place, sealed), None)
    except (SealBroken, ValueError, TypeError):
        raise Distrust("The engine has a private key that does not open with the cluster's key") from None
    if not isinstance(key, PrivateKey):
        raise Distrust("The engine has a private key of a kind that certificates do not have")
    return key


async def reseal(engine: Engine, old: Seal, new: Seal, before: Cluster, after: Cluster) -> None:
    """Seal all keys anew, for the next generation of the cluster's key. `sweep` removes the
    old ones."""
    for spki in shared(before, ""):
        place, there = _place(before.generation, spki), _place(after.generation, spki)
        found = await engine.get(place)
        if found is not None:
            await engine.put(there, new.seal(there, _plain(_opened(old, place, found.value))))


async def sweep(engine: Engine, before: Cluster) -> None:
    """Remove the keys of a generation that is over."""
    for spki in shared(before, ""):
        await engine.delete(_place(before.generation, spki))


def _plain(key: PrivateKey) -> bytes:
    return key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
