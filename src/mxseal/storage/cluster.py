"""Revisions of the cluster that this machine has taken, as the engine gave them: with them it goes on when
the engine is away."""

from __future__ import annotations

import apsw

from mxseal.storage.writer import refused

TABLES = """
CREATE TABLE cluster_revisions(number INTEGER PRIMARY KEY, record BLOB NOT NULL);
"""
"""What version 6 of the state has more than version 5."""
KEPT = 200


class ClusterRevisions:
    """Durable when a call returns; StorageRefused where the disk refuses."""

    def __init__(self, db: apsw.Connection) -> None:
        self._db = db

    def put(self, number: int, record: bytes) -> None:
        """Keep a revision; the oldest beyond `KEPT` go."""
        try:
            with self._db:
                self._db.execute("INSERT OR REPLACE INTO cluster_revisions VALUES (?,?)", (number, record))
                self._db.execute("DELETE FROM cluster_revisions WHERE number<=?", (number - KEPT,))
        except apsw.Error as error:
            raise refused(error) from error

    def get(self, number: int) -> bytes | None:
        row = self._db.execute("SELECT record FROM cluster_revisions WHERE number=?", (number,)).fetchone()
        return bytes(row[0]) if row else None

    def latest(self) -> bytes | None:
        rows = self.history(1)
        return rows[0] if rows else None

    def history(self, limit: int = 50) -> list[bytes]:
        """Newest first."""
        found = self._db.execute(
            "SELECT record FROM cluster_revisions ORDER BY number DESC LIMIT ?", (limit,)
        )
        return [bytes(row[0]) for row in found]

    def begin_again(self) -> None:
        """Forget all of them, and everybody's uncommitted changes: they are of another configuration."""
        try:
            with self._db:
                self._db.execute("DELETE FROM cluster_revisions")
                self._db.execute("DELETE FROM candidates")
        except apsw.Error as error:
            raise refused(error) from error
