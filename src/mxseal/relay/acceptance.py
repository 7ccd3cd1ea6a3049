"""Whether a recipient exists, asked of a directory while the client waits."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from mxseal.config.model import LdapUse
from mxseal.directory.questions import Match, Question
from mxseal.ldap.filters import Values
from mxseal.ldap.values import Fault

Questions = Callable[[str], Question | None]
"""The queries of a document by their name."""


class Acceptance(msgspec.Struct, frozen=True):
    """A listener's query, and what happens where it has no answer."""

    question: Question
    use: LdapUse

    def known(self, recipient: str, sender: str) -> Match | None:
        """The answer, where it is kept."""
        return self.question.known(Values(address=recipient, sender=sender))

    async def ask(self, recipient: str, sender: str) -> Match | Fault:
        return await self.question.ask(Values(address=recipient, sender=sender))


def acceptance(use: LdapUse | None, questions: Questions) -> Acceptance | None:
    """What a listener's key says; None: nobody is asked."""
    question = questions(use.query) if use is not None else None
    return Acceptance(question, use) if question is not None and use is not None else None
