"""Tokens of the API: who may make which, until when they count, and what is done against guessing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

from mxseal.commands.catalogue import registry
from mxseal.commands.context import Role, allowed
from mxseal.events.types import LoginFailed, LoginsHeldBack
from mxseal.faces.api.openapi import method
from mxseal.storage.users import User
from tests.commands.gateway import NOW
from tests.faces.http_serving import HttpServing, http_serving

ROLES: tuple[Role, ...] = get_args(Role)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[HttpServing]:
    with http_serving(tmp_path) as running:
        yield running


def token(server: HttpServing, name: str, role: str = "read-only", **values: object) -> str:
    return str(server.do(lambda: server.services.token(name, role, **values)))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "header",
    ["", "Bearer ", "Bearer x", "Basic YTpi", "Bearer mxseal_000000000000_" + "a" * 43, "Bearer " + "é" * 9],
)
def test_without_a_good_token_there_is_nothing_not_even_404(server: HttpServing, header: str) -> None:
    for path in ("status", "nowhere", "openapi.json"):
        headers = {"Authorization": header.encode().decode("latin-1")} if header else {}
        answer = server.ask("GET", f"/api/v1/{path}", headers=headers)
        assert answer.status == 401
        assert answer.headers["www-authenticate"].startswith("Bearer")
    assert not server.records


def test_a_token_counts_until_it_expires(server: HttpServing) -> None:
    text = token(server, "short", expires=NOW + 60)
    assert server.get("whoami", text).status == 200
    server.advance(60)
    assert server.get("whoami", text).status == 401


def test_a_token_is_worth_nothing_without_each_letter_of_it(server: HttpServing) -> None:
    text = token(server, "good")
    assert server.get("whoami", text[:-1] + ("a" if text[-1] != "a" else "b")).status == 401
    assert server.get("whoami", text + "a").status == 401
    assert server.get("whoami", text).status == 200


def test_a_revoked_token_is_refused_at_once_and_its_changes_are_forgotten(server: HttpServing) -> None:
    admin, other = token(server, "admin", "administrator"), token(server, "other", "administrator")
    toml = "hostname = 'gate.example.com'\n[[mail_flow_policies]]\nname = 'ACCEPTED'\n"
    assert server.post("loadconfig", other, file=toml).status == 200
    assert server.post("tokenconfig/revoke", admin, name="other").status == 200
    assert server.get("whoami", other).status == 401
    assert server.do(lambda: server.services.documents._candidates) == {}


def test_a_token_ends_with_its_user_and_never_exceeds_the_users_role(server: HttpServing) -> None:
    users = server.services.users
    server.do(lambda: users.put(User(name="anna", role="operator")))
    text = token(server, "annas", "operator", user="anna")
    assert server.get("whoami", text).json["user"] == "anna"
    server.do(lambda: users.put(User(name="anna", role="read-only")))
    assert server.get("whoami", text).status == 401
    server.do(lambda: users.put(User(name="anna", role="administrator")))
    assert server.get("whoami", text).json["role"] == "operator"
    server.do(lambda: users.delete("anna"))
    assert server.get("whoami", text).status == 401
    server.do(lambda: users.put(User(name="anna", role="administrator")))
    assert server.get("whoami", text).status == 401  # another Anna


def test_the_last_use_is_noted(server: HttpServing) -> None:
    text = token(server, "used")
    server.get("whoami", text)
    server.advance(30)
    server.get("whoami", text)
    used = server.do(lambda: server.services.state.tokens.named("used"))
    assert (used.used, used.used_from) == (NOW, "127.0.0.1")


def test_guessing_is_told_and_then_neither_looked_at_nor_logged(server: HttpServing) -> None:
    good = token(server, "good")
    assert [server.get("whoami", "wrong").status for _ in range(13)] == [401] * 10 + [429] * 3
    failed = [event for event in server.services.events if isinstance(event, LoginFailed)]
    assert len(failed) == 10
    assert {event.user for event in failed} == {"token:unknown"}
    assert len([event for event in server.services.events if isinstance(event, LoginsHeldBack)]) == 1
    assert server.get("whoami", "wrong").headers["retry-after"] == "60"
    assert server.get("whoami", good).status == 200  # tokens can't be guessed: nobody is locked out
    server.advance(61)
    assert server.get("whoami", "wrong").status == 401


def test_the_log_names_a_token_that_was_good_once(server: HttpServing) -> None:
    text = token(server, "old", expires=NOW - 1)
    server.get("whoami", text)
    assert [e.user for e in server.services.events if isinstance(e, LoginFailed)] == ["token:old"]


@pytest.mark.parametrize("role", ROLES)
def test_role_by_role_on_every_command(tmp_path: Path, role: Role) -> None:
    commands = registry()
    with http_serving(tmp_path, commands=commands) as server:
        text = token(server, "one", role)
        for entry in commands.commands:
            path = "/".join(entry.words)
            # a parameter that no command has: who may run it learns of that, and nothing is done
            answer = (
                server.get(f"{path}?nonsense=1", text)
                if method(entry) == "GET"
                else server.post(path, text, nonsense=1)
            )
            assert answer.status == (422 if allowed(role, entry.roles) else 403), path
        assert {record.outcome for record in server.records} <= {"usage", "refused"}
        assert len(server.records) == len(commands.commands)
