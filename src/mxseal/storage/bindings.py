"""Certificates with which users log in: what binds one to a user. Rows of `state.db`, beside the users."""

from __future__ import annotations

from typing import Literal

import apsw
import msgspec

from mxseal.storage.writer import refused

TABLES = """
CREATE TABLE user_certificates(
    kind TEXT NOT NULL, value TEXT NOT NULL, authority TEXT NOT NULL, user TEXT NOT NULL,
    issuer TEXT NOT NULL, added REAL NOT NULL, PRIMARY KEY(kind, value, authority)) WITHOUT ROWID;
"""
"""What version 5 of the state has more than version 4."""

Kind = Literal["fingerprint", "email", "name"]


class Binding(msgspec.Struct, frozen=True, kw_only=True):
    """One certificate, or all of a person's from one authority."""

    user: str
    kind: Kind
    value: str
    """SHA-256 in lower-case hexadecimal digits; a mail address in lower case; a common name."""
    authority: str = ""
    """SHA-256 of the authority's certificate, which `email` and `name` hold for; its name in the document may
    be given to another one."""
    issuer: str = ""
    """That authority, for people."""
    added: float


class Bindings:
    """Each change is durable when it returns; StorageRefused where the disk refuses."""

    def __init__(self, db: apsw.Connection) -> None:
        self._db = db

    _COLUMNS = "user, kind, value, authority, issuer, added"

    def all(self, user: str | None = None) -> list[Binding]:
        """Of a user, or of everybody, in the order in which they were added."""
        where, values = ("", ()) if user is None else ("WHERE user=?", (user,))
        sql = f"SELECT {self._COLUMNS} FROM user_certificates {where} ORDER BY user, added, value"  # noqa: S608
        return [
            Binding(user=r[0], kind=r[1], value=r[2], authority=r[3], issuer=r[4], added=r[5])
            for r in self._db.execute(sql, values)
        ]

    def put(self, binding: Binding) -> bool:
        """False when it is there already, perhaps of somebody else: nobody takes another's over."""
        sql = f"INSERT OR IGNORE INTO user_certificates({self._COLUMNS}) VALUES (?,?,?,?,?,?)"  # noqa: S608
        return self._change(sql, msgspec.structs.astuple(binding))

    def delete(self, binding: Binding) -> bool:
        return self._change(
            "DELETE FROM user_certificates WHERE user=? AND kind=? AND value=? AND authority=?",
            (binding.user, binding.kind, binding.value, binding.authority),
        )

    def _change(self, sql: str, values: tuple[str | float, ...]) -> bool:
        try:
            with self._db:
                self._db.execute(sql, values)
        except apsw.Error as error:
            raise refused(error) from error
        return self._db.changes() > 0
