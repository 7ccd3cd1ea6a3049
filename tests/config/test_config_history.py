"""Differences, candidates, commits, conflicts."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import assume, given

from mxseal.config.check import Problem
from mxseal.config.diff import diff, replay
from mxseal.config.history import (
    BrokenHistory,
    BuildFailed,
    Commit,
    Committed,
    Conflict,
    History,
    NothingToCommit,
    Rejected,
)
from mxseal.config.model import Certificate, Document, Logs, RecipientAccess, SenderGroup
from mxseal.storage.ports import StorageRefused
from tests.config.documents import PEM, document, documents
from tests.config.memory import MemoryDocuments


class Built:
    """What a build gives: remembers whether it was given up."""

    def __init__(self, built_from: Document) -> None:
        self.document = built_from
        self.discarded = False

    def discard(self) -> None:
        self.discarded = True


def _history() -> tuple[History, MemoryDocuments]:
    documents_ = MemoryDocuments()
    history = History(documents_)
    history.begin(document(), "admin", 1.0)
    return history, documents_


def _commit(history: History, owner: str, build: Any = Built) -> Any:
    async def built(new: Document) -> Any:
        return build(new)

    return asyncio.run(history.commit(Commit(owner, owner, f"by {owner}", 2.0), built))


def _with_port(port: int, **more: Any) -> Document:
    first = document(**more)
    listener = first.listeners[0].model_copy(update={"port": port})
    return first.model_copy(update={"listeners": (listener,)})


# --- differences ------------------------------------------------------------------------------------------


@given(documents, documents)
def test_differences_replayed_on_the_old_document_give_the_new_one(old: Document, new: Document) -> None:
    assume(all(len(set(names)) == len(names) for names in _named(old, new)))  # check refuses the others
    assert replay(old, diff(old, new)) == new


def _named(*both: Document) -> list[list[str]]:
    return [
        names
        for one in both
        for names in (
            [entry.name for entry in one.listeners],
            [entry.name for entry in one.sender_groups],
            [entry.name for entry in one.mail_flow_policies],
            [entry.name for entry in one.certificates],
            [entry.domain for entry in one.destinations],
        )
    ]


def test_a_document_has_no_differences_to_itself() -> None:
    assert diff(document(), document()) == []


def test_entries_are_matched_by_name_and_values_shown_in_short() -> None:
    (change,) = diff(document(), _with_port(25))
    assert (change.path, change.old_text, change.new_text) == ("listeners.IncomingMail.port", "2525", "25")
    other = Certificate(name="Demo", certificate=PEM.replace("TVhT", "AAAA"))
    (change,) = diff(document(), document(certificates=(other,)))
    assert change.old_text.startswith("CERTIFICATE ")
    assert change.old_text != change.new_text
    assert len(change.new_text) == len("CERTIFICATE ") + 16


def test_an_added_entry_is_one_difference_without_its_defaults() -> None:
    groups = (
        *document().sender_groups,
        SenderGroup(name="PARTNERS", policy="ACCEPTED", members=("192.0.2.1",)),
    )
    (change,) = diff(document(), document(sender_groups=groups))
    assert (change.kind, change.path, change.old_text) == ("added", "sender_groups.PARTNERS", "")
    assert change.new_text == "name = PARTNERS, members = 192.0.2.1, policy = ACCEPTED"


def test_the_order_of_sender_groups_is_a_difference_as_the_first_match_wins() -> None:
    (change,) = diff(document(), document(sender_groups=document().sender_groups[::-1]))
    assert (change.kind, change.new_text) == ("reordered", "BLOCKLIST, RELAYLIST")


# --- candidates and commit --------------------------------------------------------------------------------


def test_a_change_is_seen_by_its_owner_only_until_it_is_committed() -> None:
    history, _ = _history()
    history.change("anna", _with_port(25))
    assert history.candidate("anna").listeners[0].port == 25
    assert history.candidate("otto") == history.current().document == document()
    outcome = _commit(history, "anna")
    assert isinstance(outcome, Committed)
    assert history.current().number == outcome.revision.number == 2
    assert history.current().document == outcome.built.document == _with_port(25)
    assert history.changes("anna") == []
    assert not outcome.built.discarded


def test_a_change_that_is_taken_back_leaves_nothing_to_commit() -> None:
    history, documents_ = _history()
    history.change("anna", _with_port(25))
    assert history.change("anna", document()) == []
    assert documents_.candidate("anna") is None
    assert isinstance(_commit(history, "anna"), NothingToCommit)


def test_clear_forgets_the_changes() -> None:
    history, _ = _history()
    history.change("anna", _with_port(25))
    assert len(history.clear("anna")) == 1
    assert history.candidate("anna") == document()


def test_a_candidate_with_broken_rules_is_not_built_and_not_stored() -> None:
    history, _ = _history()
    history.change("anna", document(default_policy="NONE"))
    outcome = _commit(history, "anna", build=lambda _: pytest.fail("it was built"))
    assert isinstance(outcome, Rejected)
    assert outcome.problems[0].path == "default_policy"
    assert history.current().number == 1


def test_a_candidate_that_cannot_be_built_is_not_stored() -> None:
    def taken(_: Document) -> Built:
        raise BuildFailed([Problem("listeners.IncomingMail.port", "port 25 is taken")])

    history, _ = _history()
    history.change("anna", _with_port(25))
    outcome = _commit(history, "anna", taken)
    assert outcome == Rejected((Problem("listeners.IncomingMail.port", "port 25 is taken"),))
    assert history.current().number == 1
    assert len(history.changes("anna")) == 1


def test_when_the_store_refuses_what_was_built_is_given_up() -> None:
    history, documents_ = _history()
    history.change("anna", _with_port(25))
    made: list[Built] = []
    documents_.trouble = StorageRefused("full", "the disk is full")

    def build(new: Document) -> Built:
        made.append(Built(new))
        return made[0]

    with pytest.raises(StorageRefused):
        _commit(history, "anna", build)
    assert made[0].discarded
    assert len(history.changes("anna")) == 1


def test_whoever_commits_second_is_told_what_came_under_the_changes() -> None:
    history, _ = _history()
    history.change("anna", document(recipient_access=RecipientAccess(domains=("example.com",))))
    history.change("otto", _with_port(25))
    assert isinstance(_commit(history, "otto"), Committed)
    conflict = _commit(history, "anna", build=lambda _: pytest.fail("it was built"))
    assert isinstance(conflict, Conflict)
    assert [revision.comment for revision in conflict.since] == ["by otto"]
    assert [change.path for change in conflict.theirs] == ["listeners.IncomingMail.port"]
    assert [change.path for change in conflict.ours] == ["recipient_access.domains"]
    assert conflict.overlap == ()


def test_changes_that_do_not_meet_are_replayed_and_nothing_is_lost() -> None:
    history, _ = _history()
    history.change("anna", document(recipient_access=RecipientAccess(domains=("example.com",))))
    history.change("otto", _with_port(25))
    _commit(history, "otto")
    assert isinstance(history.rebase("anna"), list)
    outcome = _commit(history, "anna")
    assert isinstance(outcome, Committed)
    both = history.current().document
    assert both.listeners[0].port == 25
    assert both.recipient_access.domains == ("example.com",)


def test_changes_that_meet_are_replayed_only_when_told_whose_value_stands() -> None:
    for prefer, port in (("ours", 24), ("theirs", 25)):
        history, _ = _history()
        history.change("anna", _with_port(24, logs=Logs(level="Trace")))
        history.change("otto", _with_port(25))
        _commit(history, "otto")
        conflict = history.rebase("anna")
        assert isinstance(conflict, Conflict)
        assert [mine.path for mine, _ in conflict.overlap] == ["listeners.IncomingMail.port"]
        assert history.candidate("anna").listeners[0].port == 24
        assert isinstance(history.rebase("anna", prefer), list)  # type: ignore[arg-type]
        _commit(history, "anna")
        assert history.current().document.listeners[0].port == port
        assert history.current().document.logs.level == "Trace"


def test_a_commit_between_check_and_store_is_a_conflict_and_what_was_built_is_given_up() -> None:
    history, documents_ = _history()
    history.change("anna", _with_port(25))
    made: list[Built] = []

    def slow(new: Document) -> Built:
        documents_.put(1, 'hostname = "other.example"\n', "otto", "quicker", 3.0)
        made.append(Built(new))
        return made[0]

    assert isinstance(_commit(history, "anna", slow), Conflict)
    assert made[0].discarded
    assert history.current().number == 2


def test_groups_that_two_people_add_stand_in_an_order_that_respects_both() -> None:
    first = document().sender_groups
    mine = SenderGroup(name="MINE", policy="ACCEPTED")
    yours = SenderGroup(name="YOURS", policy="ACCEPTED")
    history, _ = _history()
    history.change("anna", document(sender_groups=(*first, mine)))
    history.change("otto", document(sender_groups=(yours, *first)))
    _commit(history, "otto")
    history.rebase("anna")
    names = [group.name for group in history.candidate("anna").sender_groups]
    assert names == ["YOURS", "RELAYLIST", "BLOCKLIST", "MINE"]


def test_an_old_revision_becomes_a_candidate() -> None:
    history, _ = _history()
    history.change("anna", _with_port(25))
    _commit(history, "anna")
    assert history.rollback("anna", 9) is None
    assert [change.new for change in history.rollback("anna", 1) or []] == [2525]
    _commit(history, "anna")
    assert history.current().document == document()
    assert history.current().number == 3


def test_a_home_without_a_document_says_what_to_do() -> None:
    with pytest.raises(BrokenHistory, match="mxseal init"):
        History(MemoryDocuments()).current()
