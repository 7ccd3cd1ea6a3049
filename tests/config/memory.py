"""Documents in memory, keeping the contract of the storage port."""

from __future__ import annotations

from mxseal.storage.ports import Candidate, Revision, StorageRefused


class MemoryDocuments:
    """What `storage.ports.Documents` asks for. `trouble`, when set, is raised by the next `put`."""

    def __init__(self) -> None:
        self._revisions: list[Revision] = []
        self._candidates: dict[str, Candidate] = {}
        self.trouble: StorageRefused | None = None

    def latest(self) -> Revision | None:
        return self._revisions[-1] if self._revisions else None

    def get(self, number: int) -> Revision | None:
        return next((entry for entry in self._revisions if entry.number == number), None)

    def history(self, limit: int = 50) -> list[Revision]:
        return self._revisions[::-1][:limit]

    def put(self, expected: int, toml: str, user: str, comment: str, at: float) -> Revision:
        if self.trouble is not None:
            raise self.trouble
        if expected != len(self._revisions):
            raise StorageRefused("conflict", "someone else was first")
        revision = Revision(number=expected + 1, toml=toml, user=user, comment=comment, at=at)
        self._revisions.append(revision)
        return revision

    def candidate(self, owner: str) -> Candidate | None:
        return self._candidates.get(owner)

    def save_candidate(self, candidate: Candidate) -> None:
        self._candidates[candidate.owner] = candidate

    def drop_candidate(self, owner: str) -> None:
        self._candidates.pop(owner, None)
