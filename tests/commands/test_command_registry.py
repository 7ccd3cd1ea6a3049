"""From words to results: parsing, dialogue, roles, help, completion, audit."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from mxseal.commands import catalogue, configuration, system
from mxseal.commands.context import Role
from mxseal.commands.menus import SUBJECT
from mxseal.commands.registry import Registry
from mxseal.commands.results import Done, Problems, Record, Result, Stream, Text
from mxseal.commands.running import AuditRecord, Ended, Runner
from tests.commands import gateway
from tests.commands.gateway import FakeClient, FakeServices, context

PRODUCT = catalogue.registry()


class Bench:
    """A runner with what it delivered and what it reported."""

    def __init__(self, client: FakeClient | None = None, role: Role = "administrator") -> None:
        self.commands = Registry((configuration, system, gateway))
        self.records: list[AuditRecord] = []
        self.results: list[Result] = []
        self.services = FakeServices()
        self.client = client or FakeClient()
        self.context = context(self.services, self.client, self.commands, role)

    async def run(self, *words: str) -> Ended:
        runner = Runner(self.commands, self.records.append)
        return await runner.run(words, self.context, self._deliver)

    async def _deliver(self, result: Result) -> None:
        if isinstance(result, Stream):
            async for chunk in result.chunks:
                result = Text(chunk)
        self.results.append(result)

    async def value(self, *words: str) -> Any:
        ended = await self.run(*words)
        assert ended.status == 0, ended.message
        return self.results[-1].to_json()


# --- words to values --------------------------------------------------------------------------------------


async def test_a_signature_is_all_that_a_command_needs() -> None:
    assert await Bench().value("pot", "new", "Kyusu") == {
        "name": "Kyusu", "litres": 1.0, "glaze": "brown", "lids": 1, "marks": (), "signed": False,
    }  # fmt: skip
    options = ["--litres", "0.5", "-g", "CELADON", "--lids=2", "--mark", "a", "--mark", "b", "--signed"]
    assert await Bench().value("pot", "new", "Kyusu", *options) == {
        "name": "Kyusu", "litres": 0.5, "glaze": "celadon", "lids": 2, "marks": ("a", "b"), "signed": True,
    }  # fmt: skip


async def test_the_words_of_a_command_are_not_case_sensitive() -> None:
    assert (await Bench().value("POT", "New", "Kyusu"))["name"] == "Kyusu"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("pto new", "There is no command 'pto'. Did you mean 'pot'?"),
        ("pot nwe", "'pot' has no command 'nwe'. Did you mean 'pot new'?"),
        ("xyzzy", "There is no command 'xyzzy'. 'help' lists what there is."),
        ("pot", "'pot' needs one more word: fill, list, lock, new. 'help pot' says what they do."),
        ("pot new", "Missing: NAME. 'help pot new' shows how it is used."),
        ("pot new A B", "Got unexpected extra argument (B). 'help pot new' shows how it is used."),
        ("pot new A --lids many", "Invalid value for '--lids': 'many' is not a valid integer range"),
        ("pot new A --lids 0", "Invalid value for '--lids': 0 is not in the range x>=1"),
        ("pot new A --glaze blue", "Invalid value for '-g' / '--glaze': 'blue' is not one of"),
        ("pot new A --litre 2", "No such option '--litre'"),
        ("pot lock --passphrase secret", "write pass:TEXT, env:NAME, file:PATH or stdin"),
    ],
)
async def test_wrong_words_are_answered_with_what_to_write(words: str, said: str) -> None:
    ended = await Bench().run(*words.split())
    assert ended.status == 2
    assert said in ended.message


async def test_files_are_read_and_written_on_the_callers_side() -> None:
    bench = Bench(FakeClient({"a": b"green", "b": b"black", "w": b"\xff" * 9}))
    words = ["pot", "fill", "Kyusu", "a", "b", "--water", "w"]
    assert await bench.value(*words) == {"text": "Kyusu: green black in 9 bytes"}
    assert await bench.value(*words, "--save", "out") == {
        "message": "Poured into out.",
        "file": "out",
        "bytes": 29,
    }
    assert bench.client.files["out"] == b"Kyusu: green black in 9 bytes"


async def test_a_file_that_is_missing_or_no_text_is_a_sentence() -> None:
    bench = Bench(FakeClient({"w": b"\xff"}))
    assert (await bench.run("pot", "fill", "K", "a")).message == "a: No such file or directory"
    assert (await bench.run("pot", "fill", "K", "w")).message == "w is not a text file (UTF-8)"


@pytest.mark.parametrize(
    ("given", "length"), [("pass:abc", 3), ("pass:", 0), ("env:PW", 11), ("file:f", 5), ("stdin", 4)]
)
async def test_a_passphrase_comes_from_where_the_words_say(given: str, length: int) -> None:
    bench = Bench(FakeClient({"f": b"hunte\nr", "-": b"abcd"}))
    assert (await bench.value("pot", "lock", "--passphrase", given))[
        "message"
    ] == f"Locked with {length} characters."


# --- dialogue ---------------------------------------------------------------------------------------------


async def test_somebody_at_a_terminal_is_asked_for_what_is_missing() -> None:
    bench = Bench(FakeClient(answers=["Kyusu", "9", "0.35", "", "left over"]))
    assert (await bench.value("pot", "new"))["litres"] == 0.35
    assert bench.client.questions[:2] == ["Enter a name for this pot: []", "Litres: [1]"]
    assert "9 is too large: at most 5." in bench.client.questions[2]


async def test_enter_at_a_question_for_several_values_gives_none_and_more_are_split() -> None:
    bench = Bench(FakeClient(answers=["Kyusu", "", ""]))
    assert (await bench.value("pot", "new"))["marks"] == ()
    assert bench.client.questions[-1] == "Marks on its foot: []"
    bench = Bench(FakeClient(answers=["Kyusu", "", "a, b"]))
    assert (await bench.value("pot", "new"))["marks"] == ("a", "b")


async def test_nobody_is_asked_for_defaults_when_all_that_is_needed_was_given() -> None:
    bench = Bench(FakeClient(answers=["unused"]))
    assert (await bench.value("pot", "new", "Kyusu"))["litres"] == 1.0
    assert bench.client.questions == []


async def test_a_passphrase_is_asked_unseen_and_twice() -> None:
    bench = Bench(FakeClient(answers=["abc"]))
    assert await bench.value("pot", "lock") == {"message": "Locked with 3 characters."}
    assert bench.client.questions == ["Passphrase: [twice]"]


async def test_words_that_stop_at_a_group_open_its_menu() -> None:
    bench = Bench(FakeClient(answers=["NEW Kyusu"]))
    assert (await bench.value("pot"))["name"] == "Kyusu"
    (question,) = bench.client.questions
    assert question == (
        "Choose the operation you want to perform:\n- NEW - Make a pot\n- LIST - List the pots\n"
        "- FILL - Fill a pot\n- LOCK - Lock a pot\n []"
    )


# --- roles ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("role", "new", "lock", "listed"),
    [
        ("administrator", 0, 0, 0),
        ("operator", 0, 77, 0),
        ("certificate-officer", 77, 0, 0),
        ("read-only", 77, 77, 0),
    ],
)
async def test_a_role_opens_its_own_commands_and_those_that_only_read(
    role: Role, new: int, lock: int, listed: int
) -> None:
    bench = Bench(role=role)
    assert (await bench.run("pot", "new", "A")).status == new
    assert (await bench.run("pot", "lock", "--passphrase", "pass:a")).status == lock
    assert (await bench.run("pot", "list")).status == listed


async def test_a_refusal_is_a_sentence_and_is_reported() -> None:
    bench = Bench(role="read-only")
    ended = await bench.run("pot", "new", "A")
    assert ended.message == "'pot new' needs the role administrator or operator; yours is read-only"
    assert bench.records[0].outcome == "refused"


# --- audit ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "kept"),
    [
        ("pot lock --passphrase pass:hunter2", "pot lock --passphrase pass:***"),
        ("pot lock --passphrase=pass:hunter2", "pot lock --passphrase=pass:***"),
        ("pot lock --passphrase hunter2", "pot lock --passphrase ***"),
        ("pot lock --passphrase env:PW", "pot lock --passphrase env:PW"),
        ("pto lock --passphrase hunter2", "pto lock --passphrase ***"),
        ("pot new pass:hunter2", "pot new pass:***"),
        ("pot lock extra --passphrase hunter2", "pot lock extra --passphrase ***"),
    ],
)
async def test_a_passphrase_is_in_no_audit_record(words: str, kept: str) -> None:
    bench = Bench()
    ended = await bench.run(*words.split())
    assert " ".join(ended.words) == " ".join(bench.records[0].words) == kept
    assert "hunter2" not in str(bench.records)


async def test_each_run_is_reported_with_who_and_how_it_ended() -> None:
    bench = Bench()
    for words in ("pot list", "pot fill A b", "commit", "pto"):
        await bench.run(*words.split())
    assert [entry.outcome for entry in bench.records] == ["ok", "failed", "ok", "usage"]
    assert {(entry.user, entry.face, entry.owner) for entry in bench.records} == {
        ("anna", "local", "local:anna")
    }


async def test_a_fault_of_ours_is_told_as_ours_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        ended = await Bench().run("spill")
    assert ended.status == 70
    assert "a fault of the gateway" in ended.message
    assert "tea everywhere" in caplog.text


# --- speaking about commands ------------------------------------------------------------------------------


@pytest.mark.parametrize("words", ["help pot new", "pot new ?", "pot new --help", "pot new A --help"])
async def test_help_of_a_command_shows_its_usage_and_all_parameters(words: str) -> None:
    text = (await Bench().value(*words.split()))["text"]
    assert text.startswith("Usage: pot new [OPTIONS]")
    assert "A pot is made at once." in text
    for part in ("Its name", "--litres", "[default: 1.0; 0.1<=x<=5]", "[brown|celadon]", "Marks on its foot"):
        assert part in text
    assert "--help" not in text


@pytest.mark.parametrize("words", ["help pot", "pot ?", "pot --help"])
async def test_help_of_a_group_lists_its_commands(words: str) -> None:
    assert (await Bench().value(*words.split()))["text"] == (
        "Usage: pot COMMAND …\n\nTea pots\n\nCommands:\n"
        "  fill  Fill a pot\n  list  List the pots\n  lock  Lock a pot\n  new   Make a pot\n\n"
        "'help pot COMMAND' says more about one of them.\n"
    )  # fmt: skip


async def test_help_of_everything_says_that_a_command_follows() -> None:
    assert (await Bench().value("help"))["text"].startswith("Usage: COMMAND …\n\nCommands:\n")


def _values(bench: Bench, words: str, incomplete: str = "") -> list[str]:
    return [entry.value for entry in bench.commands.complete(words.split(), incomplete, bench.context)]


async def test_completion_knows_commands_options_choices_and_names() -> None:
    bench = Bench()
    assert _values(bench, "", "po") == ["pot"]
    assert _values(bench, "pot") == ["fill", "list", "lock", "new"]
    assert _values(bench, "pot new A", "--l") == ["--litres", "--lids"]
    assert _values(bench, "pot new A --glaze", "c") == ["celadon"]
    assert _values(bench, "pot fill", "b") == ["Brown Betty"]
    assert "mx.example.com" in _values(bench, "pot fill")
    assert _values(bench, "rollbackconfig") == ["1"]
    assert [e.kind for e in bench.commands.complete(["pot", "fill", "A"], "le", bench.context)] == ["file"]
    assert _values(bench, "no such thing") == []


async def test_every_command_describes_itself_for_programs() -> None:
    described = {" ".join(entry["words"]): entry for entry in await Bench().value("describe")}
    new = described["pot new"]
    assert new["roles"] == ["operator"]
    assert new["parameters"][1] == {
        "name": "litres", "place": "option", "type": "float", "several": False, "needed": False,
        "help": "How much it holds", "default": 1.0, "flags": ["--litres"],
    }  # fmt: skip
    assert new["parameters"][2]["choices"] == ["brown", "celadon"]


def test_the_products_own_commands_all_have_a_summary_and_help_for_each_parameter() -> None:
    for entry in catalogue.registry().describe():
        assert entry["summary"]
        assert not entry["summary"].endswith(".")
        assert all(parameter["help"] for parameter in entry["parameters"])


def test_a_command_whose_parameter_has_no_words_is_refused_at_the_start() -> None:
    async def run(ctx: Any, thing: object) -> Result:
        return Done("")

    from mxseal.commands.parameters import parameters_of

    with pytest.raises(TypeError, match="thing needs Annotated"):
        parameters_of(run)


async def test_results_that_say_problems_end_with_status_1() -> None:
    bench = Bench()
    bench.services.edit("local:anna", default_policy="NONE")
    ended = await bench.run("commit")
    assert (ended.status, ended.outcome) == (1, "failed")
    assert isinstance(bench.results[-1], Problems)
    assert isinstance((await Bench().run("status")), Ended)
    assert not isinstance(bench.results[-1], Record)


# --- what dialogues need -----------------------------------------------------------------------------------


def test_every_entry_of_a_menu_leads_to_a_command_or_a_menu() -> None:
    for layout in PRODUCT.layouts():
        menu = PRODUCT.menu(layout.path.split())
        assert menu is not None
        assert {entry.word for entry in menu.entries} == set(layout.entries), layout.path
        for entry in menu.entries:
            words = [word for word in entry.target if word != SUBJECT and not word.startswith("-")]
            assert PRODUCT.command(words) or PRODUCT.menu(words), entry


def test_every_command_that_changes_what_is_there_says_what_is_there() -> None:
    """The defaults of its dialogue: `present` of `registry.command`, as in `listenerconfig`."""
    silent = [
        " ".join(entry.words)
        for entry in PRODUCT.commands
        if entry.words[-1] in {"edit", "setup"} and entry.present is None
    ]
    assert silent == []
