"""What keeps pages quick: templates compiled once, a long queue that is not counted to its end."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import pytest

from lab.ca import Authority
from mxseal.clock import ManualClock
from mxseal.commands.context import Context
from mxseal.commands.results import Result, Table
from mxseal.faces.web import rendering
from mxseal.faces.web.calling import BrowserSide
from mxseal.faces.web.rendering import Rendering
from mxseal.faces.web.static import Static
from mxseal.relay.orders import LaneState
from mxseal.relay.routing import Routing
from tests.commands.gateway import NOW
from tests.web.asking import Ask, asker
from tests.web.serving import WebServing


@pytest.fixture
def ask(web: WebServing, authority: Authority) -> Iterator[Ask]:
    with asker(web, authority) as make:
        yield make


def hosts(web: WebServing, *words: str) -> Table:
    """What `tophosts` gives."""
    found: list[Result] = []

    async def take(result: Result) -> None:
        found.append(result)

    context = Context(
        user="anna", role="administrator", face="cli", remote="local", owner="user:anna",
        services=cast("Any", web.services), client=BrowserSide(), catalogue=web.runner.commands,
    )  # fmt: skip
    web.do(lambda: web.runner.run(["tophosts", *words], context, take))
    (table,) = found
    assert isinstance(table, Table)
    return table


def test_a_template_is_compiled_once_for_all_languages_and_sites(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = ManualClock(NOW)
    Rendering(Static(), clock).warm()
    compiled: list[str] = []
    again = Rendering(Static(), clock)
    for environment in again.environments.values():
        monkeypatch.setattr(environment, "compile", lambda *given, **_: compiled.append(given[1]))
    again.warm()
    assert compiled == []
    assert rendering._COMPILED._known


def test_destinations_that_are_down_are_listed_alone_and_counted_among_the_oldest(web: WebServing) -> None:
    assert [row[:3] for row in hosts(web, "--down").rows] == [("*example.org", "preferred", 2)]
    among = hosts(web, "--down", "--within", "1")
    assert "1 oldest" in among.note
    assert hosts(web, "--within", "1000").note == ""
    before = web.services.mail.states
    up = LaneState(Routing(web.services.history.current().document).target("example.org"), up=True)
    web.services.mail.states = [up]
    assert hosts(web, "--down").rows == ()
    web.services.mail.states = before


def test_the_overview_tells_of_a_destination_that_is_down_also_where_the_queue_is_long(
    web: WebServing, ask: Ask
) -> None:
    assert "example.org does not answer: 2 recipients wait." in ask("otto").get("/").text
    for mid in range(2000, 3001):
        web.services.mail.put(mid, "anna@mx.example.com", "els@example.net")
    assert "example.org does not answer, and the queue is long." in ask("otto").get("/").text
    for mid in range(2000, 3001):
        del web.services.mail.messages[mid]


def test_a_week_is_drawn_in_columns_of_four_hours_that_leave_nothing_out(ask: Ask) -> None:
    page = ask("rhea").get("/?span=week").text
    assert page.count('<td data-head="From">') == 2 * 42
