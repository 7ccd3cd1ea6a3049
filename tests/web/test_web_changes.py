"""Pending changes, users and work that takes a while, by what their forms do."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator

import pytest

from lab.ca import Authority
from tests.web.asking import Ask, asker
from tests.web.serving import PASSWORD, WebServing


@pytest.fixture
def client(web: WebServing, authority: Authority) -> Iterator[Ask]:
    with asker(web, authority) as make:
        yield make


NUMBERS = itertools.count(3)


@pytest.fixture(autouse=True)
def changes(web: WebServing) -> int:
    """Each test begins with two changes that are not committed, others than those that an earlier test
    committed: `workers` is the number that this gives, and the postmaster has it too."""
    number = next(NUMBERS)
    web.do(lambda: web.services.history.clear("user:anna"))
    web.edit("anna", postmaster=f"p{number}@example.com", workers=number)
    return number


def pending(web: WebServing) -> list[str]:
    return [change.path for change in web.do(lambda: web.services.history.changes("user:anna"))]


def test_the_bar_counts_the_changes_and_leads_to_them(client: Ask) -> None:
    page = client("anna").get("/queue").text
    assert re.search(r'class="pending" href="/changes".*2 changes', page, re.DOTALL)
    assert 'class="pending"' not in client("otto").get("/queue").text


def test_one_change_is_given_up_and_the_other_stays(web: WebServing, client: Ask) -> None:
    anna = client("anna")
    anna.submit("/changes/discard", only="workers")
    assert pending(web) == ["postmaster"]
    assert "Your change of workers is forgotten." in anna.get("/changes").text


def test_all_changes_are_given_up_behind_a_question(web: WebServing, client: Ask) -> None:
    anna = client("anna")
    asked = anna.submit("/changes/discard")
    assert "Give up all of your changes?" in asked.text
    assert len(pending(web)) == 2
    anna.submit("/changes/discard", sure="yes")
    assert pending(web) == []


def test_a_commit_puts_the_changes_in_force_with_its_comment(
    web: WebServing, client: Ask, changes: int
) -> None:
    anna = client("anna")
    anna.submit("/changes/commit", comment="mail to <people>")
    assert pending(web) == []
    assert web.services.history.current().document.postmaster == f"p{changes}@example.com"
    page = anna.get("/changes").text
    assert "Changes committed" in page
    assert "mail to &lt;people&gt;" in page
    number = web.services.history.current().number
    assert f"p{changes}@example.com" in anna.get(f"/changes/{number}").text


def test_a_commit_that_is_refused_says_why_and_keeps_the_comment(web: WebServing, client: Ask) -> None:
    anna = client("anna")
    web.edit("anna", default_policy="NOBODY")
    answer = anna.submit("/changes/commit", comment="oh dear")
    assert answer.status_code == 422
    assert "Nothing was committed" in answer.text
    assert "default_policy" in answer.text
    assert "oh dear</textarea>" in answer.text
    assert len(pending(web)) == 3


def test_behind_another_ones_commit_the_changes_are_put_on_top_first(web: WebServing, client: Ask) -> None:
    anna = client("anna")
    web.do(lambda: web.put(web.services.history.current().document.model_copy(update={"workers": 64})))
    assert "Somebody else committed since your changes began." in anna.get("/changes").text
    assert anna.submit("/changes/commit", comment="").status_code == 422
    assert anna.submit("/changes/rebase", overlap="").status_code == 422
    anna.submit("/changes/rebase", overlap="theirs")
    assert pending(web) == ["postmaster"]


def test_an_earlier_revision_comes_back_as_changes(web: WebServing, client: Ask) -> None:
    anna = client("anna")
    asked = anna.submit("/changes/rollback", revision="1")
    assert "Give up your changes for revision 1?" in asked.text
    anna.submit("/changes/rollback", revision="1", sure="yes")
    assert "is now your candidate" in anna.get("/changes").text


def test_who_only_reads_sees_changes_and_is_offered_nothing(client: Ask) -> None:
    rhea = client("rhea")
    page = rhea.get("/changes")
    assert page.status_code == 403
    assert rhea.submit("/changes/commit", comment="").status_code == 403


# --- users --------------------------------------------------------------------------------------------------


def test_a_user_is_made_changed_and_removed(web: WebServing, client: Ask) -> None:
    anna = client("anna")
    anna.submit("/system/users/new", name="emma", full_name="Emma", role="operator", password=PASSWORD)
    assert "User emma was created with the role operator." in anna.get("/system/users").text
    anna.submit("/system/users/emma/edit", full_name="Emma", role="read-only")
    assert web.services.users.get("emma").role == "read-only"  # type: ignore[union-attr]
    before = web.services.users.get("emma")
    anna.submit("/system/users/emma/password", password="another one of words")
    assert web.services.users.get("emma") != before
    asked = anna.submit("/system/users/emma/delete")
    assert "Delete the user emma?" in asked.text
    anna.submit("/system/users/emma/delete", sure="yes")
    assert web.services.users.get("emma") is None
    assert anna.get("/system/users/emma").status_code == 404


def test_what_is_wrong_in_a_form_stands_beside_the_field_and_passwords_do_not_come_back(client: Ask) -> None:
    answer = client("anna").submit("/system/users/new", name="", role="king", password="secret words here")
    assert answer.status_code == 422
    assert 'id="name-wrong"' in answer.text
    assert 'aria-describedby="name-help name-wrong"' in answer.text
    assert 'id="role-wrong"' in answer.text
    assert "secret words here" not in answer.text


def test_passwords_are_in_no_audit_record(web: WebServing, client: Ask) -> None:
    client("anna").submit("/system/users/otto/password", password="hunter2 hunter2 hunter2")
    assert not any("hunter2" in repr(record) for record in web.records)
    assert web.records[-1].words[:2] == ("userconfig", "password") or web.records[-1].face == "web"


def test_the_last_administrator_stays(web: WebServing, client: Ask) -> None:
    anna = client("anna")
    answer = anna.submit("/system/users/anna/edit", full_name="", role="operator")
    assert answer.status_code == 422
    assert "is the only administrator" in answer.text


def test_a_lost_second_factor_is_taken_away_by_an_administrator(web: WebServing, client: Ask) -> None:
    anna = client("anna")
    web.do(lambda: web.services.web.put_recovery("otto", [b"x" * 32]))
    assert "Remove all second factors of otto?" in anna.submit("/system/users/otto/factors").text
    anna.submit("/system/users/otto/factors", sure="yes")
    assert web.do(lambda: web.services.web.recovery_left("otto")) == 0


def test_an_administrator_ends_the_sessions_of_a_user(web: WebServing, client: Ask) -> None:
    otto = client("otto")
    assert otto.get("/queue").status_code == 200
    client("anna").submit("/system/users/otto/sessions")
    assert otto.get("/queue").status_code == 303
