"""A tracking database of many messages: `python -m bench.tracked HOME COUNT` makes one and asks it.

The first segment is made by the product's own indexer from invented events; the further ones are its copies
with other numbers and times, so that ten million take minutes instead of an hour.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apsw

from bench.peers import say
from mxseal.events import types
from mxseal.events.types import Event
from mxseal.sinks.tracking.index import Index
from mxseal.sinks.tracking.indexer import SEGMENT_ROWS
from mxseal.storage.tracking import schema
from mxseal.storage.tracking.file import TrackingFile
from mxseal.storage.tracking.values import Query, TlsWanted
from mxseal.tls.facts import Diagnosis, TlsFacts

START = 1_760_000_000.0
_RATE = 20.0
"""Messages in a second: ten million are six days."""
_BATCH = 2000
_KINDS = tuple(
    TlsFacts(protocol=protocol, cipher=cipher, bits=256, group=group, verified=verified)
    for protocol, cipher, group in (
        ("TLSv1.3", "TLS_AES_256_GCM_SHA384", "X25519MLKEM768"),
        ("TLSv1.3", "TLS_AES_128_GCM_SHA256", "x25519"),
        ("TLSv1.2", "ECDHE-RSA-AES256-GCM-SHA384", "secp384r1"),
    )
    for verified in (True, False)
)
_MASKED = Diagnosis(cause="starttls-masked", side="between", words={"who": "server", "host": "mx"})


class Traffic:
    """Events of mail as it might be: some senders write much, most little; some mail fails."""

    def __init__(self, seed: int = 20260214) -> None:
        self._chance = random.Random(seed)
        self._words = [self._word() for _ in range(5000)]
        self._domains = [f"{self._word()}{number}.example" for number in range(5000)]
        self._users = [self._word() for _ in range(2000)]
        self.at = START
        self._icid = self._mid = self._dcid = 0

    def _word(self) -> str:
        letters = self._chance.choices("aeioubdfgklmnprstvz", k=self._chance.randint(4, 9))
        return "".join(letters)

    def _some(self, among: Sequence[str]) -> str:
        """The first ones far more often than the last."""
        return among[int(len(among) * self._chance.random() ** 3)]

    def messages(self, count: int) -> Iterator[Event]:
        for _ in range(count):
            yield from self._message()

    def _message(self) -> Iterator[Event]:
        chance = self._chance
        self.at += chance.expovariate(_RATE)
        if self._mid % 3 == 0:
            yield from self._comes()
        self._mid += 1
        sender_user = self._some(self._users) if chance.random() < 0.9 else f"bounce-{self._mid}"
        sender = f"{sender_user}@{self._some(self._domains)}"
        to = f"{self._some(self._users)}@{self._some(self._domains[:500])}"
        subject = " ".join(self._some(self._words) for _ in range(chance.randint(3, 8)))
        about: dict[str, Any] = {"mid": self._mid, "icid": self._icid}
        yield types.MessageStarted(at=self.at, sender=sender, **about)
        yield types.RecipientAccepted(at=self.at, rid=0, recipient=to, **about)
        yield types.MessageReceived(
            at=self.at, size=chance.randint(1000, 90_000), sender=sender, subject=subject,
            message_id=f"<{chance.getrandbits(64):x}.{self._mid}@{sender.rpartition('@')[2]}>",
            direction="inbound", **about,
        )  # fmt: skip
        yield types.MessageQueued(at=self.at, **about)
        yield from self._goes(sender, to)

    def _comes(self) -> Iterator[Event]:
        chance = self._chance
        if self._icid:
            yield types.ConnectionClosed(at=self.at, icid=self._icid)
        self._icid += 1
        domain = self._some(self._domains)
        number = chance.randrange(60_000)
        yield types.ConnectionOpened(
            at=self.at, icid=self._icid, listener="In", local_ip="192.0.2.1",
            remote_ip=f"10.{number % 200}.{number // 200 % 256}.7", remote_port=25000,
            reverse_dns=f"mx.{domain}", verified=True,
        )  # fmt: skip
        yield types.ConnectionJudged(
            at=self.at, icid=self._icid, verdict="ACCEPT", sender_group=None, match="ALL",
            policy="ACCEPTED", level="preferred",
        )  # fmt: skip
        if chance.random() < 0.97:
            yield types.InboundTlsSucceeded(at=self.at, icid=self._icid, facts=chance.choice(_KINDS))

    def _goes(self, sender: str, to: str) -> Iterator[Event]:
        chance = self._chance
        fate = chance.random()
        if self._mid % 2 or fate < 0.02:
            yield from self._connection(to.rpartition("@")[2], failed=fate < 0.01)
        way: dict[str, Any] = {"at": self.at + 0.5, "dcid": self._dcid, "mid": self._mid}
        failed: dict[str, Any] = {"rid": 0, "sender": sender, "recipient": to, "lines": ("said so",)}
        if fate < 0.05:
            yield types.RecipientDelayed(
                **way, **failed, status="4.2.1", reason="busy", code="450", next_attempt=self.at + 60
            )
            if fate < 0.0005:
                return
        if 0.05 < fate < 0.08:
            yield types.RecipientBounced(**way, **failed, status="5.1.1", reason="unknown", code="550")
        else:
            response = f"2.0.0 Ok: queued as {chance.getrandbits(40):X}"
            yield types.RecipientsDelivered(**way, rids=(0,), response=response)
        yield types.MessageFinished(at=self.at + 0.5, mid=self._mid)

    def _connection(self, domain: str, *, failed: bool) -> Iterator[Event]:
        if self._dcid:
            yield types.DeliveryClosed(at=self.at, dcid=self._dcid)
        self._dcid += 1
        shared: dict[str, Any] = {
            "at": self.at, "dcid": self._dcid, "domain": domain, "host": f"mx.{domain}",
        }  # fmt: skip
        yield types.DeliveryOpened(**shared, local_ip="192.0.2.1", remote_ip="198.51.100.9", port=25)
        level: dict[str, Any] = {"level": "preferred", "level_from": "default"}
        if failed:
            yield types.OutboundTlsFailed(
                **shared, **level, required=False, reason="unavailable", diagnosis=_MASKED
            )
        elif self._chance.random() < 0.005:
            yield types.DeliveryInClear(**shared, **level)
        else:
            yield types.OutboundTlsSucceeded(**shared, **level, facts=self._chance.choice(_KINDS))


def fill(home: Path, count: int, segment: int = SEGMENT_ROWS) -> None:
    """Make the database of a home with so many messages, rounded up to whole segments."""
    home.mkdir(parents=True, exist_ok=True)
    connection = schema.open_for_writing(home / schema.NAME)
    begun = time.monotonic()
    traffic = Traffic()
    rows = min(count, segment)
    _first(connection, traffic, rows)
    took = time.monotonic() - begun
    say(f"{rows:,} messages were indexed in {took:.0f} s, {rows / took:,.0f} in a second")
    for number in range(2, -(-count // rows) + 1):
        _copy(connection, number, rows, traffic.at - START)
        say(f"segment {number} after {time.monotonic() - begun:.0f} s")
    connection.close()


def _first(connection: apsw.Connection, traffic: Traffic, count: int) -> None:
    index = Index(connection, segment_rows=count, refusals=1000)

    def many(statement: str, rows: Sequence[tuple[Any, ...]]) -> None:
        if rows:
            connection.executemany(statement, rows)

    left = count
    while left:
        connection.execute("BEGIN IMMEDIATE")
        for event in traffic.messages(min(_BATCH, left)):
            index.take(event)
        index.flush(many)
        connection.execute("COMMIT")
        left -= min(_BATCH, left)


def _copy(connection: apsw.Connection, number: int, rows: int, span: float) -> None:
    """A segment like the first, later and with other numbers."""
    one, other = schema.prefix(1), schema.prefix(number)
    more, later = (number - 1) * rows, (number - 1) * span
    columns = {
        "message": {
            "mid": f"mid+{more}", "icid": f"icid+{more}", "at": f"at+{later}", "started": f"started+{later}",
            "last": f"last+{later}", "finished": f"finished+{later}",
        },
        "recipient": {"at": f"at+{later}"},
        "step": {"at": f"at+{later}", "dcid": f"dcid+{more}"},
        "connection": {"at": f"at+{later}", "number": f"number+{more}"},
    }  # fmt: skip
    with connection:
        schema.make_segment(connection, number)
        for table in schema.TABLES:
            if table == "subject":
                continue
            names = [row[1] for row in connection.execute(f"PRAGMA table_info({one}{table})")]
            chosen = ", ".join(columns.get(table, {}).get(name, name) for name in names)
            connection.execute(f"INSERT INTO {other}{table} SELECT {chosen} FROM {one}{table}")
        connection.execute(
            f"INSERT INTO {other}subject(rowid, words) "
            f"SELECT id, subject FROM {one}message WHERE subject IS NOT NULL"
        )
        connection.execute(
            "INSERT INTO segment SELECT ?, first+?, last+?, newest, rows FROM segment WHERE number=1",
            (number, later, later),
        )


# --- questions --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Answer:
    """One question's time: the first page, and one far behind it. Seconds."""

    title: str
    first: float
    far: float | None
    found: int
    pages: int
    """That the first answer took: one that matches little may need several."""


def questions(file: TrackingFile) -> list[tuple[str, Query]]:
    """What operators ask; the words are taken from a message in the middle."""
    status = file.status()
    middle = file.search(Query(mid=max(1, status.messages // 2)), 1).messages[0]
    user, _, domain = middle.sender.partition("@")
    subject = (middle.subject or "").split()
    newest, oldest = file.search(Query(), 1).messages[0].at, status.oldest or 0.0
    day = Query(since=(newest + oldest) / 2, until=(newest + oldest) / 2 + 3600)
    return [
        ("the newest", Query()),
        ("a MID", Query(mid=middle.mid)),
        ("a Message-ID", Query(message_id=middle.message_id or "")),
        ("a sender", Query(sender=middle.sender)),
        ("a sender's domain", Query(sender=domain)),
        ("a recipient", Query(recipient=middle.recipients[0])),
        ("a recipient that there is not", Query(recipient="nobody@nowhere.example")),
        ("a user in any domain (user@)", Query(sender=f"{user}@")),
        ("a prefix (abc*)", Query(sender=f"{user[:4]}*")),
        ("a part (*abc*)", Query(recipient=f"*{user[1:5]}*")),
        ("sender and recipient", Query(sender=middle.sender, recipient=middle.recipients[0])),
        ("two domains", Query(sender=domain, recipient=middle.recipients[0].rpartition("@")[2])),
        ("two words of the subject", Query(subject=" ".join(subject[:2]))),
        ("the beginning of a word", Query(subject=f"{subject[-1][:3]}*")),
        ("a host's address", Query(host=middle.remote_ip)),
        ("an hour in the middle", day),
        ("bounced", Query(happened=("bounced",))),
        ("waiting", Query(happened=("waiting",))),
        ("TLS failed, of one domain", Query(happened=("tls-failed",), recipient="*.example")),
        ("in clear going out", Query(tls=TlsWanted(states=("clear",), side="out"))),
        ("TLS 1.2 from one sender", Query(tls=TlsWanted(protocol="TLSv1.2"), sender=middle.sender)),
        ("a cipher that there is not", Query(tls=TlsWanted(cipher="NULL-SHA"))),
    ]


def ask(home: Path) -> list[Answer]:
    """Each question, asked of a file that was just opened."""
    file = TrackingFile(home)
    asked = questions(file)
    answers = []
    for title, query in asked:
        file.close()
        begun = time.monotonic()
        page = file.search(query, 50)
        found, pages = len(page.messages), 1
        while not page.complete and page.following is not None:
            page = file.search(query, 50 - found, page.following)
            found, pages = found + len(page.messages), pages + 1
        first = time.monotonic() - begun
        far = None
        if page.following is not None:
            number, _, row = page.following.partition(".")
            begun = time.monotonic()
            file.search(query, 50, f"{max(1, int(number) // 2)}.{row}")
            far = time.monotonic() - begun
        answers.append(Answer(title, first, far, found, pages))
    file.close()
    return answers


def main(words: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.tracked", description=__doc__)
    parser.add_argument("home", type=Path, help="a folder that has no tracking database yet, or one to ask")
    parser.add_argument("count", type=int, nargs="?", default=10_000_000, help="messages")
    wanted = parser.parse_args(words)
    if not (wanted.home / schema.NAME).exists():
        fill(wanted.home, wanted.count)
    file = TrackingFile(wanted.home)
    status = file.status()
    file.close()
    print(f"{status.messages:,} messages, {status.bytes_used / status.messages:,.0f} bytes each")
    for answer in ask(wanted.home):
        far = f"{answer.far * 1000:8.1f}" if answer.far is not None else "       -"
        print(f"{answer.first * 1000:8.1f} ms {far} ms  {answer.found:3} in {answer.pages}  {answer.title}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
