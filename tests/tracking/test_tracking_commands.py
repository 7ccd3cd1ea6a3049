"""The commands of message tracking over a record that an indexer has made."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from mxseal.commands.catalogue import registry
from mxseal.commands.when import moment_of
from mxseal.events import types
from mxseal.storage.tracking.file import TrackingFile
from mxseal.tls.facts import TlsFault
from tests.commands.desk import Desk
from tests.commands.gateway import FakeServices
from tests.tracking.journal import MASKED, START, Journal, Mail, Tracking, many


class Services(FakeServices):
    """A gateway whose tracking is a test's; a quarter of an hour after the first event."""

    def __init__(self, home: Path) -> None:
        super().__init__()
        self.logs_home = home
        self.tracking = self
        self.file = TrackingFile(home)
        self.pid: int | None = 4711
        self.problem = ""

    def now(self) -> float:
        return START + 900


@pytest.fixture
def desk(journal: Journal, mail: Mail, tracking: Tracking) -> Desk:
    journal.write(
        *mail.comes(), *mail.message(subject="=1+1", to=("bob@here.test", "eve@here.test")), *mail.goes(),
        *mail.delivered(0, 1), *mail.finished(), *mail.closes(),
        *mail.message("", ("dan@masked.test",)), *mail.goes("masked.test", failed=True, level="required"),
        *mail.closes(), *mail.delayed(to="dan@masked.test"),
        *mail.message(refused=("nobody@here.test",)), *mail.goes(tls=None), *mail.delivered(0),
        *mail.finished(),
    )  # fmt: skip
    tracking.run()
    return Desk(registry(), services=Services(journal.home))


async def test_findevent_shows_messages_and_says_how_to_go_on(desk: Desk) -> None:
    found = await desk.ok("findevent", "--limit", "2")
    assert [each["mid"] for each in found["messages"]] == [3, 2]
    assert f"--after {found['next']}" in desk.text
    found = await desk.ok("findevent", "--after", found["next"])
    assert [each["mid"] for each in found["messages"]] == [1]
    assert found["next"] is None
    assert "bob@here.test and 1 more" in desk.text


async def test_findevent_combines_what_is_asked(desk: Desk) -> None:
    found = await desk.ok("findevent", "--tls", "failed", "--event", "waiting", "--cause", "starttls-masked")
    assert [each["mid"] for each in found["messages"]] == [2]
    assert (await desk.ok("findevent", "--to", "here.test", "--tls", "failed"))["messages"] == []
    assert "No message matches." in desk.text
    assert len((await desk.ok("findevent", "--since", "1h"))["messages"]) == 3
    assert (await desk.ok("findevent", "--until", "1h"))["messages"] == []


@pytest.mark.parametrize(
    "words", [["--since", "yesterday"], ["--after", "nonsense"], ["--event", "vanished"], ["--limit", "0"]]
)
async def test_findevent_refuses_what_makes_no_sense(desk: Desk, words: list[str]) -> None:
    await desk.refused("findevent", *words)


async def test_findevent_shows_what_was_refused(desk: Desk) -> None:
    found = await desk.ok("findevent", "--refused", "recipient", "--to", "nobody@here.test")
    assert [(each["kind"], each["mid"], each["reason"]) for each in found["refused"]] == [
        ("recipient", 3, "by RAT")
    ]
    assert (await desk.ok("findevent", "--refused", "tls"))["refused"] == []


async def test_a_refused_handshake_is_explained_when_its_connection_is_asked_for(
    journal: Journal, mail: Mail, tracking: Tracking
) -> None:
    fault = TlsFault(kind="local-error", library="SSL routines", reason="no shared cipher")
    journal.write(
        *mail.comes(tls=None),
        types.InboundTlsFailed(at=mail.tick(), icid=1, fault=fault, diagnosis=MASKED),
        *mail.leaves(),
    )
    tracking.run()
    desk = Desk(registry(), services=Services(journal.home))
    (refused,) = (await desk.ok("findevent", "--refused", "tls", "--icid", "1"))["refused"]
    assert refused["reason"] == "no shared cipher"
    assert refused["explanation"]["fault"]["reason"] == "no shared cipher"
    assert "firewall" in refused["explanation"]["diagnosis"]["summary"]
    (refused,) = (await desk.ok("findevent", "--refused", "any"))["refused"]
    assert refused["explanation"] is None


async def test_an_export_has_all_fields_and_no_formula_of_a_stranger(desk: Desk) -> None:
    await desk.ok("findevent", "--export", "out.csv")
    rows = list(csv.DictReader(io.StringIO(desk.client.files["out.csv"].decode())))
    assert [row["mid"] for row in rows] == ["3", "2", "1"]
    assert rows[2]["subject"] == "'=1+1"
    assert rows[2]["recipients"] == "bob@here.test eve@here.test"
    assert rows[1]["tls_out"] == "failed required starttls-masked"
    await desk.ok("findevent", "--export", "out.json")
    values = json.loads(desk.client.files["out.json"])
    assert values[2]["subject"] == "=1+1"
    assert values[2]["at"].startswith("2026-02-14T")
    assert desk.client.modes["out.json"] == 0o600
    await desk.ok("findevent", "--refused", "any", "--export", "refused", "--format", "csv")
    assert b"nobody@here.test" in desk.client.files["refused"]


async def test_findevent_asks_at_a_terminal_and_tells_the_story_of_the_chosen_one(desk: Desk) -> None:
    desk.client.answers = ["2", "masked.test", "2"]
    await desk.ok("findevent")
    assert "It waits in the queue." in desk.text
    assert "has overwritten the offer of STARTTLS" in desk.text
    desk.client.answers = ["5", "MID 1"]
    assert (await desk.ok("findevent"))["message"]["mid"] == 1
    desk.client.answers = ["9", "x"]
    await desk.refused("findevent")


async def test_trackmessage_tells_the_story_in_order_with_the_decision_and_the_diagnosis(desk: Desk) -> None:
    told = await desk.ok("trackmessage", "2")
    assert told["message"]["state"] == "waiting"
    assert [each["kind"] for each in told["connections"]] == ["icid", "dcid"]
    out = told["connections"][1]
    assert (out["outcome"], out["tls"]["cause"]) == ("tls-failed", "starttls-masked")
    assert out["explanation"]["decision"]["level_from"] == "default"
    assert "firewall" in out["explanation"]["diagnosis"]["summary"]
    assert [step["kind"] for step in told["steps"]] == ["delayed"]
    described = [line["description"] for line in told["summary"]]
    assert described[0].startswith("ICID 1: mx.sender.test [192.0.2.7] connects")
    assert described[-1].startswith("Delayed for <dan@masked.test> over DCID 2: 4.3.2")
    assert [line["last_event"] for line in told["summary"]] == [False] * (len(described) - 1) + [True]
    for text in ("What to do:", "Level: required", "It waits in the queue."):
        assert text in desk.text
    await desk.ok("trackmessage", "2", "--lang", "nl")
    assert "Niveau: required" in desk.text


async def test_trackmessage_names_the_refused_recipients_and_the_ways(desk: Desk) -> None:
    told = await desk.ok("trackmessage", "3")
    assert [each["recipient"] for each in told["refused"]] == ["nobody@here.test"]
    assert "refused at once 1" in desk.text
    assert told["connections"][1]["outcome"] == "clear"
    told = await desk.ok("trackmessage", "1")
    assert "Delivered to <bob@here.test>, <eve@here.test> over DCID 1: 2.0.0 ok" in desk.text
    assert told["message"]["finished"] is not None


async def test_trackmessage_says_where_else_to_look(desk: Desk) -> None:
    assert "findevent --refused any --mid 99" in await desk.refused("trackmessage", "99")


async def test_tlsreport_has_the_partners_with_failures_first(desk: Desk) -> None:
    report = await desk.ok("tlsreport", "--days", "30")
    first = report["partners"][0]
    assert (first["direction"], first["domain"], first["required_failed"]) == ("out", "masked.test", 1)
    assert (first["percent"], first["cause"]) == (0.0, "starttls-masked")
    by_domain = {(each["direction"], each["domain"]): each for each in report["partners"]}
    here = by_domain["out", "here.test"]
    assert (here["preferred_ok"], here["clear"], here["percent"]) == (1, 1, 50.0)
    assert (here["messages_tls"], here["messages_clear"]) == (1, 1)
    sender = by_domain["in", "sender.test"]
    assert (sender["preferred_ok"], sender["messages_tls"]) == (1, 3)
    assert len(report["by_day"]) == 30
    assert report["totals"]["out"]["tls"] == {"unverified": 1, "failed": 1, "clear": 1}
    report = await desk.ok("tlsreport", "--failing")
    assert [each["domain"] for each in report["partners"]] == ["masked.test"]
    report = await desk.ok("tlsreport", "--domain", "HERE.test", "--direction", "out")
    assert [each["domain"] for each in report["partners"]] == ["here.test"]


async def test_trafficreport_has_a_row_for_each_hour_also_the_empty_ones(desk: Desk) -> None:
    report = await desk.ok("trafficreport", "hour", "--last", "3")
    assert [bool(each["in"]) for each in report["series"]] == [False, False, True]
    last = report["series"][-1]
    assert last["in"]["protocol"] == {"TLSv1.3": 1}
    assert last["in"]["messages"] == {"encrypted": 3}
    assert last["out"]["cause"] == {"starttls-masked": 1}
    assert last["out"]["recipients"] == {"unverified": 2, "clear": 1}
    report = await desk.ok("trafficreport", "day", "--side", "out")
    assert len(report["series"]) == 30
    assert "in" not in report["series"][0]


async def test_trackingconfig_shows_how_far_the_indexer_is(desk: Desk, journal: Journal, mail: Mail) -> None:
    shown = await desk.ok("trackingconfig", "show")
    assert (shown["running"], shown["problem"], shown["behind_seconds"]) == (True, "", 0.0)
    assert (shown["status"]["messages"], shown["status"]["refusals"]) == (3, 1)
    journal.write(*many(mail, 1))
    shown = await desk.ok("trackingconfig", "show")
    assert shown["status"]["unread_bytes"] > 0
    assert shown["behind_seconds"] > 800


async def test_trackingconfig_changes_the_document(desk: Desk) -> None:
    await desk.ok("trackingconfig", "setup", "--keep-days", "10", "--max-megabytes", "100")
    tracking = desk.document.tracking
    assert (tracking.keep_days, tracking.max_bytes, tracking.enabled) == (10, 100 << 20, True)
    await desk.ok("trackingconfig", "setup", "--enabled", "no")
    assert not desk.document.tracking.enabled
    await desk.refused("trackingconfig", "setup")
    await desk.refused("trackingconfig", "setup", "--keep-days", "99999")


async def test_without_a_record_each_command_says_so(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    desk = Desk(registry(), services=Services(tmp_path))
    for words in (["findevent", "--mid", "1"], ["trackmessage", "1"], ["tlsreport"], ["trafficreport"]):
        assert "Nothing is tracked yet" in await desk.refused(*words)
    shown: Any = await desk.ok("trackingconfig", "show")
    assert shown["status"] is None
    assert "Nothing is tracked yet" in shown["problem"]


async def test_a_damaged_record_is_a_sentence_and_no_fault(desk: Desk, journal: Journal) -> None:
    desk.services.file.close()  # type: ignore[attr-defined]
    for path in journal.home.glob("tracking.db-*"):
        path.unlink()
    (journal.home / "tracking.db").write_bytes(b"nothing of the kind" * 1000)
    assert "Mail is not concerned" in await desk.refused("findevent", "--mid", "1")


@pytest.mark.parametrize(
    ("text", "at"),
    [("2h", START - 7200), ("1.5 d", START - 129_600), ("2026-02-14", 1_771_027_200.0),
     ("2026-02-14 19:20", 1_771_096_800.0), ("2026-02-14T19:20:28+01:00", 1_771_093_228.0)],
)  # fmt: skip
def test_times_are_written_in_these_ways(text: str, at: float) -> None:
    assert moment_of(text, START) == at


@pytest.mark.parametrize("text", ["", "now", "2h ago", "0001-01-01", "9999-12-31", "-3h", "1e9h"])
def test_other_times_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no time"):
        moment_of(text, START)
