"""Which versions and ciphers a server takes, asked with few hellos: offer all, leave out its choice, again.
PURE: a generator that gives an Offer, is sent the ServerAnswer to it, and returns a Survey.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Literal

import msgspec

from mxseal.tls.offer import VERSIONS, Grade, Offer, Version, grade, suite_name, suites
from mxseal.tls.serverhello import ServerAnswer

State = Literal["accepted", "refused", "untested"]
_MOST = 64
"""Suites of one kind that are asked for, whatever the server claims to take."""


class VersionSeen(msgspec.Struct, frozen=True, kw_only=True):
    """One version. `how` says what the server did where it is not accepted."""

    name: Version
    state: State
    how: str = ""


class CipherSeen(msgspec.Struct, frozen=True, kw_only=True):
    """A suite that the server chose with this version as the highest."""

    version: str
    name: str
    grade: Grade
    group: str | None = None
    dh_bits: int | None = None


class Survey(msgspec.Struct, frozen=True, kw_only=True):
    """What was learnt. Suites of one version are in the order of the server's choice, broken ones last."""

    versions: tuple[VersionSeen, ...] = ()
    ciphers: tuple[CipherSeen, ...] = ()
    listed: tuple[str, ...] = ()
    """Versions whose suites are all known; of other accepted ones the first choice is."""
    order: Literal["server", "client", "unknown"] = "unknown"
    """Whose preference decides on the suite."""
    renegotiation: bool | None = None
    """Whether RFC 5746 is supported; None where only TLS 1.3 was seen, which has no renegotiation."""
    odd: tuple[str, ...] = ()
    """Answers that are not as they should be, as sentences."""

    @property
    def accepted(self) -> tuple[Version, ...]:
        return tuple(each.name for each in self.versions if each.state == "accepted")

    @property
    def groups(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(each.group for each in self.ciphers if each.group))


Asking = Generator[Offer, ServerAnswer, Survey]


def survey() -> Asking:
    """Versions first, a hello each; then the suites of TLS 1.3 and of the highest older version."""
    versions: dict[Version, VersionSeen] = {}
    found: list[CipherSeen] = []
    odd: list[str] = []
    firsts: dict[Version, ServerAnswer] = {}
    for version in VERSIONS:
        if version in versions:
            continue
        answer = yield Offer(version=version, ciphers=suites(version))
        taken = _note(versions, version, answer)
        if taken is not None:
            firsts[taken] = answer
            found.append(_seen(answer))
        if answer.kind in ("clear-text", "malformed"):
            odd.append(f"The answer to a {version} greeting was not TLS: {answer.text or answer.kind}.")
    older = next((version for version in VERSIONS[1:] if version in firsts), None)
    listed: list[str] = []
    order: Literal["server", "client", "unknown"] = "unknown"
    for version, first in firsts.items():
        if version not in ("TLSv1.3", older):
            continue
        more, whole = yield from _rest(version, first.cipher, odd)
        found += more
        if whole:
            listed.append(version)
        if version == older:
            order = yield from _order(version, [first, *more])
    return Survey(
        versions=_settled(versions),
        ciphers=tuple(sorted(found, key=lambda each: VERSIONS.index(each.version))),
        listed=tuple(listed),
        order=order,
        renegotiation=firsts[older].renegotiation if older else None,
        odd=tuple(odd),
    )


def _seen(answer: ServerAnswer) -> CipherSeen:
    return CipherSeen(
        version=answer.version,
        name=suite_name(answer.cipher),
        grade=grade(answer.cipher),
        group=answer.group,
        dh_bits=answer.dh_bits,
    )


def _note(versions: dict[Version, VersionSeen], offered: Version, answer: ServerAnswer) -> Version | None:
    """What the answer says about versions; the one that was taken."""
    if answer.chose and answer.version in VERSIONS[VERSIONS.index(offered) :]:
        taken: Version = answer.version
        between = VERSIONS[VERSIONS.index(offered) : VERSIONS.index(taken)]
        for version in between:
            versions[version] = VersionSeen(name=version, state="refused", how=f"chose {taken} instead")
        versions[taken] = VersionSeen(name=taken, state="accepted")
        return taken
    if answer.refused:
        how = f"alert {answer.text}" if answer.kind == "alert" else "closed without an answer"
        versions[offered] = VersionSeen(name=offered, state="refused", how=how)
    else:
        how = f"chose {answer.version}, which was not offered" if answer.chose else answer.text
        versions[offered] = VersionSeen(name=offered, state="untested", how=how)
    return None


def _settled(versions: dict[Version, VersionSeen]) -> tuple[VersionSeen, ...]:
    """Where nothing was accepted and the server only ever hung up, nothing was learnt about versions."""
    seen = [versions[version] for version in VERSIONS]
    if any(each.state == "accepted" or each.how.startswith("alert") for each in seen):
        return tuple(seen)
    return tuple(
        msgspec.structs.replace(each, state="untested") if each.state == "refused" else each for each in seen
    )


def _rest(
    version: Version, first: int, odd: list[str]
) -> Generator[Offer, ServerAnswer, tuple[list[CipherSeen], bool]]:
    """The suites beside `first`, and whether these are all. Broken ones are asked for first, for where the
    number of connections is bounded: one hello rules them out."""
    everything = [number for number in suites(version) if number != first]
    broken = [number for number in everything if grade(number) == "broken"]
    others = [number for number in everything if grade(number) != "broken"]
    bad, all_bad = yield from _chosen(version, broken, odd)
    fine, all_fine = yield from _chosen(version, others, odd)
    return [*fine, *bad], all_bad and all_fine


def _chosen(
    version: Version, left: list[int], odd: list[str]
) -> Generator[Offer, ServerAnswer, tuple[list[CipherSeen], bool]]:
    """What the server chooses of these until it refuses the rest, and whether it came to that."""
    found: list[CipherSeen] = []
    while left and len(found) < _MOST:
        answer = yield Offer(version=version, ciphers=tuple(left))
        if answer.refused:
            return found, True
        if not answer.chose:
            return found, False
        if answer.version != version or answer.cipher not in left:
            odd.append(f"It chose {suite_name(answer.cipher)}, which was not offered with {version}.")
            return found, False
        left.remove(answer.cipher)
        found.append(_seen(answer))
    return found, not left


def _order(
    version: Version, known: list[ServerAnswer | CipherSeen]
) -> Generator[Offer, ServerAnswer, Literal["server", "client", "unknown"]]:
    """Whose preference counts: the suite that was chosen among all is offered last."""
    first = known[0]
    assert isinstance(first, ServerAnswer)
    names = {suite_name(number): number for number in suites(version)}
    rest = [names[each.name] for each in known[1:] if isinstance(each, CipherSeen) and each.grade != "broken"]
    if not rest:
        return "unknown"
    answer = yield Offer(version=version, ciphers=(*rest, first.cipher))
    if not answer.chose:
        return "unknown"
    return "server" if answer.cipher == first.cipher else "client"
