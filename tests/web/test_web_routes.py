"""Every route, tried by everybody who may not: roles, forged forms, and what strangers put into names."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import cast

import pytest

from lab.ca import Authority
from mxseal.commands.context import Role, allowed
from mxseal.faces.web.calling import command_of
from mxseal.faces.web.pages import Page, pages_of
from mxseal.faces.web.site import SUBJECTS
from tests.web.asking import Ask, asker
from tests.web.serving import USERS, WebServing

PAGES = pages_of(SUBJECTS)


@pytest.fixture
def ask(web: WebServing, authority: Authority) -> Iterator[Ask]:
    with asker(web, authority) as make:
        yield make


def path(page: Page) -> str:
    """Its address, with a name in each place that nothing has."""
    return re.sub(r"\{\w+\}", "1", page.path)


def may(web: WebServing, page: Page, role: str) -> bool:
    return all(
        allowed(cast("Role", role), command_of(web.runner.commands, tuple(words.split())).roles)
        for words in page.runs
    )


@pytest.mark.parametrize(("user", "role"), USERS)
def test_no_route_does_for_a_role_what_its_commands_do_not_allow(
    web: WebServing, ask: Ask, user: str, role: str
) -> None:
    client = ask(user)
    token = client.csrf("/account")
    before = web.services.documents.latest()
    refused = {each.path: each for each in PAGES if each.runs and not may(web, each, role)}
    for page in refused.values():
        if page.method == "POST":
            answer = client.post(path(page), data={"csrf": token, "sure": "yes"})
        else:
            answer = client.get(path(page))
        assert answer.status_code == 403, (page.method, page.path)
    assert web.services.documents.latest() == before
    assert bool(refused) == (role != "administrator")


def test_every_post_says_which_commands_it_runs_or_concerns_the_account_alone() -> None:
    free = {each.path for each in PAGES if each.method == "POST" and not each.runs}
    own = ("/account", "/login", "/logout")
    assert {each for each in free if not each.startswith(own)} <= {"/changes/discard", "/changes/drop"}


def test_no_form_is_taken_without_the_token_of_its_session(web: WebServing, ask: Ask) -> None:
    client, other = ask("anna"), ask("otto").csrf("/account")
    before, users = web.services.documents.latest(), web.do(web.services.users.all)
    for page in [each for each in PAGES if each.method == "POST" and "anyone" not in each.access]:
        if "in" not in page.access:
            continue
        for token in ({}, {"csrf": ""}, {"csrf": other}):
            answer = client.post(path(page), data={**token, "sure": "yes"})
            assert answer.status_code == 403, page.path
    assert (web.services.documents.latest(), web.do(web.services.users.all)) == (before, users)
    assert client.get("/account").status_code == 200


def test_strangers_reach_nothing_with_a_post_but_the_login(web: WebServing, ask: Ask) -> None:
    client = ask()
    for page in [each for each in PAGES if each.method == "POST" and "anyone" not in each.access]:
        answer = client.post(path(page), data={"csrf": "", "sure": "yes"})
        assert answer.headers.get("location", "").startswith("/login"), page.path
    assert web.records == [record for record in web.records if record.user != ""]


def test_a_form_with_more_than_anybody_fills_in_is_refused_in_words(ask: Ask) -> None:
    client = ask("anna")
    token = client.csrf("/account")
    many = {"csrf": token, **{f"field{number}": "x" for number in range(600)}}
    assert client.post("/queue/deliver", data=many).status_code in {400, 413}
    files = [(f"file{number}", ("name", b"x")) for number in range(8)]
    assert client.post("/queue/deliver", data={"csrf": token}, files=files).status_code in {400, 413}
