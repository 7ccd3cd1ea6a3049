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
from mxseal.commands.registry import Registry
from mxseal.faces.web.calling import command_of
from mxseal.faces.web.forms import Form, FormView, Kind
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
    helps: Mapping[str, str] = {}
    chosen: Mapping[str, tuple[str, ...]] = {}
    """See `forms.Form`."""
    key: str = ""
    rest: bool = False
    """All other parameters that the command has, behind `fields`: it gains some without this page."""
    changes: bool = False
    """Only what was changed is given to the command: what is left alone goes on to follow a default."""
    shows: str = ""
    """A command whose results stand above the form."""

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

    def form(self, commands: Registry) -> Form:
        entry = command_of(commands, tuple(self.command.split()))
        known = [parameter.name for parameter in entry.parameters if parameter.name != self.key]
        names = (*self.fields, *(name for name in known if self.rest and name not in self.fields))
        return Form(self.command, names, self.labels, self.kinds, helps=self.helps, chosen=self.chosen)

    def _present(self, visit: Visit) -> Mapping[str, Any]:
        """The values that there are now. Raises CommandFailed."""
        entry = command_of(visit.site.runner.commands, tuple(self.command.split()))
        return entry.present(visit.context(), self._given(visit)) if entry.present else {}

    async def _show(self, visit: Visit) -> Response:
        try:
            present = self._present(visit)
        except CommandFailed as failure:
            return visit.site.error(visit, 404, str(failure))
        return await self._page(visit, 200, self.form(visit.site.runner.commands).blank(visit, present))

    async def _change(self, visit: Visit) -> Response:
        try:
            stays = self._present(visit) if self.changes else None
        except CommandFailed as failure:
            return visit.site.error(visit, 404, str(failure))
        form = self.form(visit.site.runner.commands)
        view, answer = await form.submit(visit, stays, **self._given(visit))
        return visit.go(self.back, answer) if answer.ok else await self._page(visit, 422, view)

    async def _page(self, visit: Visit, status: int, view: FormView) -> Response:
        name = visit.part("name") if self.key else ""
        state = await visit.ask(self.shows) if self.shows else None
        return visit.show("settings/form.html", status, setting=self, form=view, name=name, state=state)
