"""Commands on the configuration, as two administrators use them."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from mxseal.commands import configuration, system
from mxseal.commands.registry import Registry
from mxseal.commands.results import Result
from mxseal.commands.running import Ended, Runner
from mxseal.config.model import Certificate, Listener, Logs, RecipientAccess
from mxseal.config.toml import parse, render
from tests.commands.gateway import FakeClient, FakeServices, context
from tests.config.documents import document


class Desk:
    """One administrator."""

    def __init__(self, services: FakeServices, user: str, client: FakeClient | None = None) -> None:
        self.client = client or FakeClient()
        commands = Registry((configuration, system))
        plain = context(services, self.client, commands)
        self.context = msgspec.structs.replace(plain, user=user, owner=f"local:{user}")
        self.services = services
        self._runner = Runner(commands, lambda _: None)
        self.result: Any = None

    async def run(self, *words: str) -> Ended:
        async def keep(result: Result) -> None:
            self.result = result.to_json()

        return await self._runner.run(words, self.context, keep)

    async def json(self, *words: str) -> Any:
        await self.run(*words)
        return self.result

    def edit(self, **changes: Any) -> None:
        self.services.edit(self.context.owner, **changes)


def _port(number: int) -> tuple[Listener, ...]:
    return (Listener(name="IncomingMail", port=number),)


ACCESS = RecipientAccess(domains=("example.com",))


async def test_a_commit_is_stored_put_in_force_and_told() -> None:
    anna = Desk(FakeServices(), "anna")
    anna.edit(listeners=_port(2600), recipient_access=ACCESS)
    assert [row["path"] for row in await anna.json("showchanges")] == [
        "listeners.IncomingMail.port", "recipient_access.domains",
    ]  # fmt: skip
    told = await anna.json("commit", "port 2600 for the tests")
    assert told["message"].startswith("Changes committed: ")
    assert told["message"].endswith("(revision 2)\nListener IncomingMail serves Demo.")
    assert (told["revision"], told["changes"]) == (2, 2)
    assert anna.services.in_force == [2]
    assert await anna.json("showchanges") == []
    assert (await anna.json("rollbackconfig"))[0]["comment"] == "port 2600 for the tests"


async def test_the_comment_is_asked_for_at_a_terminal() -> None:
    anna = Desk(FakeServices(), "anna", FakeClient(answers=["because"]))
    anna.edit(logs=Logs(level="Trace"))
    await anna.run("commit")
    assert anna.client.questions == ["Please enter some comments describing your changes: []"]
    assert anna.services.history.revisions()[0].comment == "because"


async def test_a_commit_that_cannot_be_built_changes_nothing_and_says_where() -> None:
    anna = Desk(FakeServices(), "anna")
    anna.edit(listeners=_port(25))
    assert (await anna.run("commit")).status == 1
    assert anna.result == {
        "error": "Nothing was committed",
        "problems": [
            {
                "path": "listeners.IncomingMail.port",
                "text": "port 25 can't be opened",
                "remedy": "Choose another",
            }
        ],
    }
    assert anna.services.in_force == []
    assert anna.services.history.current().number == 1


async def test_the_second_of_two_administrators_is_told_and_can_go_on() -> None:
    services = FakeServices()
    anna, otto = Desk(services, "anna"), Desk(services, "otto")
    anna.edit(recipient_access=ACCESS)
    otto.edit(listeners=_port(2600))
    assert (await otto.run("commit", "other port")).status == 0
    assert (await anna.run("commit")).status == 1
    assert 'since revision 1 came revision 2 by otto "other port"' in anna.result["error"]
    assert "'rebasechanges' puts your changes on top" in anna.result["error"]
    assert anna.result["problems"][0]["text"] == "was changed from 2525 to 2600"
    assert (await anna.run("rebasechanges")).status == 0
    assert (await anna.run("commit")).status == 0
    current = services.history.current()
    assert current.number == 3
    assert current.document.listeners[0].port == 2600
    assert current.document.recipient_access == ACCESS


async def test_two_who_changed_the_same_are_told_which_and_choose() -> None:
    services = FakeServices()
    anna, otto = Desk(services, "anna"), Desk(services, "otto")
    anna.edit(listeners=_port(2601))
    otto.edit(listeners=_port(2600))
    await otto.run("commit")
    assert (await anna.run("rebasechanges")).status == 1
    assert anna.result["problems"][0]["text"].endswith("(you changed this too)")
    assert "--overlap ours" in anna.result["error"]
    assert (await anna.run("rebasechanges", "--overlap", "ours")).status == 0
    await anna.run("commit")
    assert services.history.current().document.listeners[0].port == 2601


async def test_a_commit_that_has_begun_is_finished_when_its_caller_goes_away() -> None:
    anna = Desk(FakeServices(), "anna")
    anna.edit(logs=Logs(level="Trace"))
    anna.services.slow_swap = asyncio.Event()
    task = asyncio.create_task(anna.run("commit"))
    await anna.services.swapping.wait()
    task.cancel()
    anna.services.slow_swap.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert anna.services.in_force == [2]
    assert not anna.services.changing.locked()


async def test_clearing_is_confirmed_at_a_terminal_only() -> None:
    services = FakeServices()
    anna = Desk(services, "anna", FakeClient(answers=["n", "rest"]))
    anna.edit(logs=Logs(level="Trace"))
    assert await anna.json("clearchanges") == {"message": "Nothing was cleared.", "cleared": 0}
    assert (await anna.json("clearchanges", "--yes"))["cleared"] == 1
    anna.edit(logs=Logs(level="Trace"))
    assert (await Desk(services, "anna").json("clearchanges"))["cleared"] == 1


async def test_an_old_revision_comes_back_by_rollback_and_commit() -> None:
    anna = Desk(FakeServices(), "anna")
    anna.edit(listeners=_port(2600))
    await anna.run("commit")
    assert "is now your candidate, 1 changes" in (await anna.json("rollbackconfig", "1"))["message"]
    await anna.run("commit", "back")
    assert anna.services.history.current().document == document()
    assert (await anna.run("rollbackconfig", "99")).message.startswith("There is no revision 99.")


async def test_saved_text_loads_as_the_same_configuration() -> None:
    anna = Desk(FakeServices(), "anna")
    assert (await anna.json("saveconfig", "gateway.toml"))["file"] == "gateway.toml"
    assert parse(anna.client.files["gateway.toml"].decode()) == document()
    assert "in force already" in (await anna.json("loadconfig", "gateway.toml"))["message"]
    changed = document(listeners=_port(2600))
    anna.client.files["new.toml"] = render(changed).encode()
    assert (await anna.json("loadconfig", "new.toml"))["uncommitted_changes"] == 1
    assert parse((await anna.json("showconfig", "--candidate"))["text"]) == changed
    assert parse((await anna.json("showconfig"))["text"]) == document()


async def test_a_file_with_mistakes_is_not_loaded_and_all_of_them_are_told() -> None:
    anna = Desk(FakeServices(), "anna", FakeClient({"bad.toml": b'hostnme = "x"\ncolour = 1\n'}))
    assert (await anna.run("loadconfig", "bad.toml")).status == 1
    assert [problem["path"] for problem in anna.result["problems"]] == ["hostnme", "colour", "default_policy"]
    assert await anna.json("showchanges") == []


async def test_certificates_that_cannot_be_read_are_not_loaded_even_when_nothing_uses_them() -> None:
    new = Certificate(name="new", certificate="nonsense", csr="nonsense")
    loaded = document(certificates=(*document().certificates, new), default_policy="NOWHERE")
    anna = Desk(FakeServices(), "anna", FakeClient({"bad.toml": render(loaded).encode()}))
    assert (await anna.run("loadconfig", "bad.toml")).status == 1
    assert [problem["path"] for problem in anna.result["problems"]] == [
        "default_policy", "certificates.new.certificate", "certificates.new.csr",
    ]  # fmt: skip
    assert await anna.json("showchanges") == []


async def test_loading_and_rollback_do_not_lose_uncommitted_changes_by_accident() -> None:
    anna = Desk(
        FakeServices(), "anna", FakeClient({"a.toml": render(document(listeners=_port(2600))).encode()})
    )
    anna.edit(logs=Logs(level="Trace"))
    for words in (("loadconfig", "a.toml"), ("rollbackconfig", "1")):
        ended = await anna.run(*words)
        assert "You have 1 uncommitted change that would be lost" in ended.message
    assert (await anna.json("loadconfig", "a.toml", "--discard"))["uncommitted_changes"] == 1


async def test_status_and_its_companions_tell_what_the_services_say() -> None:
    anna = Desk(FakeServices(), "anna")
    told = await anna.json("status")
    assert told["queue"] == {"messages": 12}
    assert told["receiving"] == {"connections": 3}
    assert (await anna.json("status", "detail"))["queue"]["oldest_seconds"] == 3.5
    assert (await anna.json("uptime"))["uptime"] == "1 day, 1:01:01"
    assert await anna.json("version") == {"version": "1.2.3", "hostname": "mx.example.com", "revision": 1}
    assert await anna.json("whoami") == {
        "user": "anna", "role": "administrator", "session": "local:anna", "face": "local",
        "uncommitted_changes": 0,
    }  # fmt: skip
