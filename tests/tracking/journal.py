"""An event log that a test writes, and an indexer over it."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from mxseal.events import types
from mxseal.events.types import Event
from mxseal.logs.retained import file_path
from mxseal.sinks.jsonlog import encode
from mxseal.sinks.tracking.indexer import Indexer, Limits
from mxseal.storage.tracking.file import TrackingFile
from mxseal.storage.tracking.values import Found, Query
from mxseal.tls.facts import Diagnosis, TlsFacts

START = 1_771_096_828.0
ROOMY = Limits(min_free_bytes=0)
TLS13 = TlsFacts(protocol="TLSv1.3", cipher="TLS_AES_256_GCM_SHA384", bits=256, group="x25519")
MASKED = Diagnosis(
    cause="starttls-masked", side="between", words={"who": "server", "host": "mx", "text": "***"}
)


class Journal:
    """`json_logs` of a home in a test's folder."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.folder = home / "logs" / "json_logs"
        self.folder.mkdir(parents=True)
        self._stamps = itertools.count(1)
        self.stamp = ""
        self.rotate()

    @property
    def current(self) -> Path:
        return file_path(self.folder, "json", self.stamp, "current")

    def rotate(self) -> Path:
        """Save the file and begin another; the saved one."""
        saved = self.current.with_suffix(".s")
        old, self.stamp = self.stamp, f"20260214T{next(self._stamps):06}"
        self.current.touch()
        if old:
            file_path(self.folder, "json", old, "current").rename(file_path(self.folder, "json", old, "s"))
            return file_path(self.folder, "json", old, "s")
        return saved

    def write(self, *events: Event) -> None:
        self.raw(b"".join(map(encode, events)))

    def raw(self, data: bytes) -> None:
        with self.current.open("ab") as file:
            file.write(data)


class Tracking:
    """An indexer and what it has found; `said` is what it told of damage and gaps."""

    def __init__(self, home: Path, limits: Limits = ROOMY, now: float = START) -> None:
        self.home = home
        self.limits = limits
        self.now = now
        self.said: list[str] = []
        self.indexer = self._new()
        self.file = TrackingFile(home)

    def _new(self) -> Indexer:
        return Indexer(self.home, self.limits, self.said.append, lambda: self.now)

    def run(self) -> int:
        """Until all is read; how many steps it took."""
        return sum(1 for _ in iter(self.indexer.step, False))

    def killed(self) -> None:
        """Another indexer takes over, which knows only what was written."""
        self.indexer.close()
        self.indexer = self._new()

    def tidy(self) -> None:
        while self.indexer.tidy():
            pass

    def mids(self, **query: Any) -> list[int]:
        """What a search finds, newest first."""
        return [found.mid for found in self.all(**query)]

    def all(self, *, page: int = 1000, **query: Any) -> list[Found]:
        found: list[Found] = []
        after: str | None = None
        while True:
            part = self.file.search(Query(**query), page, after)
            found += part.messages
            if (after := part.following) is None:
                return found

    def close(self) -> None:
        self.indexer.close()
        self.file.close()


class Mail:
    """Events of messages and connections with numbers and times that go up."""

    def __init__(self, at: float = START, step: float = 0.001) -> None:
        self.at = at
        self.step = step
        self.icid = self.mid = self.dcid = 0

    def tick(self) -> float:
        self.at += self.step
        return self.at

    def comes(
        self, *, ip: str = "192.0.2.7", name: str | None = "mx.sender.test", tls: TlsFacts | None = TLS13,
        level: str = "preferred",
    ) -> list[Event]:  # fmt: skip
        """A client connects."""
        self.icid += 1
        opened = types.ConnectionOpened(
            at=self.tick(), icid=self.icid, listener="In", local_ip="192.0.2.1", remote_ip=ip,
            remote_port=4711, reverse_dns=name, verified=name is not None,
        )  # fmt: skip
        judged = types.ConnectionJudged(
            at=self.tick(), icid=self.icid, verdict="ACCEPT", sender_group=None, match="ALL",
            policy="ACCEPTED", level=level,
        )  # fmt: skip
        told: list[Event] = [opened, judged]
        if tls is not None:
            told.append(types.InboundTlsSucceeded(at=self.tick(), icid=self.icid, facts=tls))
        return told

    def leaves(self) -> list[Event]:
        return [types.ConnectionClosed(at=self.tick(), icid=self.icid)]

    def message(
        self, sender: str = "ann@sender.test", to: Sequence[str] = ("bob@here.test",), *,
        subject: str | None = "Hello", message_id: str | None = None, refused: Sequence[str] = (),
        queued: bool = True,
    ) -> list[Event]:  # fmt: skip
        """A message on the last connection."""
        self.mid += 1
        mid, icid = self.mid, self.icid
        told: list[Event] = [types.MessageStarted(at=self.tick(), mid=mid, icid=icid, sender=sender)]
        told += [
            types.RecipientRejected(at=self.tick(), mid=mid, icid=icid, recipient=each, by="RAT")
            for each in refused
        ]
        told += [
            types.RecipientAccepted(at=self.tick(), mid=mid, icid=icid, rid=rid, recipient=each)
            for rid, each in enumerate(to)
        ]
        told.append(
            types.MessageReceived(
                at=self.tick(), mid=mid, icid=icid, size=1000, sender=sender,
                message_id=message_id if message_id is not None else f"<{mid}@sender.test>", subject=subject,
                direction="inbound",
            )
        )  # fmt: skip
        return [*told, types.MessageQueued(at=self.tick(), mid=mid, icid=icid)] if queued else told

    def goes(
        self, domain: str = "here.test", *, tls: TlsFacts | None = TLS13, failed: bool = False,
        level: str = "preferred",
    ) -> list[Event]:  # fmt: skip
        """A connection to a next hop."""
        self.dcid += 1
        host = f"mx.{domain}"
        told: list[Event] = [
            types.DeliveryOpened(
                at=self.tick(), dcid=self.dcid, domain=domain, host=host, local_ip="192.0.2.1",
                remote_ip="198.51.100.9", port=25,
            )
        ]  # fmt: skip
        shared: dict[str, Any] = {
            "at": self.tick(), "dcid": self.dcid, "domain": domain, "host": host, "level": level,
            "level_from": "default",
        }  # fmt: skip
        if failed:
            told.append(
                types.OutboundTlsFailed(
                    **shared, required=level.startswith("required"), reason="unavailable", diagnosis=MASKED
                )
            )
        elif tls is not None:
            told.append(types.OutboundTlsSucceeded(**shared, facts=tls))
        else:
            told.append(types.DeliveryInClear(**shared))
        return told

    def delivered(self, *rids: int, mid: int = 0) -> list[Event]:
        """The last message goes over the last connection, to these recipients."""
        mid = mid or self.mid
        return [
            types.DeliveryStarted(at=self.tick(), dcid=self.dcid, mid=mid, rids=rids),
            types.RecipientsDelivered(
                at=self.tick(), dcid=self.dcid, mid=mid, rids=rids, response="2.0.0 ok"
            ),
        ]

    def delayed(self, rid: int = 0, *, mid: int = 0, to: str = "bob@here.test") -> list[Event]:
        return [
            types.RecipientDelayed(**self._failed(rid, mid, to, "4.3.2", "421"), next_attempt=self.at + 60)
        ]

    def bounced(self, rid: int = 0, *, mid: int = 0, to: str = "bob@here.test") -> list[Event]:
        return [types.RecipientBounced(**self._failed(rid, mid, to, "5.1.1", "550"))]

    def _failed(self, rid: int, mid: int, to: str, status: str, code: str) -> dict[str, Any]:
        return {
            "at": self.tick(), "dcid": self.dcid, "mid": mid or self.mid, "rid": rid,
            "sender": "ann@sender.test", "recipient": to, "status": status, "reason": "why", "code": code,
            "lines": ("said",),
        }  # fmt: skip

    def closes(self) -> list[Event]:
        return [types.DeliveryClosed(at=self.tick(), dcid=self.dcid)]

    def finished(self, mid: int = 0) -> list[Event]:
        return [types.MessageFinished(at=self.tick(), mid=mid or self.mid)]

    def whole(self, sender: str = "ann@sender.test", to: Sequence[str] = ("bob@here.test",)) -> list[Event]:
        """A message from its connection to its end."""
        return [
            *self.comes(), *self.message(sender, to), *self.leaves(), *self.goes(to[0].rpartition("@")[2]),
            *self.delivered(*range(len(to))), *self.finished(), *self.closes(),
        ]  # fmt: skip


def many(mail: Mail, count: int) -> Iterable[Event]:
    for number in range(count):
        yield from mail.whole(f"user{number % 7}@sender{number % 3}.test", (f"box{number}@here.test",))
