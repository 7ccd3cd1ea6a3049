"""The queries of a document, and what an answer means: whether an address is known, and what it becomes.

A fault is never an answer: whoever asks decides what happens without one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import msgspec

from mxseal.config.model import LdapQuery
from mxseal.directory.profile import Label, Profile
from mxseal.ldap.filters import Values, fill
from mxseal.ldap.values import Fault, Found, Kind, Search

MEMBER_OF = "memberOf"
_DEEPEST = 12
_GROUPS = 300
"""Groups that are looked at for one question: circles end, and so do forests."""


class Match(msgspec.Struct, frozen=True):
    """What was found, and by which query of a chain; `query` "": nothing was."""

    query: str = ""
    found: Found = Found()
    host: str = ""
    """The first next hop that a routing query found."""
    address: str = ""
    """The first address that a routing or masquerade query found."""

    def __bool__(self) -> bool:
        return bool(self.query)


class Part:
    """One query with its profile."""

    def __init__(self, query: LdapQuery, profile: Profile) -> None:
        self.query = query
        self.profile = profile

    def search(self, values: Values) -> Search:
        """What is asked."""
        query = self.query
        base = query.base if query.base is not None else self.profile.spec.base
        return Search(base=base, filter=fill(query.filter, values), attributes=_attributes(query))

    def match(self, found: Found) -> Match:
        """What an answer says."""
        query = self.query
        if query.kind not in ("routing", "masquerade"):
            return Match(query.name, found)
        return Match(
            query.name,
            found,
            host=_first(found, query.host_attribute) if query.kind == "routing" else "",
            address=_first(found, address_attribute(query)),
        )

    async def ask(self, values: Values) -> Found | Fault:
        found = await self._once(self.search(values))
        if self.query.kind != "group" or not self.query.nested or isinstance(found, Fault):
            return found
        return await self._upwards(found, values.group)

    async def _upwards(self, found: Found, group: str) -> Found | Fault:
        """The groups above what was found, level by level, until the wanted one is among them."""
        wanted = _canonical(group)
        seen: set[str] = set()
        level = [name for entry in found.entries for name in entry.of(MEMBER_OF)]
        for _ in range(_DEEPEST):
            fresh = [name for name in dict.fromkeys(level) if _canonical(name) not in seen]
            seen |= {_canonical(name) for name in fresh}
            if wanted in seen:
                return found
            if not fresh or len(seen) > _GROUPS:
                break
            searches = [Search(name, "(objectClass=*)", (MEMBER_OF,), whole=False) for name in fresh]
            above = await asyncio.gather(*(self._once(each) for each in searches))
            level = []
            for each in above:
                if isinstance(each, Fault):
                    return each
                level += [name for entry in each.entries for name in entry.of(MEMBER_OF)]
        return Found()

    async def _once(self, search: Search) -> Found | Fault:
        kept = self.profile.kept(search)
        if kept is not None:
            return kept
        return await self.profile.search(search, Label(self.query.kind, self.query.name))


def _attributes(query: LdapQuery) -> tuple[str, ...]:
    """What the answer has to hold."""
    address = address_attribute(query)
    if query.nested:
        return (MEMBER_OF,)
    return {"routing": (query.host_attribute, address), "masquerade": (address,)}.get(query.kind, ())


def address_attribute(query: LdapQuery) -> str:
    """Where the new address stands."""
    return query.address_attribute or ("mail" if query.kind == "masquerade" else "mailRoutingAddress")


def _canonical(name: str) -> str:
    """A DN for comparing: case and the spaces behind commas do not count (RFC 4514 §2.4)."""
    return ",".join(part.strip() for part in name.lower().split(","))


def _first(found: Found, attribute: str) -> str:
    return next((value.strip() for entry in found.entries for value in entry.of(attribute)), "")


class Question:
    """A query, or a chain of them, by its name."""

    def __init__(self, name: str, kind: Kind, parts: Sequence[Part]) -> None:
        self.name = name
        self.kind = kind
        self.parts = tuple(parts)

    def known(self, values: Values) -> Match | None:
        """The answer, where it is kept; None: the directory has to be asked."""
        for part in self.parts:
            if part.query.nested:
                return None
            found = part.profile.kept(part.search(values))
            if found is None:
                return None
            if found.count:
                return part.match(found)
        return Match()

    async def ask(self, values: Values) -> Match | Fault:
        """The first query that finds something. Where one of them has no answer and none finds anything,
        nothing is known."""
        fault: Fault | None = None
        for part in self.parts:
            found = await part.ask(values)
            if isinstance(found, Fault):
                fault = fault or found
            elif found.count:
                return part.match(found)
        return fault or Match()
