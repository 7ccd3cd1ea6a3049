"""Commands called with values: types, bounds, files, secrets, roles and the audit, without any words."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from mxseal.commands import configuration, system
from mxseal.commands.context import Role
from mxseal.commands.registry import Registry
from mxseal.commands.results import Result
from mxseal.commands.running import AuditRecord, Ended, Runner
from tests.commands import gateway
from tests.commands.gateway import FakeClient, FakeServices, context


class Caller:
    """Calls commands; `result` is what the last one delivered, as JSON."""

    def __init__(self, role: Role = "administrator") -> None:
        self.services = FakeServices()
        self.client = FakeClient()
        self.records: list[AuditRecord] = []
        self._commands = Registry((configuration, system, gateway))
        self._runner = Runner(self._commands, self.records.append)
        self._role = role
        self.result: Any = None

    async def call(self, words: str, **values: Any) -> Ended:
        async def keep(result: Result) -> None:
            self.result = result.to_json()

        around = context(self.services, self.client, self._commands, self._role)
        return await self._runner.call(words.split(), values, around, keep)

    async def wrong(self, words: str, **values: Any) -> list[tuple[str, str]]:
        ended = await self.call(words, **values)
        assert ended.outcome == "usage"
        return [(problem.path, problem.text) for problem in ended.problems]


async def test_values_are_what_words_would_say() -> None:
    caller = Caller()
    ended = await caller.call("pot new", name="K", litres=1, glaze="Celadon", mark=["a", "b"], signed=True)
    assert ended.outcome == "ok"
    assert caller.result["litres"] == 1.0
    assert (caller.result["glaze"], caller.result["marks"], caller.result["signed"]) == (
        "celadon", ("a", "b"), True,
    )  # fmt: skip
    assert ended.words == (
        "pot", "new", "K", "--litres", "1", "--glaze", "Celadon", "--mark", "a", "--mark", "b", "--signed",
    )  # fmt: skip
    assert caller.records[-1].words == ended.words


async def test_all_that_is_wrong_is_told_at_once_with_its_parameter() -> None:
    found = await Caller().wrong(
        "pot new", litres=9, glaze="blue", lids="two", mark=["a", 1], signed="yes", colour="red"
    )
    assert found == [
        ("colour", "there is no such parameter"),
        ("name", "this is needed"),
        ("litres", "9.0 is not in the range 0.1<=x<=5"),
        ("glaze", "this is not one of brown, celadon"),
        ("lids", "this has to be a number"),
        ("mark[1]", "this has to be a text"),
        ("signed", "this has to be true or false"),
    ]


async def test_null_is_the_same_as_leaving_out() -> None:
    caller = Caller()
    assert (await caller.call("pot new", name="Kyusu", litres=None, mark=None)).outcome == "ok"
    assert caller.result["litres"] == 1.0


@pytest.mark.parametrize("given", [True, "1", 1.5, [1]])
async def test_only_whole_numbers_are_whole_numbers(given: Any) -> None:
    assert [path for path, _ in await Caller().wrong("pot new", name="x", lids=given)] == ["lids"]


async def test_files_are_texts_or_base64() -> None:
    caller = Caller()
    water = {"base64": base64.b64encode(bytes(range(256))).decode(), "name": "spring"}
    ended = await caller.call("pot fill", name="K", leaves=["green", {"text": "black"}], water=water)
    assert caller.result == {"text": "K: green black in 256 bytes"}
    assert ended.words == ("pot", "fill", "K", "-", "-", "--water", "spring")


@pytest.mark.parametrize(
    "given",
    [1, {}, {"text": "a", "base64": "YQ=="}, {"text": 1}, {"base64": "!"}, {"text": "a", "path": "/etc"}],
)
async def test_what_is_no_file_is_told(given: Any) -> None:
    assert [path for path, _ in await Caller().wrong("pot fill", name="K", leaves=[given])] == ["leaves[0]"]


async def test_a_file_to_write_comes_back_through_the_caller() -> None:
    caller = Caller()
    await caller.call("pot fill", name="K", leaves=["tea"], save="cup")
    assert caller.client.files == {"cup": b"K: tea in 0 bytes"}


async def test_a_secret_is_its_text_and_never_reported() -> None:
    caller = Caller()
    ended = await caller.call("pot lock", passphrase="pass:hush hush")
    assert caller.result == {"message": "Locked with 14 characters."}
    assert ended.words == ("pot", "lock", "--passphrase", "pass:***")
    assert "hush" not in repr(caller.records)


async def test_a_value_of_the_wrong_type_is_not_quoted_in_the_audit() -> None:
    caller = Caller()
    await caller.call("pot lock", passphrase=["hush"])
    assert "hush" not in repr(caller.records)


async def test_long_values_are_cut_in_the_audit() -> None:
    caller = Caller()
    await caller.call("pot new", name="x" * 5000)
    assert max(map(len, caller.records[-1].words)) < 1100


async def test_the_role_is_looked_at_before_the_values() -> None:
    caller = Caller("read-only")
    ended = await caller.call("pot new", nonsense=1)
    assert ended.outcome == "refused"
    assert "needs the role" in ended.message


@pytest.mark.parametrize("words", ["pot", "pot new Kyusu", "nothing", "pot --help", ""])
async def test_only_whole_names_of_commands_are_called(words: str) -> None:
    ended = await Caller().call(words)
    assert ended.outcome == "usage"
    assert not ended.problems


async def test_nobody_is_asked_even_where_a_client_could_answer() -> None:
    caller = Caller()
    caller.client.answers = ["Kyusu"]
    assert [path for path, _ in await caller.wrong("pot new")] == ["name"]
    assert not caller.client.questions
