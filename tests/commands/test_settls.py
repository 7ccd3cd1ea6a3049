"""`settls`: an administrator gives one message a TLS level of its own."""

from __future__ import annotations

from typing import Any, cast

import msgspec

from mxseal.commands import queue
from mxseal.commands.registry import Registry
from mxseal.commands.results import Result
from mxseal.commands.running import AuditRecord, Ended, Runner
from mxseal.relay.orders import Order, Selection
from mxseal.storage.ports import Envelope, Queued, Recipient, StorageRefused
from mxseal.tls.policy import LEVELS
from tests.commands.gateway import FakeClient, FakeServices, context


class Mail:
    """A queue with one message."""

    def __init__(self) -> None:
        recipients = (Recipient(rid=0, address="a@bank.test"), Recipient(rid=1, address="b@press.test"))
        self.queued = Queued(
            envelope=Envelope(mid=7, sender="from@lab.test", size=1, queued_at=0.0), recipients=recipients
        )
        self.full = False

    async def load(self, mid: int) -> Queued | None:
        return self.queued if mid == 7 else None

    async def carry(self, order: Order, selection: Selection) -> int:
        if self.full:
            raise StorageRefused("full", "no space left on device")
        assert (order, selection.mids) == ("level", (7,))
        envelope = msgspec.structs.replace(self.queued.envelope, tls_level=selection.level)
        self.queued = msgspec.structs.replace(self.queued, envelope=envelope)
        return 2


class Desk:
    def __init__(self) -> None:
        services = FakeServices()
        self.mail = cast("Any", services).mail = Mail()
        plain = services.history.current().document.model_dump()
        plain["destinations"] = [{"domain": "bank.test", "tls": "required-verify"}]
        plain["tls_overrides"] = [{"recipient": "press.test", "tls": "off"}]
        commands = Registry((queue,))
        self.audit: list[AuditRecord] = []
        self._context = context(services, FakeClient(), commands)
        document = type(services.history.current().document).model_validate(plain)
        current = msgspec.structs.replace(services.history.current(), document=document)
        services.history.current = lambda: current  # type: ignore[method-assign]
        self._runner = Runner(commands, self.audit.append)
        self.result: Any = None

    async def run(self, *words: str, role: str = "administrator") -> Ended:
        async def keep(result: Result) -> None:
            self.result = result.to_json()

        who = msgspec.structs.replace(self._context, role=role)
        return await self._runner.run(words, who, keep)


async def test_the_level_is_kept_and_the_audit_tells_who_did_it() -> None:
    desk = Desk()
    ended = await desk.run("settls", "7", "required-verify-hosted")
    assert ended.outcome == "ok"
    assert desk.mail.queued.envelope.tls_level == "required-verify-hosted"
    assert (desk.result["mid"], desk.result["level"], desk.result["previous"]) == (
        7,
        "required-verify-hosted",
        None,
    )
    assert "delivernow 7" in desk.result["message"]
    (record,) = desk.audit
    assert (record.user, record.words) == ("anna", ("settls", "7", "required-verify-hosted"))
    await desk.run("settls", "7", "default")
    assert desk.mail.queued.envelope.tls_level is None
    assert desk.result["previous"] == "required-verify-hosted"


async def test_without_a_level_each_recipients_own_is_shown_with_who_says_so() -> None:
    desk = Desk()
    await desk.run("settls", "7")
    assert [(row["level"], row["level_from"]) for row in desk.result] == [
        ("required-verify", "destination bank.test"),
        ("off", "recipient override press.test"),
    ]
    await desk.run("settls", "7", "preferred")
    await desk.run("settls", "7")
    assert [(row["level"], row["level_from"]) for row in desk.result] == [("preferred", "message")] * 2


async def test_a_level_may_be_written_as_its_number_or_as_the_reference_names_it() -> None:
    desk = Desk()
    words = {"5": LEVELS[4], "Required - Verify Hosted Domains": LEVELS[5], "1": "off"}
    for word, level in words.items():
        await desk.run("settls", "7", word)
        assert desk.mail.queued.envelope.tls_level == level


async def test_only_an_administrator_sets_a_level() -> None:
    desk = Desk()
    for role in ("operator", "certificate-officer", "read-only"):
        assert (await desk.run("settls", "7", "off", role=role)).outcome == "refused"
    assert desk.mail.queued.envelope.tls_level is None


async def test_what_is_not_there_or_no_level_is_refused_in_a_sentence() -> None:
    desk = Desk()
    missing = await desk.run("settls", "8", "off")
    assert "There is no message 8" in missing.message
    unknown = await desk.run("settls", "7", "sometimes")
    assert (unknown.outcome, "sometimes" in unknown.message) == ("failed", True)
    desk.mail.full = True
    assert "no space left" in (await desk.run("settls", "7", "off")).message
