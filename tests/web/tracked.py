"""Thirty days of mail in message tracking, for pages to show: made by the indexer from an event log."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec

from mxseal.events.types import Event, OutboundTlsSucceeded
from mxseal.sinks.tracking.indexer import Indexer, Limits
from mxseal.storage.tracking.file import TrackingFile
from mxseal.tls.facts import TlsFacts
from mxseal.tls.identity import NameVerdict
from mxseal.tls.verification import Link, Verification
from tests.tracking.journal import TLS13, Journal, Mail

DAY = 86_400.0
VERIFIED, FAILED, IN_CLEAR, BOUNCED, STRANGE = range(901, 906)
"""MIDs of the last messages."""
TLS12 = TlsFacts(protocol="TLSv1.2", cipher="ECDHE-RSA-AES256-GCM-SHA384", bits=256, group="secp256r1")
HYBRID = TlsFacts(
    protocol="TLSv1.3", cipher="TLS_AES_256_GCM_SHA384", bits=256, group="X25519MLKEM768", verified=True,
    peer_subject="CN=mx.bank.example",
)  # fmt: skip


class Tracked:
    """What commands need of the gateway's tracking."""

    pid: int | None = 4711
    problem = ""

    def __init__(self, home: Path) -> None:
        self.file = TrackingFile(home)


def fill(home: Path, now: float) -> Tracked:
    """A record up to `now` in a new folder."""
    journal = Journal(home)
    journal.write(*_month(Mail(now - 30 * DAY), now), *_last(Mail(now - 7200, 0.05)))
    indexer = Indexer(home, Limits(min_free_bytes=0), print, lambda: now)
    while indexer.step():
        pass
    indexer.close()
    return Tracked(home)


def _month(mail: Mail, now: float) -> Iterator[Event]:
    """A few messages a day, some of them in clear, some stopped by TLS."""
    mail.mid = 200
    for day in range(30):
        for number in range(6 + day % 7 * 2):
            mail.at = now - (30 - day) * DAY + number * 900
            box, sender = f"box{number}@bank.example", f"user{number}@sender{number % 3}.example"
            yield from mail.comes(tls=(TLS13, TLS12, None)[number % 3], name=f"mx.sender{number % 3}.example")
            yield from (*mail.message(sender, (box,)), *mail.leaves())
            if number % 5 == 3:
                yield from mail.goes("masked.example", failed=True, level="required")
                yield from (*mail.closes(), *mail.delayed(to=box))
            yield from _verified(mail) if number % 2 else mail.goes("plain.example", tls=None)
            yield from (*mail.delivered(0), *mail.finished(), *mail.closes())


def _verified(mail: Mail) -> list[Event]:
    """A connection whose certificate leads to an authority that is believed."""
    link = Link(
        subject="CN=mx.bank.example", issuer="CN=Example Issuing CA,O=Example", sha256="3f" * 32,
        spki_sha256="ab" * 32, not_before=mail.at - 9 * DAY, not_after=mail.at + 81 * DAY,
    )  # fmt: skip
    matched = NameVerdict(matched=True, name="mx.bank.example", expected="mx.bank.example")
    found = Verification(
        trusted=True, trust=("system list",), chain=(link,), names=("mx.bank.example",), verify=matched,
        hosted=matched,
    )  # fmt: skip
    events = mail.goes("bank.example", tls=HYBRID, level="required-verify")
    ended = events[-1]
    assert isinstance(ended, OutboundTlsSucceeded)
    sure = msgspec.structs.replace(
        ended, verification=found.completed(), level_from="destination bank.example"
    )
    return [*events[:-1], sure]


def _last(mail: Mail) -> Iterator[Event]:
    """One of each kind, with known numbers."""
    mail.icid, mail.dcid, mail.mid = 1800, 2900, VERIFIED - 1
    two = ("jan@bank.example", "els@bank.example")
    yield from mail.comes(name="mail.sender0.example")
    yield from mail.message(
        "ann@sender0.example", two, subject="Minutes of Tuesday", refused=("no@bank.example",)
    )
    yield from (*_verified(mail), *mail.delivered(0, 1), *mail.finished(), *mail.closes())
    mail.at += 600
    yield from mail.message("ann@sender0.example", ("dan@masked.example",), subject="Kwartaalcijfers")
    yield from mail.goes("masked.example", failed=True, level="required")
    yield from (*mail.closes(), *mail.delayed(to="dan@masked.example"), *mail.leaves())
    mail.at += 600
    yield from mail.comes(tls=None, name=None, ip="198.51.100.77")
    yield from mail.message("", ("eve@plain.example",), subject="Undeliverable")
    yield from mail.goes("plain.example", tls=None)
    yield from (*mail.delivered(0), *mail.finished(), *mail.closes())
    mail.at += 600
    yield from mail.message("ann@sender0.example", ("gone@plain.example",))
    yield from mail.goes("plain.example", tls=TLS12)
    yield from (*mail.bounced(to="gone@plain.example"), *mail.finished(), *mail.closes(), *mail.leaves())
    mail.at += 600
    nasty = "<script>alert(1)</script>\u202e\x1b[31m"
    yield from mail.comes(name="<b>mx</b>.strange.example")
    yield from mail.message('"<b>"@strange.example', ("jan@bank.example",), subject=nasty, message_id=nasty)
    yield from mail.leaves()
