"""Results as text and JSON."""

from __future__ import annotations

import json

from mxseal.commands.results import Column, Done, Field, Parts, Problems, Record, Result, Table, Text
from mxseal.config.check import Problem
from mxseal.faces.render import Style, as_json, as_text, clean

PLAIN = Style()
CERTIFICATES = Table(
    (
        Column("Name", cut=9),
        Column("Common Name", cut=20),
        Column("Issued By"),
        Column("Status"),
        Column("Days"),
    ),
    (
        ("partner_certificate", "mail.example.com", "Example CA", "Active", 3467),
        ("Demo", "mx.example.com", None, "Active", 12),
    ),
    title="List of Certificates",
    note="Times are UTC.",
)


def test_a_table_looks_as_administrators_of_the_field_know_it() -> None:
    assert as_text(CERTIFICATES, PLAIN) == (
        "List of Certificates\n"
        "Name       Common Name       Issued By   Status  Days\n"
        "---------  ----------------  ----------  ------  ----\n"
        "partner_c  mail.example.com  Example CA  Active  3467\n"
        "Demo       mx.example.com    -           Active    12\n"
        "\nTimes are UTC.\n"
    )


def test_a_table_fits_the_terminal_and_is_never_wrapped_in_a_pipe() -> None:
    wide = Table((Column("A"), Column("B")), (("x" * 300, "y " * 100),))
    assert max(map(len, as_text(wide, Style(width=60)).splitlines())) <= 60
    assert max(map(len, as_text(wide, PLAIN).splitlines())) > 400


def test_an_empty_table_is_a_sentence() -> None:
    assert as_text(Table((Column("A"),), (), empty="Nothing waits."), PLAIN) == "Nothing waits.\n"


def test_a_record_has_its_sections() -> None:
    record = Record((
        Field("Version", "1.2.3"), Field("Up", True), Field("Names", ("a", "b")),
        Field("Messages", 12, section="Queue"), Field("Oldest", 2.5, "oldest_s", "Queue"),
    ), "MXSeal")  # fmt: skip
    assert as_text(record, PLAIN) == (
        "MXSeal\nVersion:  1.2.3\nUp:       yes\nNames:    a, b\n\nQueue\n  Messages:  12\n  Oldest:    2.5\n"
    )
    assert json.loads(as_json(record.to_json())) == {
        "version": "1.2.3", "up": True, "names": ["a", "b"], "queue": {"messages": 12, "oldest_s": 2.5},
    }  # fmt: skip


def test_problems_are_listed_with_their_paths_and_remedies() -> None:
    problems = Problems(
        "Nothing was committed", (Problem("logs.level", "wrong", "Write Info"), Problem("", "odd"))
    )
    assert as_text(problems, PLAIN) == "Nothing was committed:\n- logs.level: wrong. Write Info\n- odd\n"
    assert as_text(Problems("No such thing."), PLAIN) == "No such thing.\n"


def test_colour_is_used_only_when_the_caller_can_show_it() -> None:
    assert "\x1b[" in as_text(CERTIFICATES, Style(width=80, colour=True))
    assert "\x1b" not in as_text(CERTIFICATES, Style(width=80))


def test_text_from_strangers_cannot_steer_the_terminal() -> None:
    nasty = "\x1b]0;owned\x07\x9b31m\u202e\r"
    shown: list[Result] = [
        Text(nasty), Done(nasty), Table((Column("A"),), ((nasty,),), note=nasty),
        Record((Field(nasty, nasty),)), Parts((Text(nasty),)),
        Problems(nasty, (Problem(nasty, nasty, nasty),)),
    ]  # fmt: skip
    for result in shown:
        text = as_text(result, Style(width=200))
        assert "\\x1b]0;owned\\x07\\x9b31m\\u202e\\r" in text
        assert clean(text) == text


def test_results_are_one_line_of_json() -> None:
    assert as_json(CERTIFICATES.to_json()).count("\n") == 1
    assert json.loads(as_json(CERTIFICATES.to_json()))[1] == {
        "name": "Demo", "common_name": "mx.example.com", "issued_by": None, "status": "Active", "days": 12,
    }  # fmt: skip
