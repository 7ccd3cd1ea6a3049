"""All directories of the document in force, in one process."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Mapping

import msgspec

from mxseal.config.model import Document, LdapProfile
from mxseal.config.subscriptions import wanted
from mxseal.directory.opening import Around, Client, Overhear
from mxseal.directory.profile import Profile
from mxseal.directory.questions import Part, Question
from mxseal.directory.state import ProfileState


class Book(msgspec.Struct, frozen=True):
    """What a document asks whom: ready, and nobody is asked yet."""

    profiles: Mapping[str, Profile] = {}
    questions: Mapping[str, Question] = {}
    detailed: bool = False

    def question(self, name: str) -> Question | None:
        return self.questions.get(name)


class Directories:
    """The profiles in use. Those that a new document does not change keep their connections and answers."""

    def __init__(self, around: Around, password: Callable[[LdapProfile], str | None]) -> None:
        """`password` gives that of a profile's bind, from the sealed store."""
        self._around = around
        self._password = password
        self.book = Book()
        self._retired: weakref.WeakSet[Profile] = weakref.WeakSet()
        """Those of earlier documents, which connections that began with these still ask."""

    def overheard_by(self, overhear: Overhear) -> None:
        """Connections of which administrators want a recording get one."""
        self._around.overhear = overhear

    def prepare(self, document: Document, client: Client | None) -> Book:
        """What the document needs. `client` None: no profile of it speaks TLS."""
        profiles = {spec.name: self._profile(spec, client) for spec in document.ldap_profiles}
        parts = {
            query.name: Part(query, profiles[query.profile])
            for query in document.ldap_queries
            if query.profile in profiles
        }
        questions = {name: Question(name, part.query.kind, (part,)) for name, part in parts.items()}
        for chain in document.ldap_chains:
            steps = [parts[name] for name in chain.queries if name in parts]
            questions[chain.name] = Question(chain.name, chain.kind, steps)
        detailed = any(log.kind == "ldap" for log in wanted(document))
        return Book(profiles, questions, detailed)

    def _profile(self, spec: LdapProfile, client: Client | None) -> Profile:
        password = self._password(spec) if spec.bind == "password" else None
        known = self.book.profiles.get(spec.name)
        if known is not None and (known.spec, known.client, known.password) == (spec, client, password):
            return known
        return Profile(self._around, client, spec, password)

    def adopt(self, book: Book) -> None:
        """Put it in force; profiles that are not in it any more answer what was begun, and hang up."""
        old, self.book = self.book, book
        self._around.detailed = book.detailed
        kept = {id(profile) for profile in book.profiles.values()}
        for profile in old.profiles.values():
            if id(profile) not in kept:
                profile.retire()
                self._retired.add(profile)

    def states(self) -> list[ProfileState]:
        return [profile.state() for profile in self.book.profiles.values()]

    def clear(self, names: Iterable[str] = ()) -> int:
        """Throw away the answers that are kept, of all profiles or of these; gives how many there were."""
        wanted = set(names)
        return sum(
            profile.clear() for name, profile in self.book.profiles.items() if not wanted or name in wanted
        )

    def stop(self) -> None:
        """Hang up."""
        for profile in (*self.book.profiles.values(), *self._retired):
            profile.stop()
