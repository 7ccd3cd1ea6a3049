"""alertconfig and displayalerts: what is shown, asked, changed, refused, and tested against real servers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import msgspec
import pytest

from lab.hostile import Hostile
from lab.script import Behaviour
from lab.sink import Sink
from mxseal.alerts.alert import CLASSES
from mxseal.alerts.examples import KINDS, examples
from mxseal.alerts.kinds import RULES
from mxseal.alerts.outbox import secret_name
from mxseal.commands import alertconfig, configuration
from mxseal.commands.context import Role
from mxseal.commands.registry import Registry
from mxseal.commands.results import Result
from mxseal.commands.running import AuditRecord, Ended, Runner
from mxseal.config.check import advice, check
from mxseal.config.model import Document
from mxseal.config.toml import parse, render
from mxseal.events import types as facts
from mxseal.faces.render import Style, as_json, as_text
from mxseal.relay.resolver import Host
from mxseal.sinks.maillog import TABLE
from tests.alerts.desk import ADMIN, Desk, document_with
from tests.commands.gateway import FakeClient, FakeServices, context

COMMANDS = Registry((alertconfig, configuration))


class Operator:
    """One caller, whose gateway has the alerts of a `Desk`."""

    def __init__(
        self, desk: Desk | None = None, answers: Iterable[str] = (), role: Role = "operator"
    ) -> None:
        self.desk = desk or Desk()
        self.services = FakeServices()
        self.services.alerts = self.desk.alerts  # type: ignore[attr-defined]
        self.client = FakeClient({}, answers)
        self.context = context(self.services, self.client, COMMANDS, role)
        self.text = ""
        self.json: Any = None
        self.audit: list[AuditRecord] = []

    async def run(self, *words: str) -> Ended:
        async def keep(result: Result) -> None:
            self.text = as_text(result, Style(width=100))
            self.json = msgspec.json.decode(as_json(result.to_json()))

        self.text, self.json = "", None
        ended = await Runner(COMMANDS, self.audit.append).run(words, self.context, keep)
        self.text = self.text or ended.message
        return ended

    async def ok(self, *words: str) -> Any:
        ended = await self.run(*words)
        assert ended.outcome == "ok", self.text
        return self.json

    async def refused(self, *words: str) -> str:
        before = self.document
        ended = await self.run(*words)
        assert ended.outcome in {"failed", "usage", "refused"}, self.text
        assert self.document == before
        return " ".join(self.text.split())

    @property
    def document(self) -> Document:
        return self.services.history.candidate(self.context.owner)


# --- show and change --------------------------------------------------------------------------------------


async def test_without_addresses_it_shows_the_reference_s_words() -> None:
    operator = Operator()
    await operator.ok("alertconfig", "show")
    assert operator.text.splitlines()[:6] == [
        "Not sending alerts (no configured addresses)",
        "",
        "Initial number of seconds to wait before sending a duplicate alert: 300",
        "Maximum number of seconds to wait before sending a duplicate alert: 3600",
        "Maximum number of alerts stored in the system are: 50",
        "",
    ]
    assert "Alerts will be sent using the system-default From Address." in operator.text


async def test_a_new_address_gets_all_alerts_unless_it_is_said_which() -> None:
    operator = Operator()
    await operator.ok("alertconfig", "new", ADMIN)
    classes = ("--classes", "system, Message Delivery", "--severities", "2,3")
    await operator.ok("alertconfig", "new", "noc@example.com", *classes)
    await operator.ok("alertconfig", "show")
    assert operator.text.splitlines()[:5] == [
        "Sending alerts to:",
        ADMIN,
        "        Class: All - Severities: All",
        "noc@example.com",
        "        Class: System, Message Delivery - Severities: Critical, Warning",
    ]
    assert operator.document.alerts.recipients[1].classes == ("system", "delivery")
    assert operator.document.alerts.recipients[1].severities == ("critical", "warning")


async def test_the_dialogue_asks_in_the_reference_s_words() -> None:
    operator = Operator(answers=[ADMIN, "2", "1"])
    await operator.ok("alertconfig", "new")
    address, classes, severities = operator.client.questions
    assert address == (
        'Please enter a new email address to send alerts.\n(Ex: "administrator@example.com") []'
    )
    assert classes.startswith(
        "Choose the Alert Classes. Separate multiple choices with commas.\n1. All\n2. System\n"
    )
    assert classes.endswith("[1]")
    assert severities == (
        "Select a Severity Level. Separate multiple choices with commas.\n"
        "1. All\n2. Critical\n3. Warning\n4. Information [1]"
    )
    (entry,) = operator.document.alerts.recipients
    assert (entry.classes, entry.severities) == (("system",), ())


async def test_editing_asks_with_what_is_there_and_keeps_the_rest() -> None:
    operator = Operator()
    await operator.ok("alertconfig", "new", ADMIN, "--classes", "storage", "--severities", "critical")
    await operator.ok("alertconfig", "edit", ADMIN.upper(), "--classes", "all")
    (entry,) = operator.document.alerts.recipients
    assert (entry.classes, entry.severities) == ((), ("critical",))
    operator.client.answers = ["2,5", ""]
    await operator.ok("alertconfig", "edit", ADMIN)
    assert [question[-3:] for question in operator.client.questions] == ["[1]", "[2]"]
    (entry,) = operator.document.alerts.recipients
    assert (entry.classes, entry.severities) == (("system", "storage"), ("critical",))


async def test_addresses_are_removed_one_by_one_or_all() -> None:
    operator = Operator()
    for name in ("a", "b", "c"):
        await operator.ok("alertconfig", "new", f"{name}@example.com")
    await operator.ok("alertconfig", "delete", "B@example.com")
    assert [entry.address for entry in operator.document.alerts.recipients] == [
        "a@example.com",
        "c@example.com",
    ]
    operator.client.answers = ["n"]
    await operator.ok("alertconfig", "clear")
    assert len(operator.document.alerts.recipients) == 2
    await operator.ok("alertconfig", "clear", "--yes")
    assert not operator.document.alerts.recipients


async def test_settings_are_changed_by_options_or_in_a_dialogue() -> None:
    operator = Operator()
    await operator.ok("alertconfig", "setup", "--first-wait", "5", "--queue-age", "0")
    assert operator.document.alerts.first_wait == 5
    assert operator.document.alerts.queue_age == 0
    await operator.ok("alertconfig", "setup", "--calm-time", "30")
    assert operator.document.alerts.calm_time == 30
    assert "calm" in await operator.refused("alertconfig", "setup", "--calm-time", "0")
    operator.client.answers = ["0", "", "20", "", "", ""]
    await operator.ok("alertconfig", "setup")
    alerts = operator.document.alerts
    assert (alerts.first_wait, alerts.longest_wait, alerts.kept) == (0, 3600, 20)
    operator.client.answers = ["soon", "", "", "", "", "", ""]
    await operator.ok("alertconfig", "setup")
    assert operator.client.questions[-6].startswith("soon is not a number.")
    assert operator.document.alerts == alerts


async def test_the_from_address_is_set_and_taken_back() -> None:
    operator = Operator()
    await operator.ok("alertconfig", "from", "noc@Example.NET")
    assert operator.document.alerts.from_address == "noc@example.net"
    await operator.ok("alertconfig", "from", "--default")
    assert operator.document.alerts.from_address is None
    operator.client.answers = ["gw@example.net"]
    await operator.ok("alertconfig", "from")
    assert operator.document.alerts.from_address == "gw@example.net"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("new", "admin"), "is not a mail address"),
        (("new", "a@b@c"), "is not a mail address"),
        (("new", "new@example.com", "--classes", "hardware"), "There is no class called hardware"),
        (("new", "new@example.com", "--severities", "criticall"), "Did you mean critical?"),
        (("new", ADMIN.upper()), "gets alerts already"),
        (("edit", "x@example.com", "--classes", "all"), "They are sent to: admin@example.com"),
        (("edit", ADMIN), "Say what changes"),
        (("delete", "x@example.com"), "No alerts are sent to x@example.com"),
        (("setup",), "Say what changes"),
        (("setup", "--kept", "5000"), "--kept"),
        (("from",), "--default"),
        (("from", "a@example.com", "--default"), "Choose one"),
        (("webhook", "add", "ops", "http://hooks.example.com/"), "would send alerts in clear text"),
        (("webhook", "add", "ops", "https://me:pw@hooks.example.com/"), "can't stand in the document"),
        (("webhook", "add", "ops", "ftp://hooks.example.com/"), "is not a URL"),
        (("webhook", "add", "o/p", "https://hooks.example.com/"), "can't be a name"),
        (("webhook", "add", "ops", "https://h.example/", "--secret", "pass:short"), "at least 16"),
        (("webhook", "delete", "ops"), "There are: none"),
        (("test", "tls-faild"), "Did you mean tls-failed?"),
        (("test", "tls-failed"), "Nobody gets such alerts"),
    ],
)
async def test_what_can_t_be_is_refused_with_the_remedy(words: tuple[str, ...], told: str) -> None:
    operator = Operator()
    await operator.ok("alertconfig", "new", "admin@example.com")
    assert told in await operator.refused("alertconfig", *words)


async def test_a_webhook_s_secret_is_sealed_and_in_no_document_nor_audit() -> None:
    secret = "a secret of thirty-two characters"
    operator = Operator()
    words = ("alertconfig", "webhook", "add", "ops", "https://hooks.example.com/x")
    await operator.ok(*words, "--secret", f"pass:{secret}", "--severities", "critical")
    (entry,) = operator.document.alerts.webhooks
    assert entry.severities == ("critical",)
    assert entry.secret is not None
    assert operator.desk.secrets.get(secret_name(entry.secret)) == secret.encode()
    await operator.ok("alertconfig", "show")
    assert "ops (https://hooks.example.com/x, signed)" in operator.text
    assert secret not in render(operator.document) + operator.text + repr(operator.audit)
    await operator.ok(*words)
    assert operator.document.alerts.webhooks[0].secret is None
    await operator.ok("alertconfig", "webhook", "delete", "OPS")
    assert operator.document.alerts.webhooks == ()


async def test_who_may_only_read_changes_nothing_and_sends_nothing() -> None:
    operator = Operator(role="read-only")
    await operator.ok("alertconfig", "show")
    await operator.ok("displayalerts")
    for words in (("new", ADMIN), ("clear",), ("test", "system", ADMIN)):
        assert "needs the role" in await operator.refused("alertconfig", *words)


async def test_the_document_with_alerts_survives_toml_and_its_mistakes_are_named() -> None:
    operator = Operator()
    await operator.ok("alertconfig", "new", ADMIN, "--classes", "storage")
    await operator.ok("alertconfig", "webhook", "add", "ops", "https://hooks.example.com/")
    assert parse(render(operator.document)) == operator.document
    twice = document_with(alerts={"recipients": [{"address": ADMIN}, {"address": ADMIN.upper()}]})
    assert next(problem.path for problem in check(twice)).startswith("alerts.recipients.")
    nobody = [problem.path for problem in advice(document_with())]
    assert "delivery.alert_on_tls_failure" in nobody


# --- test and display -------------------------------------------------------------------------------------


def desk_in_force(operator: Operator, sink: Sink) -> None:
    operator.desk.names.known["example.com"] = (Host("mx", sink.port, ("127.0.0.1",)),)


async def test_a_test_shows_at_once_whether_it_was_taken(sink: Sink) -> None:
    async with Desk() as desk:
        operator = Operator(desk)
        desk_in_force(operator, sink)
        told = await operator.ok("alertconfig", "test", "tls-failed", ADMIN)
        assert told == [{"to": ADMIN, "ok": True, "problem": None}]
        assert desk.alerts.recent() == ()
    (message,) = sink.messages()
    assert b"This is a test of alerts." in message.content
    assert b"esa.example.com: Test: TLS" in message.content.replace(b"\r\n ", b" ")


async def test_a_test_that_is_refused_shows_why_and_is_tried_once(
    hostile: Callable[..., Hostile],
) -> None:
    server = hostile(Behaviour(replies={"RCPT": "450 4.2.0 greylisted"}))
    async with Desk() as desk:
        operator = Operator(desk)
        desk_in_force(operator, server)
        assert "450 4.2.0 greylisted" in await operator.refused("alertconfig", "test", "storage", ADMIN)
    assert len(server.sessions) == len({alert.severity for alert in examples(0.0).values()
                                        if alert.alert_class == "storage"})  # fmt: skip


async def test_a_test_without_an_address_goes_to_all_who_get_such_alerts(sink: Sink) -> None:
    recipients = [
        {"address": "a@example.com", "classes": ["storage"]},
        {"address": "b@example.com", "classes": ["system"]},
    ]
    async with Desk(alerts={"recipients": recipients}) as desk:
        operator = Operator(desk)
        desk_in_force(operator, sink)
        told = await operator.ok("alertconfig", "test", "disk-nearly-full")
    assert [entry["to"] for entry in told] == ["a@example.com"]


@pytest.mark.parametrize("what", [*CLASSES, *KINDS])
async def test_every_class_and_every_kind_can_be_tested(what: str, sink: Sink) -> None:
    async with Desk() as desk:
        operator = Operator(desk)
        desk_in_force(operator, sink)
        told = await operator.ok("alertconfig", "test", what, ADMIN)
    assert told
    assert len(sink.messages()) == len(told)


def test_every_event_that_alerts_read_has_its_example() -> None:
    assert len(KINDS) >= len(RULES)
    assert set(RULES) <= set(TABLE) | {facts.OutboundTlsSucceeded}


async def test_the_last_alerts_are_shown_in_short_and_whole() -> None:
    async with Desk(alerts={"first_wait": 0}) as desk:
        operator = Operator(desk)
        await operator.ok("displayalerts")
        assert "There were no alerts." in operator.text
        await desk.fail("one.example")
        await desk.fail("two.example")
        told = await operator.ok("displayalerts")
        assert [entry["kind"] for entry in told] == ["tls-failed"] * 2
        assert "Date and Time Stamp" in operator.text
        assert "Warning" in operator.text
        assert len(await operator.ok("displayalerts", "1")) == 1
        await operator.run("displayalerts", "--full")
        assert "Domain:           two.example" in operator.text
