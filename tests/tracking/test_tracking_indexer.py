"""The indexer reads each event exactly once, whatever happens to it, to the log and to its database."""

from __future__ import annotations

import os
import random
import sqlite3
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pytest

from mxseal.events import types
from mxseal.events.types import Event
from mxseal.sinks.jsonlog import encode
from mxseal.sinks.tracking import reader
from mxseal.sinks.tracking.indexer import DiskShort
from mxseal.storage.tracking.schema import NAME
from mxseal.storage.tracking.values import Query
from tests.tracking.journal import ROOMY, START, Journal, Mail, Tracking, many


def counts(tracking: Tracking) -> dict[str, int]:
    """All counters of all time, by side, what and word."""
    total = tracking.file.totals(0, 4e9)
    return {
        f"{side} {what} {word}": count
        for side, by_what in total.items()
        for what, by_word in by_what.items()
        for word, count in by_word.items()
    }


def expected(events: list[Event]) -> dict[str, int]:
    """The same, counted from the events of `many` by hand."""
    found: Counter[str] = Counter()
    for event in events:
        match event:
            case types.ConnectionOpened():
                found["in connections "] += 1
            case types.InboundTlsSucceeded():
                found.update(("in tls encrypted", "in protocol TLSv1.3", "in group x25519"))
                found["in cipher TLS_AES_256_GCM_SHA384"] += 1
            case types.MessageQueued():
                found.update(("in messages encrypted", "in recipients encrypted"))
                found["in bytes encrypted"] += 1000
            case types.DeliveryOpened():
                found["out connections "] += 1
            case types.OutboundTlsSucceeded():
                found.update(("out tls unverified", "out protocol TLSv1.3", "out group x25519"))
                found["out cipher TLS_AES_256_GCM_SHA384"] += 1
            case types.RecipientsDelivered():
                found.update(("out messages unverified", "out recipients unverified"))
    return dict(found)


def test_an_indexer_that_is_killed_anywhere_loses_nothing_and_counts_nothing_twice(
    journal: Journal, mail: Mail, tracking: Tracking
) -> None:
    events = list(many(mail, 60))
    chance = random.Random(20260214)
    cuts = sorted(chance.sample(range(len(events)), 40))
    for begin, end in zip([0, *cuts], [*cuts, len(events)], strict=True):
        journal.write(*events[begin:end])
        if chance.random() < 0.3:
            journal.rotate()
        if chance.random() < 0.7:
            tracking.run()
        tracking.killed()
    tracking.run()
    assert tracking.mids() == list(range(60, 0, -1))
    assert counts(tracking) == expected(events)
    assert all(found.state == "delivered" and found.finished for found in tracking.all())
    for mid in (1, 30, 60):
        story = tracking.file.story(mid)
        assert story is not None
        assert [each.kind for each in story.connections] == ["icid", "dcid"]
        assert [step.kind for step in story.steps] == ["delivered"]


def test_a_transaction_that_fails_is_done_again_whole(
    journal: Journal, mail: Mail, tracking: Tracking, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal.write(*many(mail, 5))
    tracking.run()
    journal.write(*many(mail, 5))
    monkeypatch.setattr("mxseal.sinks.tracking.counters.Counters.flush", _refuse)
    with pytest.raises(OSError, match="full"):
        tracking.indexer.step()
    monkeypatch.undo()
    assert tracking.mids() == [5, 4, 3, 2, 1]
    tracking.run()
    assert tracking.mids() == list(range(10, 0, -1))
    assert counts(tracking)["in messages encrypted"] == 10


def _refuse(*_: object) -> None:
    raise OSError(28, "the disk is full")


def test_rotated_files_are_read_to_their_end(
    journal: Journal, mail: Mail, tracking: Tracking, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "CHUNK", 3000)
    for _ in range(4):
        journal.write(*many(mail, 3))
        tracking.indexer.step()
        journal.write(*many(mail, 3))
        journal.rotate()
    tracking.run()
    assert tracking.mids() == list(range(24, 0, -1))
    assert tracking.said == []
    assert tracking.file.status().unread_bytes == 0


def test_a_file_that_is_deleted_while_it_is_read_is_read_to_its_end(
    journal: Journal, mail: Mail, tracking: Tracking
) -> None:
    journal.write(*many(mail, 3))
    tracking.run()
    journal.write(*many(mail, 3))
    journal.rotate().unlink()
    journal.write(*many(mail, 1))
    tracking.run()
    assert tracking.mids() == [7, 6, 5, 4, 3, 2, 1]
    assert tracking.said == []


def test_files_that_were_deleted_unread_are_told_as_a_gap(
    journal: Journal, mail: Mail, tracking: Tracking
) -> None:
    journal.write(*many(mail, 2))
    tracking.run()
    tracking.killed()
    for _ in range(2):
        journal.write(*many(mail, 2))
        journal.rotate().unlink()
    journal.write(*many(mail, 2))
    tracking.run()
    assert tracking.mids() == [8, 7, 2, 1]
    (said,) = tracking.said
    assert "deleted before message tracking had read them" in said
    (gap,) = tracking.file.status().gaps
    assert (gap.from_stamp, gap.to_stamp) == ("20260214T000001", "20260214T000003")


def test_a_line_that_is_cut_or_foreign_is_passed_over_and_counted(
    journal: Journal, mail: Mail, tracking: Tracking
) -> None:
    first, second = mail.whole(), mail.whole()
    journal.write(*first)
    journal.raw(encode(second[0])[:30] + b"\n")
    journal.raw(b'{"event":"MessageQueued","at":"never","mid":[]}\nnot JSON\n\n{"event":"\n')
    journal.raw(b'{"event":"SomethingOfTomorrow","at":1.0,"mid":1}\n' + b"\xff\xfe\x00" * 40 + b"\n")
    journal.write(*second)
    tracking.run()
    assert tracking.mids() == [2, 1]
    assert tracking.file.status().unreadable == 4


def test_a_line_without_its_end_waits_for_it(journal: Journal, mail: Mail, tracking: Tracking) -> None:
    line = b"".join(map(encode, mail.whole()[:-1]))
    journal.raw(line[:-5])
    tracking.run()
    assert tracking.all()[0].finished is None
    journal.raw(line[-5:])
    tracking.run()
    assert tracking.all()[0].finished is not None


def test_a_position_behind_the_end_of_a_file_goes_on_with_the_next_line(
    journal: Journal, mail: Mail, tracking: Tracking
) -> None:
    journal.write(*many(mail, 2))
    tracking.run()
    tracking.killed()
    os.truncate(journal.current, journal.current.stat().st_size - 400)  # a power cut took what was read
    journal.raw(b"\n")
    journal.write(*many(mail, 1))
    tracking.run()
    assert tracking.mids() == [3, 2, 1]


HOSTILE = (
    "\ud800 surrogate",
    "nul \0 and \x1b[31m colour",
    "=?utf-8?q?=FF?=",
    "x" * 998,
    "'; DROP TABLE s1_message; --",
    '") OR subject MATCH "x',
    "=cmd|' /C calc'!A0",
    "שלום \u202e evil",
    'a line\n{"event":"MessageFinished","at":1,"mid":1}\nand another',
)


@pytest.mark.parametrize("text", HOSTILE)
def test_whatever_a_stranger_writes_is_kept_and_found(
    journal: Journal, mail: Mail, tracking: Tracking, text: str
) -> None:
    sender = f"{text}@sender.test"
    journal.write(
        *mail.comes(name=text),
        *mail.message(sender, (f"bob+{text}@here.test",), subject=text, message_id=text),
        *mail.whole(),
    )
    tracking.run()
    assert tracking.mids() == [2, 1]
    assert tracking.all(mid=1)[0].finished is None
    (found,) = tracking.all(message_id=tracking.all(mid=1)[0].message_id or "")
    assert found.mid == 1
    assert tracking.mids(sender=found.sender) == [1]
    assert tracking.mids(subject=text) in ([1], [])
    assert tracking.mids(recipient="*bob+*") == [1]
    msgspec.json.encode(found)
    story = tracking.file.story(1)
    assert story is not None
    msgspec.json.encode(story)


def test_a_damaged_database_is_set_aside_and_made_anew_from_the_logs(
    journal: Journal, mail: Mail, tracking: Tracking
) -> None:
    journal.write(*many(mail, 20))
    tracking.run()
    before = counts(tracking)
    tracking.killed()
    tracking.file.close()
    path = tracking.home / NAME
    for end in ("-wal", "-shm"):
        path.with_name(NAME + end).unlink(missing_ok=True)
    with path.open("r+b") as file:
        file.seek(8192)
        file.write(b"\xaa" * 65536)
    journal.write(*many(mail, 1))
    tracking.run()
    assert tracking.mids() == list(range(21, 0, -1))
    assert counts(tracking)["in messages encrypted"] == before["in messages encrypted"] + 1
    assert any("was damaged" in said for said in tracking.said)
    assert path.with_name(f"{NAME}.damaged").exists()


@pytest.mark.parametrize("content", [b"", b"not a database at all" * 1000], ids=["empty", "foreign"])
def test_a_file_that_is_no_database_is_set_aside(
    journal: Journal, mail: Mail, tracking: Tracking, content: bytes
) -> None:
    (tracking.home / NAME).write_bytes(content)
    journal.write(*many(mail, 2))
    tracking.run()
    assert tracking.mids() == [2, 1]


def test_nothing_is_written_while_the_disk_is_short(journal: Journal, mail: Mail) -> None:
    greedy = Tracking(journal.home, msgspec.structs.replace(ROOMY, min_free_bytes=1 << 60))
    journal.write(*many(mail, 2))
    with pytest.raises(DiskShort, match="the queue needs them"):
        greedy.indexer.step()
    greedy.limits = ROOMY
    greedy.killed()
    greedy.run()
    assert greedy.mids() == [2, 1]
    greedy.close()


def test_a_message_whose_queueing_was_not_told_is_kept_when_it_is_delivered(
    journal: Journal, mail: Mail, tracking: Tracking
) -> None:
    journal.write(*mail.comes(), *mail.message(queued=False))
    tracking.run()
    assert tracking.mids() == []
    tracking.killed()
    started = types.GatewayStarted(at=mail.tick(), version="1", revision=1, pid=1)
    journal.write(started, *mail.goes(), *mail.delivered(0), *mail.finished())
    tracking.run()
    (found,) = tracking.all()
    assert (found.mid, found.state, found.subject) == (1, "delivered", "Hello")


def test_a_message_that_was_broken_off_leaves_one_row_among_the_refused(
    journal: Journal, mail: Mail, tracking: Tracking
) -> None:
    journal.write(
        *mail.comes(),
        *mail.message(queued=False),
        types.MessageAborted(at=mail.tick(), mid=1, icid=1, reason="Receiving aborted by sender"),
    )
    tracking.run()
    assert tracking.mids() == []
    (refused,) = tracking.file.refused(Query(mid=1), (), 10).refused
    assert (refused.kind, refused.reason) == ("message", "Receiving aborted by sender")
    connection = sqlite3.connect(tracking.home / NAME)
    assert connection.execute("SELECT count(*) FROM pending WHERE kind='mid'").fetchone() == (0,)
    connection.close()


def test_an_indexer_whose_predecessor_wrote_once_more_begins_anew_behind_it(
    journal: Journal, mail: Mail, tracking: Tracking
) -> None:
    journal.write(*many(mail, 2))
    tracking.run()
    other = Tracking(journal.home)
    other.run()
    journal.write(*many(mail, 2))
    tracking.run()
    other.run()
    journal.write(*many(mail, 2))
    other.run()
    tracking.run()
    assert tracking.mids() == [6, 5, 4, 3, 2, 1]
    assert counts(tracking)["in messages encrypted"] == 6
    other.close()


def test_mail_that_is_delayed_because_a_host_was_not_reached_a_while_ago_belongs_to_that_failure(
    journal: Journal, mail: Mail, tracking: Tracking
) -> None:
    journal.write(*mail.comes(), *mail.message(), *mail.goes(failed=True), *mail.closes(), *mail.delayed())
    mail.at += 50
    journal.write(*mail.message())
    tracking.run()
    tracking.killed()
    journal.write(*mail.delayed())
    tracking.run()
    assert tracking.mids(happened=("tls-failed",)) == [2, 1]
    story = tracking.file.story(2)
    assert story is not None
    assert [each.number for each in story.connections] == [1, 1]


def test_a_clock_that_jumps_ahead_and_back_ends_nothing_that_is_open(
    journal: Journal, mail: Mail, tracking: Tracking
) -> None:
    journal.write(*mail.comes(), *mail.message(queued=False))
    tracking.run()
    jumped = Mail(at=START + 3e7)
    jumped.icid = 10
    journal.write(*jumped.comes(), *mail.leaves(), types.MessageQueued(at=mail.tick(), mid=1, icid=1))
    tracking.run()
    assert tracking.mids() == [1]


# --- bounds -------------------------------------------------------------------------------------------------


def test_the_oldest_segments_go_when_there_is_too_much(journal: Journal, mail: Mail) -> None:
    small = Tracking(journal.home, msgspec.structs.replace(ROOMY, max_bytes=1 << 20))
    for _ in range(5):
        journal.write(*many(mail, 1000))
        small.run()
        small.tidy()
    mids = small.mids()
    assert mids[0] == 5000
    assert 1000 <= len(mids) < 5000
    assert mids == list(range(5000, 5000 - len(mids), -1))
    assert small.file.story(1) is None
    assert counts(small)["in messages encrypted"] == 5000
    small.close()
    assert (small.home / NAME).stat().st_size < 4 << 20


def test_the_oldest_segments_go_when_their_time_is_over(journal: Journal, mail: Mail) -> None:
    brief = Tracking(journal.home, msgspec.structs.replace(ROOMY, keep_days=10))
    for day in (0, 8, 16, 24):
        mail.at = START + day * 86_400
        journal.write(*many(mail, 2))
    brief.run()
    brief.now = START + 25 * 86_400
    brief.tidy()
    assert brief.mids() == [8, 7, 6, 5]
    brief.close()


def test_refusals_that_strangers_make_are_bounded(journal: Journal, mail: Mail) -> None:
    few = Tracking(journal.home, msgspec.structs.replace(ROOMY, refusals=1000))
    for _ in range(5):
        journal.write(*mail.comes())
        journal.write(
            *(
                types.RecipientRejected(
                    at=mail.tick(), mid=1, icid=mail.icid, recipient=f"r{n}@x.test", by="RAT"
                )
                for n in range(1500)
            )
        )
        few.run()
    assert few.file.status().refusals <= 3000
    assert few.file.refused(Query(recipient="r1499@x.test"), (), 10).refused
    assert counts(few)["in rejected RAT"] == 7500
    few.close()


def test_refusals_take_no_more_than_a_part_of_a_small_room(journal: Journal, mail: Mail) -> None:
    small = Tracking(journal.home, msgspec.structs.replace(ROOMY, max_bytes=16 << 20))
    for _ in range(4):
        journal.write(*mail.comes())
        told: dict[str, Any] = {"mid": 1, "icid": mail.icid, "by": "RAT"}
        refused = (f"r{n}@x.test" for n in range(2000))
        journal.write(*(types.RecipientRejected(at=mail.tick(), recipient=to, **told) for to in refused))
        small.run()
    assert small.file.status().refusals < 6000
    small.close()


def test_partners_are_bounded_and_the_rest_is_counted_as_one(
    journal: Journal, mail: Mail, tracking: Tracking, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mxseal.sinks.tracking.counters.MOST_PARTNERS", 3)
    for number in range(6):
        journal.write(*mail.goes(f"d{number}.test"))
    tracking.run()
    found = {each.domain: each.preferred_ok for each in tracking.file.partners(0, "out", None)}
    assert found == {"d0.test": 1, "d1.test": 1, "d2.test": 1, "(others)": 3}


def test_what_is_open_is_bounded(
    journal: Journal, mail: Mail, tracking: Tracking, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mxseal.sinks.tracking.index.MOST_LINKS", 10)
    monkeypatch.setattr("mxseal.sinks.tracking.index.MOST_DRAFTS", 10)
    for _ in range(50):
        journal.write(*mail.comes(), *mail.message(queued=False))
    tracking.run()
    connection = sqlite3.connect(tracking.home / NAME)
    assert connection.execute("SELECT count(*) FROM pending").fetchone()[0] <= 20
    connection.close()


def test_the_pending_are_gone_once_all_is_over(journal: Journal, mail: Mail, tracking: Tracking) -> None:
    journal.write(*many(mail, 10), types.GatewayStarted(at=mail.tick(), version="1", revision=1, pid=1))
    tracking.run()
    mail.at += 60
    journal.write(*mail.comes()[:1])
    tracking.run()
    connection = sqlite3.connect(tracking.home / NAME)
    assert connection.execute("SELECT kind, number FROM pending").fetchall() == [("icid", 11)]
    connection.close()


def test_a_message_that_waits_long_is_found_in_its_old_segment(
    journal: Journal, mail: Mail, tracking: Tracking
) -> None:
    journal.write(*mail.comes(), *mail.message(), *mail.goes(), *mail.delayed())
    tracking.run()
    mail.at += 8 * 86_400
    journal.write(*many(mail, 2), *mail.goes(), *mail.delivered(0, mid=1), *mail.finished(1))
    tracking.killed()
    tracking.run()
    assert tracking.mids() == [3, 2, 1]
    (found,) = tracking.all(mid=1)
    assert (found.state, found.events[:2]) == ("delivered", ("delivered", "delayed"))
    story = tracking.file.story(1)
    assert story is not None
    assert [(step.kind, step.dcid) for step in story.steps] == [("delayed", 1), ("delivered", 4)]
    assert [each.number for each in story.connections] == [1, 1, 4]


def test_an_empty_home_has_nothing_to_read(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    here = Tracking(tmp_path)
    assert here.run() == 0
    here.close()
