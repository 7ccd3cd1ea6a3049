"""The dialogues of configuration commands: menus, questions, what an answer means (reference §6.1, §1.4)."""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import Iterable
from typing import Any

import msgspec
import pytest

from mxseal.commands import catalogue
from mxseal.commands.context import Role
from mxseal.commands.registry import Registry
from mxseal.commands.results import Result
from mxseal.commands.running import AuditRecord, Ended, Runner
from mxseal.config.model import AlertRecipient, Alerts, Document
from mxseal.faces.render import Style, as_text
from tests.commands import gateway
from tests.commands.certificate_desk import Officer
from tests.commands.gateway import FakeClient, FakeServices, context

ALL = catalogue.registry()


class Shown(FakeClient):
    """A terminal: what was shown and asked, in its order."""

    def __init__(self, answers: Iterable[str]) -> None:
        super().__init__(answers=answers)
        self.screen = ""

    async def ask(self, question: str, default: str) -> str:
        self.screen += f"{question.rstrip()}\n[{default}]> "
        answer = await super().ask(question, default)
        self.screen += f"{answer}\n"
        return answer


class Table:
    """Somebody at a terminal of a gateway, until the answers are over."""

    def __init__(self, *answers: str, role: Role = "administrator", commands: Registry = ALL) -> None:
        self.services = FakeServices()
        self.client = Shown(answers)
        self.context = context(self.services, self.client, commands, role)
        self.records: list[AuditRecord] = []
        self._runner = Runner(commands, self.records.append)

    async def type(self, line: str) -> Ended:
        ended = await self._runner.run(line.split(), self.context, self._deliver)
        if ended.message:
            self.client.screen += f"{ended.message}\n"
        return ended

    async def _deliver(self, result: Result) -> None:
        self.client.screen += as_text(result, Style(width=100))

    @property
    def screen(self) -> str:
        return self.client.screen

    @property
    def document(self) -> Document:
        return self.services.history.candidate(self.context.owner)

    def edit(self, **changes: Any) -> None:
        self.services.edit(self.context.owner, **changes)


def _offered(screen: str) -> list[str]:
    """The operations of the last menu."""
    menu = screen.rpartition("Choose the operation you want to perform:")[2]
    return re.findall(r"^- (\S+) - ", menu, re.MULTILINE)


# --- menus ------------------------------------------------------------------------------------------------


async def test_a_group_alone_shows_what_there_is_and_its_operations_until_an_empty_line() -> None:
    table = Table("new", "noc@example.net", "", "", "", "left over")
    assert (await table.type("alertconfig")).outcome == "ok"
    first, second, _rest = table.screen.split("Choose the operation you want to perform:\n")
    assert "Not sending alerts" in first
    assert "Sending alerts to:\nnoc@example.net" in second
    assert second.startswith("- SETUP - Configure alert settings\n- NEW - ")
    assert table.client.answers == ["left over"]


@pytest.mark.parametrize("typed", ["LIST", "list", "L", "li"])
async def test_an_operation_is_typed_in_any_case_or_by_its_beginning(typed: str) -> None:
    table = Table(typed, "", "left over")
    await table.type("destconfig")
    assert [record.words for record in table.records] == [("destconfig", "list"), ("destconfig",)]


async def test_what_may_be_several_operations_or_none_is_told() -> None:
    table = Table("de", "xyzzy", "lsit", "", "left over")
    await table.type("destconfig")
    assert "'de' may be DEFAULT or DETAIL." in table.screen
    assert "There is no operation 'xyzzy' here. '?' says what there is" in table.screen
    assert "There is no operation 'lsit' here. Did you mean LIST?" in table.screen


async def test_behind_an_operation_may_stand_what_it_would_ask() -> None:
    table = Table("NEW a.example --tls required", "", "left over")
    await table.type("destconfig")
    assert [entry.domain for entry in table.document.destinations][-1] == "a.example"
    assert table.records[0].words == ("destconfig", "new", "a.example", "--tls", "required")


@pytest.mark.parametrize("typed", ["?", "help"])
async def test_a_question_mark_in_a_menu_explains_its_operations(typed: str) -> None:
    table = Table(typed, "help new", "setup ?", "", "left over")
    await table.type("destconfig")
    assert "How mail to other domains leaves" in table.screen
    assert "  SETUP     Change global settings" in table.screen
    assert "Usage: destconfig new" in table.screen
    assert "Usage: destconfig setup" in table.screen


async def test_menus_lead_to_further_menus_and_back() -> None:
    table = Table("override", "list", "", "", "left over")
    await table.type("destconfig")
    assert _offered(table.screen)[:2] == ["SETUP", "NEW"]
    assert "- ADD - Add an override" in table.screen
    assert table.client.answers == ["left over"]


async def test_the_certificate_menus_are_laid_out_as_in_the_reference() -> None:
    table = Table("certificate", "", "", "left over")
    await table.type("certconfig")
    assert _offered(table.screen) == ["CERTIFICATE", "CERTAUTHORITY", "CRL"]
    menus = re.findall(r"perform:\n((?:- .*\n)+)", table.screen)
    inner = re.findall(r"^- (\S+)", menus[1], re.MULTILINE)
    assert inner[:4] == ["IMPORT", "PASTE", "NEW", "PRINT"]  # nothing to edit, export or delete yet
    assert "List of Certificates" in table.screen


async def test_edit_export_and_delete_are_offered_once_there_is_a_certificate_of_ones_own() -> None:
    officer = Officer()
    await officer.ok("certconfig", "new", "mine", "--common-name", "mx.example.com")
    officer.client.answers = ["certificate", "edit", "1", "", "", ""]
    await officer.ok("certconfig")
    menus = "\n".join(officer.client.questions)
    assert re.search(r"NEW.*\n- EDIT.*\n- EXPORT.*\n- DELETE.*\n- PRINT", menus)
    assert "Which one:\n1. mine []" in menus
    assert "- REPLACE - " in menus


async def test_what_makes_no_sense_now_says_why_when_it_is_typed_all_the_same() -> None:
    table = Table("delete Demo", "", "left over")
    await table.type("certconfig certificate")
    assert "The demonstration certificate can't be deleted" in table.screen


@pytest.mark.parametrize("way", ["certconfig certificate", "certconfig"])
async def test_the_words_of_a_menu_work_as_words_of_a_command_too(way: str) -> None:
    officer = Officer()
    await officer.ok(*way.split(), "new", "mine", "--common-name", "mx.example.com")
    assert officer.profile("mine").name == "mine"
    assert "Usage: certconfig new" in ALL.help([*way.split(), "new"])


async def test_a_menu_about_a_listener_asks_once_which_one() -> None:
    table = Table("edit", "1", "limits", "77", *[""] * 14, "hostaccess", "", "", "", "left over")
    await table.type("listenerconfig")
    assert table.document.listeners[0].limits.connections == 77
    assert table.screen.count("Which listener:") == 1
    assert "Host access table" in table.screen
    assert ("listenerconfig", "limits", "IncomingMail", "--connections", "77") in [
        record.words for record in table.records
    ]


async def test_a_command_that_is_a_menu_too_stays_a_command_with_words_and_without_a_terminal() -> None:
    alone = Table()
    assert (await alone.type("hostaccess")).outcome == "ok"
    assert "Host access table" in alone.screen
    reader = Table("unused", role="read-only")
    assert (await reader.type("hostaccess")).outcome == "ok"
    assert reader.client.questions == []
    assert (await Table().type("listenerconfig edit")).status == 2


async def test_without_a_terminal_a_menu_is_a_usage_error_that_says_what_to_type() -> None:
    for line, said in (
        ("destconfig", "'destconfig' needs one more word: default"),
        ("certconfig certificate", "The commands in it are: certconfig import, certconfig paste"),
        ("certconfig edit", "The commands in it are: certconfig replace, certconfig csr"),
    ):
        ended = await Table().type(line)
        assert ended.status == 2
        assert said in ended.message


async def test_an_operation_without_anything_to_be_about_says_so() -> None:
    table = Table("edit", "del", "", "left over")
    table.edit(destinations=())
    await table.type("destconfig")
    assert "There is nothing yet that EDIT could be about." in table.screen
    assert "There is nothing yet that DELETE could be about." in table.screen


async def test_an_empty_line_at_the_first_question_goes_back_to_the_menu() -> None:
    table = Table("new", "", "list", "", "left over")
    await table.type("destconfig")
    assert [(record.words[-1], record.outcome) for record in table.records] == [
        ("new", "cancelled"), ("list", "ok"), ("destconfig", "ok"),
    ]  # fmt: skip
    typed = Table("", "a.example", *[""] * 6, "left over")
    await typed.type("destconfig new")
    assert typed.client.questions[1].startswith("An answer is needed; Ctrl-C leaves without change.")


async def test_a_long_table_ahead_of_a_menu_is_cut() -> None:
    table = Table("", "left over")
    table.edit(smtp_routes={f"d{number}.example": ("mx.example.net",) for number in range(100)})
    await table.type("smtproutes")
    assert "d39.example" in table.screen
    assert "d40.example" not in table.screen
    assert "… and 60 more: 'smtproutes list' shows all." in table.screen


# --- roles ------------------------------------------------------------------------------------------------


async def test_operations_that_a_role_may_not_use_are_not_offered_and_are_refused_when_typed() -> None:
    table = Table("new x.example", "", "left over", role="read-only")
    await table.type("destconfig")
    assert set(_offered(table.screen)) == {"LIST", "DETAIL", "EXPORT", "OVERRIDE"}
    assert "There is no operation 'new' here" in table.screen or "needs the role" in table.screen
    assert table.document.destinations == FakeServices().history.current().document.destinations


async def test_a_group_without_anything_for_a_role_is_refused() -> None:
    ended = await Table("list", role="operator").type("userconfig")
    assert (ended.status, ended.outcome) == (77, "refused")
    assert ended.message == "'userconfig' needs the role administrator; yours is operator"


@pytest.mark.parametrize("left", ["read-only", None])
@pytest.mark.parametrize("answers", [("new a.example", ""), ("new", "a.example", *[""] * 6)])
async def test_a_role_that_is_taken_away_in_a_dialogue_is_gone_at_once(
    answers: tuple[str, ...], left: Role | None
) -> None:
    table = Table(*answers, "left over")
    at_first = len(answers) + 1

    def role() -> Role | None:
        """As long as nothing was answered but the operation."""
        return "operator" if len(table.client.answers) >= at_first - (len(answers) > 2) else left

    table.context = msgspec.structs.replace(table.context, role="operator", role_now=role)
    await table.type("destconfig")
    assert "needs the role" in table.screen or "has no role any more" in table.screen
    assert "refused" in {record.outcome for record in table.records}
    assert "a.example" not in {entry.domain for entry in table.document.destinations}


# --- questions --------------------------------------------------------------------------------------------


async def test_the_present_value_is_the_default_and_what_is_not_changed_is_not_written() -> None:
    table = Table("", "2600", *[""] * 7, "left over")
    await table.type("listenerconfig edit incomingmail")
    assert "Please enter the address for this listener:\n[127.0.0.1]> 127.0.0.1" in table.screen
    assert "Type:" not in table.screen.split("[2525]>")[0]
    assert "1. public\n2. private\n[1]> " in table.screen
    assert "TLS from the first byte, as on port 465:\n[N]> " in table.screen
    assert table.document.listeners[0].port == 2600
    assert table.records[0].words == ("listenerconfig", "edit", "incomingmail", "--port", "2600")


async def test_when_all_stays_nothing_is_changed() -> None:
    table = Table(*[""] * 9, "left over")
    before = table.document
    assert (await table.type("listenerconfig edit IncomingMail")).outcome == "ok"
    assert table.screen.endswith("Nothing was changed.\n")
    assert table.document is before


async def test_what_shall_change_is_not_asked_where_words_say_it() -> None:
    table = Table("unused")
    await table.type("listenerconfig edit IncomingMail --port 2600")
    assert table.client.questions == []
    assert table.document.listeners[0].port == 2600


async def test_a_choice_is_its_number_its_name_or_its_beginning() -> None:
    for answer in ("2", "relay", "REL"):
        table = Table(answer, *[""] * 5, "left over")
        await table.type("policyconfig policy edit ACCEPTED")
        assert next(p for p in table.document.mail_flow_policies if p.name == "ACCEPTED").action == "relay"


async def test_a_bad_answer_is_told_and_asked_again_and_a_question_mark_explains() -> None:
    table = Table("9", "re", "?", "1", *[""] * 5, "left over")
    await table.type("policyconfig policy edit ACCEPTED")
    assert "There is no number 9: write one of 1 to 4." in table.screen
    assert "re may be relay or reject or refuse." in table.screen
    assert "accept: mail for your domains; relay: for any" in table.screen
    assert "An empty line means 1." in table.screen


async def test_names_are_told_from_unknown_ones_before_anything_else_is_asked() -> None:
    table = Table("nobody@example.net", "1", "", "", "left over")
    table.edit(alerts=Alerts(recipients=(AlertRecipient(address="noc@example.net"),)))
    await table.type("alertconfig edit")
    assert table.screen.startswith(
        "Enter the email address that you wish to change.\n1. noc@example.net\n[]> "
    )
    assert "No alerts are sent to nobody@example.net" in table.client.questions[1]
    officer = Officer(answers=["Demo", "", "x" * 200, "mine", "mx.example.com", *[""] * 9])
    await officer.ok("certconfig", "new")
    first = officer.client.questions[:4]
    assert first[1].startswith("Demo is the demonstration certificate")
    assert first[2].startswith("An answer is needed; Ctrl-C leaves without change.")
    assert officer.profile("mine")


async def test_levels_and_limits_are_looked_at_at_once() -> None:
    table = Table("", "9", "5", "", "many", "50M", "", "", "left over")
    await table.type("policyconfig policy edit ACCEPTED")
    assert "There is no TLS level '9' for receiving." in table.client.questions[2]
    assert "many is no number: write one such as 100 or 50M, or 'default'." in table.client.questions[5]
    table = Table("7", "6", "x", "20", *[""] * 4, "left over")
    await table.type("destconfig default")
    assert "There is no TLS level '7'." in table.client.questions[1]
    assert "This takes a number or 'default', not 'x'." in table.client.questions[3]
    assert table.document.destinations[0].tls == "required-verify-hosted"


async def test_a_command_of_the_prompt_is_told_to_have_no_place_in_a_menu() -> None:
    table = Table("commit", "", "left over")
    await table.type("destconfig")
    assert "'commit' has no place in this menu: an empty line leaves it." in table.screen


async def test_a_switch_is_answered_with_y_or_n() -> None:
    table = Table("", "perhaps", "y", "left over")
    await table.type("destconfig setup")
    assert "Write Y or N.\nDo you want to send an alert when a required TLS connection fails?" in table.screen
    assert table.document.delivery.alert_on_tls_failure


async def test_numbers_out_of_their_bounds_are_told_in_words() -> None:
    table = Table("", "0", "70000", "x", "1e3", "2525", *[""] * 2, "left over")
    await table.type("sshconfig setup")
    for said in (
        "0 is too small: at least 1.",
        "70000 is too large: at most 65535.",
        "x is not a whole number.",
    ):
        assert said in table.screen
    assert table.document.ssh.port == 2525


async def test_a_dialogue_that_fails_can_be_gone_through_with_its_answers() -> None:
    officer = Officer(
        answers=["mine", "mx.example.com", "", "", "", "", "", "GER", "", "", "", "y",
                 "", "", "", "", "", "", "", "DE", "", "", "", "left over"]
    )  # fmt: skip
    await officer.ok("certconfig", "new")
    again = officer.client.questions[12:]
    assert officer.client.questions[11] == "Do you want to change your answers and try again? [Y]"
    assert again[:2] == [
        "Enter a name for this certificate profile: [mine]",
        "Enter Common Name: [mx.example.com]",
    ]
    assert "Enter Country (2 letter code): [GER]" in again
    assert officer.profile("mine")


async def test_after_a_failure_one_may_leave_it() -> None:
    table = Table("new", "bad domain", *[""] * 6, "perhaps", "n", "", "left over")
    await table.type("destconfig")
    assert "No entry for bad domain was made" in table.screen
    assert table.records[0].outcome == "failed"
    assert table.client.answers == ["left over"]


async def test_the_questions_about_certificates_come_in_the_order_of_the_reference() -> None:
    officer = Officer(answers=["mine", "mx.example.com", *[""] * 9])
    await officer.ok("certconfig", "new")
    assert [question.split("\n")[0] for question in officer.client.questions] == [
        "Enter a name for this certificate profile: []", "Enter Common Name: []",
        "Further host names, if any: []", "Enter Organization: []", "Enter Organizational Unit: []",
        "Enter Locality or City: []", "Enter State or Province: []", "Enter Country (2 letter code): []",
        "Duration before expiration (in days): [3650]", "Kind of private key:",
        "Do you want to view the CSR? [Y]",
    ]  # fmt: skip
    officer.client.questions.clear()
    officer.client.answers = ["1", "mine.p12", "a passphrase", "left over"]
    await officer.ok("certconfig", "export")
    assert officer.client.questions == ["Which one:\n1. mine []", "File name: []", "Passphrase: [twice]"]


async def test_a_file_that_can_not_be_reached_is_pasted_and_may_be_base64() -> None:
    officer = Officer(answers=["1", "mine.p12", "a passphrase"])
    await officer.ok("certconfig", "new", "mine", "--common-name", "mx.example.com")
    await officer.ok("certconfig", "export")
    text = base64.encodebytes(officer.client.files["mine.p12"]).decode()
    officer.context = msgspec.structs.replace(officer.context, files=False)
    officer.client.answers = [text, "a passphrase", "second", "left over"]
    await officer.ok("certconfig", "import")
    assert "Paste the content of the file" in officer.client.questions[-3]
    assert officer.profile("second").certificate == officer.profile("mine").certificate


# --- what is written down ---------------------------------------------------------------------------------


async def test_the_audit_record_of_a_dialogue_has_its_answers_and_no_secret() -> None:
    table = Table(
        "new", "Kyusu", "2", "a b", "lock", "hunter2", "", "left over", commands=Registry((gateway,))
    )
    await table.type("pot")
    assert [record.words for record in table.records] == [
        ("pot", "new", "Kyusu", "--litres", "2.0", "--mark", "a", "--mark", "b"),
        ("pot", "lock", "--passphrase", "pass:***"),
        ("pot",),
    ]


async def test_a_dialogue_that_is_cancelled_leaves_nothing_half_done() -> None:
    reached = asyncio.Event()

    class Patient(Shown):
        interactive = True

        async def ask(self, question: str, default: str) -> str:
            if self.answers:
                return await super().ask(question, default)
            reached.set()
            await asyncio.Event().wait()
            raise AssertionError

    async def deliver(_result: Result) -> None:
        return None

    table = Table()
    before = table.document
    caller = context(table.services, Patient(["new", "a.example", "3"]), ALL)
    task = asyncio.create_task(Runner(ALL, table.records.append).run(["destconfig"], caller, deliver))
    await reached.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [record.outcome for record in table.records] == ["cancelled", "cancelled"]
    assert table.document is before
