"""What a page is: an address, a title, a place in the rail, the commands that it runs, and a handler.

    @page("/queue", title=N_("Queue"), place="queue", runs=("showrecipients",))
    async def waiting(visit: Visit) -> Response: ...

    @action("/queue/deliver", runs=("delivernow",))
    async def deliver(visit: Visit) -> Response: ...

`site.SUBJECTS` lists the modules; tests go through all pages of all of them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from types import ModuleType
from typing import Literal, TypeVar

import msgspec
from starlette.responses import Response

from mxseal.faces.web.texts import N_
from mxseal.faces.web.visit import Visit

Access = Literal["anyone", "factor", "enrol", "in"]
"""Whom a page is for: strangers, who has given the password, who must set up a second factor, who is in."""
Handler = Callable[[Visit], Awaitable[Response]]
H = TypeVar("H", bound=Handler)
_MARK = "mxseal_page"


class Place(msgspec.Struct, frozen=True):
    """One of the seven places in the rail."""

    key: str
    title: str
    path: str
    icon: str


PLACES = (
    Place("overview", N_("Overview"), "/", "overview"),
    Place("messages", N_("Messages"), "/messages", "message"),
    Place("queue", N_("Queue"), "/queue", "queue"),
    Place("partners", N_("TLS partners"), "/partners", "partners"),
    Place("certificates", N_("Certificates"), "/certificates", "certificate"),
    Place("policies", N_("Policies"), "/policies", "policy"),
    Place("system", N_("System"), "/system", "system"),
)


class Page(msgspec.Struct, frozen=True):
    """A page, or (POST) something that a page's form does."""

    path: str
    handler: Handler
    method: Literal["GET", "POST"]
    title: str = ""
    place: str = ""
    runs: tuple[str, ...] = ()
    """The commands that the visitor's role must allow."""
    access: tuple[Access, ...] = ("in",)
    summary: str = ""
    """One sentence for the list of its place; empty: it is not listed there."""


def page(
    path: str,
    *,
    title: str,
    place: str = "",
    runs: tuple[str, ...] = (),
    access: tuple[Access, ...] = ("in",),
    summary: str = "",
) -> Callable[[H], H]:
    """Mark a handler as the page at `path`."""

    def mark(handler: H) -> H:
        _add(handler, Page(path, handler, "GET", title, place, runs, access, summary))
        return handler

    return mark


def action(
    path: str,
    *,
    runs: tuple[str, ...] = (),
    title: str = "",
    place: str = "",
    access: tuple[Access, ...] = ("in",),
) -> Callable[[H], H]:
    """Mark a handler as what a POST to `path` does. `title` and `place` are for one that shows the form
    again."""

    def mark(handler: H) -> H:
        _add(handler, Page(path, handler, "POST", title, place, runs, access))
        return handler

    return mark


def _add(handler: Handler, entry: Page) -> None:
    vars(handler).setdefault(_MARK, []).append(entry)


def pages_of(modules: Iterable[ModuleType]) -> list[Page]:
    """All marked handlers, and those in a module's PAGES, in the order in which they stand there."""
    found: list[Page] = []
    for module in modules:
        for handler in list(vars(module).values()):
            if getattr(handler, "__module__", None) == module.__name__:
                found += getattr(handler, _MARK, ())
        found += getattr(module, "PAGES", ())
    return found
