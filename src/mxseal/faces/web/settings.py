"""Pages that change one thing with one command: a form with the values that are there now.

SETUP = Setting(path="/revocation/setup", place="certificates", command="certconfig crl setup", ...)
PAGES = SETUP.pages()
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from starlette.responses import Response

from mxseal.commands.context import CommandFailed
from mxseal.faces.web.calling import command_of
from mxseal.faces.web.forms import FieldView, Form, FormView, Kind
from mxseal.faces.web.pages import PLACES, Page
from mxseal.faces.web.visit import Visit


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """One such page. `key`: the parameter that the address gives as {name}, where it speaks of one entry."""

    path: str
    place: str
    command: str
    fields: tuple[str, ...]
    title: str
    """With {name}, where there is a key."""
    lead: str
    verb: str
    back: str
    """The page that it belongs to, where it leads when it is done."""
    back_title: str
    summary: str = ""
    labels: Mapping[str, str] = {}
    kinds: Mapping[str, Kind] = {}
    listed: tuple[str, ...] = ()
    """Parameters whose values are chosen out of those that the command knows."""
    key: str = ""

    def pages(self) -> tuple[Page, ...]:
        runs = (self.command,)
        return (
            Page(self.path, self._show, "GET", self.title, self.place, runs, summary=self.summary),
            Page(self.path, self._change, "POST", self.title, self.place, runs),
        )

    def trail(self, visit: Visit) -> list[tuple[str, str]]:
        """Titles and addresses of the pages above."""
        place = next(place for place in PLACES if place.key == self.place)
        above = [(visit.say(place.title), place.path)]
        return above if self.back == place.path else [*above, (visit.say(self.back_title), self.back)]

    def _given(self, visit: Visit) -> dict[str, Any]:
        return {self.key: visit.part("name")} if self.key else {}

    @property
    def _form(self) -> Form:
        return Form(self.command, self.fields, self.labels, self.kinds)

    async def _show(self, visit: Visit) -> Response:
        entry = command_of(visit.site.runner.commands, tuple(self.command.split()))
        try:
            present = entry.present(visit.context(), self._given(visit)) if entry.present else {}
        except CommandFailed as failure:
            return visit.site.error(visit, 404, str(failure))
        return self._page(visit, 200, self._form.blank(visit, present))

    async def _change(self, visit: Visit) -> Response:
        view, answer = await self._form.submit(visit, **self._given(visit))
        return visit.go(self.back, answer) if answer.ok else self._page(visit, 422, view)

    def _page(self, visit: Visit, status: int, view: FormView) -> Response:
        fields = tuple(self._chosen(visit, field) for field in view.fields)
        name = visit.part("name") if self.key else ""
        form = msgspec.structs.replace(view, fields=fields)
        return visit.show("settings/form.html", status, setting=self, form=form, name=name)

    def _chosen(self, visit: Visit, field: FieldView) -> FieldView:
        """The field with what may be chosen for it."""
        if field.name not in self.listed:
            return field
        entry = command_of(visit.site.runner.commands, tuple(self.command.split()))
        marker = next(each.marker for each in entry.parameters if each.name == field.name)
        choices = tuple(marker.complete(visit.context())) if marker.complete else ()
        return msgspec.structs.replace(field, kind="choice", choices=choices)
