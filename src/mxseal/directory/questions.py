"""The queries of a document, and what an answer means: whether an address is known, and what it becomes.

A fault is never an answer: whoever asks decides what happens without one.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from mxseal.config.model import LdapQuery
from mxseal.directory.profile import Label, Profile
from mxseal.ldap.filters import Values, fill
from mxseal.ldap.values import Fault, Found, Kind, Search


class Match(msgspec.Struct, frozen=True):
    """What was found, and by which query of a chain; `query` "": nothing was."""

    query: str = ""
    found: Found = Found()

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
        return Search(base=base, filter=fill(query.filter, values), attributes=())

    async def ask(self, values: Values) -> Found | Fault:
        search = self.search(values)
        kept = self.profile.kept(search)
        if kept is not None:
            return kept
        return await self.profile.search(search, Label(self.query.kind, self.query.name))


class Question:
    """A query, or a chain of them, by its name."""

    def __init__(self, name: str, kind: Kind, parts: Sequence[Part]) -> None:
        self.name = name
        self.kind = kind
        self.parts = tuple(parts)

    def known(self, values: Values) -> Match | None:
        """The answer, where it is kept; None: the directory has to be asked."""
        for part in self.parts:
            found = part.profile.kept(part.search(values))
            if found is None:
                return None
            if found.count:
                return Match(part.query.name, found)
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
                return Match(part.query.name, found)
        return fault or Match()
