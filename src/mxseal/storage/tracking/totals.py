"""What was counted: by hour and day, and by partner."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import apsw
import msgspec

Span = Literal["hour", "day"]
HOUR, DAY = 3600, 86_400


class Count(msgspec.Struct, frozen=True):
    """`what` and `word` are explained in docs/tracking.md."""

    at: int
    """Beginning of the hour or day: seconds since the epoch, UTC."""
    side: str
    what: str
    word: str
    count: int


class Partner(msgspec.Struct, frozen=True, kw_only=True):
    """A domain's connections in some days. in: of the client's verified name, or its address."""

    side: str
    domain: str
    required_ok: int
    required_failed: int
    preferred_ok: int
    preferred_failed: int
    clear: int
    """Connections that carried mail without TLS."""
    verified: int
    """Of those over TLS."""
    messages_tls: int
    messages_clear: int
    failed_at: float
    """When TLS failed last; 0: it did not."""
    cause: str
    """Identifier of that failure's diagnosis."""
    reason: str

    @property
    def attempts(self) -> int:
        return self.required_ok + self.required_failed + self.preferred_ok + self.preferred_failed

    @property
    def connections(self) -> int:
        return self.attempts + self.clear

    @property
    def percent(self) -> float | None:
        """Of the connections those over TLS; None: there were none."""
        secure = self.required_ok + self.preferred_ok
        return round(100 * secure / self.connections, 1) if self.connections else None


def traffic(
    connection: apsw.Connection, span: Span, since: float, until: float, what: Sequence[str] = ()
) -> list[Count]:
    """Counts of all hours or days that begin in the time."""
    select = "SELECT at, side, what, word, count FROM traffic WHERE span=? AND at>=? AND at<? ORDER BY at"
    rows = connection.execute(select, (span, int(since), int(until)))
    return [Count(*row) for row in rows if not what or row[2] in what]


def totals(connection: apsw.Connection, since: float, until: float) -> dict[str, dict[str, dict[str, int]]]:
    """side to what to word to count, of whole days from that of `since` on."""
    rows = connection.execute(
        "SELECT side, what, word, sum(count) FROM traffic WHERE span='day' AND at>=? AND at<? "
        "GROUP BY side, what, word",
        (int(since) // DAY * DAY, int(until)),
    )
    found: dict[str, dict[str, dict[str, int]]] = {"in": {}, "out": {}}
    for side, what, word, count in rows:
        found[side].setdefault(what, {})[word] = int(count)
    return found


class PartnerDay(msgspec.Struct, frozen=True, kw_only=True):
    """Connections of one domain, both directions together, on one day."""

    at: int
    """Beginning of the day: seconds since the epoch, UTC."""
    tls: int
    clear: int
    failed: int


def partner_days(
    connection: apsw.Connection, since: float, domain: str, side: str | None = None
) -> list[PartnerDay]:
    """The days from that of `since` on, those without a connection left out."""
    rows = connection.execute(
        """
        SELECT day, sum(required_ok + preferred_ok), sum(clear), sum(required_failed + preferred_failed)
        FROM partner WHERE day>=? AND domain=? AND (? IS NULL OR side=?) GROUP BY day ORDER BY day
        """,
        (int(since) // DAY, domain, side, side),
    )
    return [PartnerDay(at=row[0] * DAY, tls=row[1], clear=row[2], failed=row[3]) for row in rows]


def partners(
    connection: apsw.Connection,
    since: float,
    *,
    side: str | None = None,
    domain: str | None = None,
    failing: bool = False,
) -> list[Partner]:
    """Sums over the days from that of `since` on; those with failures first, then by connections. `failing`:
    only those."""
    # a condition on the domain that may be NULL would be none that an index helps with
    where = "" if domain is None else "AND domain=?"
    having = "HAVING sum(required_failed + preferred_failed) > 0" if failing else ""
    rows = connection.execute(
        f"""
        SELECT side, domain, sum(required_ok), sum(required_failed), sum(preferred_ok),
            sum(preferred_failed), sum(clear), sum(verified), sum(messages_tls), sum(messages_clear),
            max(failed_at), cause, reason
        FROM (SELECT * FROM partner WHERE day>=? AND (? IS NULL OR side=?) {where} ORDER BY failed_at)
        GROUP BY side, domain {having}
        """,  # noqa: S608
        (int(since) // DAY, side, side, *(() if domain is None else (domain,))),
    )
    # With max() alone beside them, cause and reason are those of its row (sqlite.org/lang_select.html §2.5).
    names = Partner.__struct_fields__
    found = [Partner(**dict(zip(names, row, strict=True))) for row in rows]
    found.sort(
        key=lambda each: (-(each.required_failed + each.preferred_failed), -each.connections, each.domain)
    )
    return found
