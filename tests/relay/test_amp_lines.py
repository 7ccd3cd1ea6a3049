"""The log amp has the reference's lines (§10.1), so that what reads those reads these."""

from __future__ import annotations

import pytest

from mxseal.events import screening as facts
from mxseal.events.event import Event
from mxseal.sinks.amplines import AMP_MAIL_SILENT, AMP_MAIL_TABLE, TABLE

SHA = "756a"


def file(name: str, mid: int, sha256: str = SHA) -> dict[str, object]:
    return {"at": 1475825953.7, "mid": mid, "name": name, "sha256": sha256, "server": "grid"}


def of(kind: type[Event], *about: dict[str, object], **fields: object) -> Event:
    given: dict[str, object] = {}
    for each in about:
        given |= each
    return kind(**given | fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("event", "lines"),
    [
        (
            of(facts.FileAsked, file("mod-6.exe", 5), media_type="application/x-dosexec", size=1673216),
            [
                (
                    "File reputation query initiating. File Name = 'mod-6.exe', MID = 5, "
                    "File Size = 1673216 bytes, File Type = application/x-dosexec"
                )
            ],
        ),
        (
            of(
                facts.FileAnswered,
                file("tqps.rtf", 166267),
                disposition="malicious",
                score=1,
                threat="W32.C78352D892-95.SBX.TG",
                reference="",
                seconds=0.1,
            ),
            [
                (
                    "Response received for file reputation query from Cloud. File Name = 'tqps.rtf', "
                    "MID = 166267, Disposition = MALICIOUS, Malware = W32.C78352D892-95.SBX.TG,  "
                    "Reputation Score = 1, sha256 = 756a, upload_action = 0"
                )
            ],
        ),
        (
            of(facts.FileSubmitted, file("Agenda_March15v3.doc", 7, "0172"), reference="s-1"),
            [
                (
                    "Response received for file reputation query from Cloud. File Name = "
                    "'Agenda_March15v3.doc', "
                    "MID = 7, Disposition = UNKNOWN, Malware = None,  Reputation Score = 0, sha256 = 0172, "
                    "upload_action = 1"
                ),
                "File uploaded for analysis. SHA256: 0172, file name: Agenda_March15v3.doc",
            ],
        ),
        (
            of(
                facts.FilePassed,
                at=1.0,
                mid=0,
                name="a.txt",
                sha256="a5f2",
                media_type="text/plain",
                reason="No active/dynamic contents exists",
            ),
            [
                (
                    "File not uploaded for analysis. MID = 0 File SHA256[a5f2] file mime[text/plain] "
                    "Reason: No active/dynamic contents exists"
                )
            ],
        ),
        (
            of(
                facts.FileAnalysed,
                file("x.doc", 7, "1645"),
                disposition="malicious",
                score=100,
                threat="Trojan",
                reference="194926004",
                submitted=1475825466.2,
            ),
            [
                (
                    "File Analysis complete. SHA256: 1645, Submit Timestamp: 1475825466, "
                    "Update Timestamp: 1475825953, Disposition: 3 Score: 100, run_id: 194926004 "
                    "Details: Trojan"
                )
            ],
        ),
        (
            of(
                facts.FileUnanswered,
                file("x.doc", 7, "69e1"),
                at=1454959409.0,
                fault="protocol",
                reason="Server Response HTTP code:[502]",
            ),
            ["SHA256: 69e1,Timestamp[1454959409] details[grid: protocol: Server Response HTTP code:[502]]"],
        ),
        (
            of(
                facts.MessageScreened,
                file("x.doc", 7),
                rids=(0,),
                action="quarantine",
                word="malicious",
                score=100,
                threat="Trojan",
                reason="",
                late=False,
            ),
            [
                (
                    "MID 7 AMP file reputation verdict : MALICIOUS (file 'x.doc', SHA256 756a, "
                    "malware Trojan, "
                    "score 100, by grid), action quarantine"
                )
            ],
        ),
        (
            of(facts.MessageHeld, file("x.doc", 7), word="pending", reason="busy", until=1475826853.7),
            ["MID 7 held for the verdict on 'x.doc' (pending, busy), 900 s at most"],
        ),
        (
            of(facts.QuarantineReleased, at=1.0, mid=7, rids=(0,), user="admin"),
            ["MID 7 released from quarantine by admin"],
        ),
    ],
)
def test_each_fact_has_its_line(event: Event, lines: list[str]) -> None:
    assert [text for _, text in TABLE[type(event)](event)] == lines


def test_the_mail_log_tells_what_became_of_messages_and_the_log_amp_all() -> None:
    assert set(AMP_MAIL_TABLE) | AMP_MAIL_SILENT == set(TABLE)
    assert {facts.MessageScreened, facts.QuarantineDeleted} <= set(AMP_MAIL_TABLE)
