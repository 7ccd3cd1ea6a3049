"""Settings as files: the whole configuration, destination controls, routes; written and read."""

from __future__ import annotations

import msgspec
from starlette.responses import Response

from mxseal.faces.web.forms import Form, FormView
from mxseal.faces.web.pages import Handler, Page
from mxseal.faces.web.pieces import Confirmation
from mxseal.faces.web.texts import N_
from mxseal.faces.web.visit import Visit


class Transfer(msgspec.Struct, frozen=True, kw_only=True):
    """A page with one file to save and one to read. The commands have the parameter `file`."""

    path: str
    place: str
    save: str
    names: tuple[str, ...]
    """Of the files that can be saved: one form each, by its ending."""
    load: str
    fields: tuple[str, ...]
    labels: dict[str, str]
    title: str
    lead: str
    reading: str
    """What reading a file means."""
    back: str
    back_title: str
    summary: str = ""
    goes_to: str = "/changes"
    clear: str = ""
    """A command that removes everything."""

    @property
    def form(self) -> Form:
        return Form(
            self.load, ("file", *self.fields), {"file": N_("File"), **self.labels}, helps={"file": ""}
        )

    def pages(self) -> tuple[Page, ...]:
        def do(path: str, handler: Handler, command: str) -> Page:
            return Page(path, handler, "POST", self.title, self.place, (command,))

        return (
            Page(self.path, self._show, "GET", self.title, self.place, (self.save,), summary=self.summary),
            do(self.path, self._load, self.load),
            do(self.path + "/save", self._save, self.save),
            *((do(self.path + "/clear", self._clear, self.clear),) if self.clear else ()),
        )

    def _page(self, visit: Visit, status: int, form: FormView) -> Response:
        return visit.show("files/transfer.html", status, transfer=self, form=form)

    async def _show(self, visit: Visit) -> Response:
        return self._page(visit, 200, self.form.blank(visit))

    async def _load(self, visit: Visit) -> Response:
        view, answer = await self.form.submit(visit)
        return visit.go(self.goes_to, answer) if answer.ok else self._page(visit, 422, view)

    async def _save(self, visit: Visit) -> Response:
        name = visit.field("name")
        answer = await visit.run(self.save, file=name if name in self.names else self.names[0])
        return visit.save(answer) if answer.ok and answer.files else visit.go(self.path, answer)

    async def _clear(self, visit: Visit) -> Response:
        if visit.field("sure") != "yes":
            ask = Confirmation(
                question=visit.say(N_("Delete all of them?")),
                text=visit.say(N_("Save them as a file first: that brings them back.")),
                verb=visit.say(N_("Delete all")),
                action=self.path + "/clear",
                back=self.path,
            )
            return visit.show("confirm.html", ask=ask)
        return visit.go(self.back, await visit.run(self.clear))


TRANSFERS = (
    Transfer(
        path="/system/configuration",
        place="system",
        save="saveconfig",
        names=("mxseal.toml",),
        load="loadconfig",
        fields=("discard",),
        labels={"discard": N_("Give up my uncommitted changes for it")},
        title=N_("Configuration file"),
        lead=N_("The whole configuration as one TOML document. Keys and passwords are not part of it."),
        reading=N_("It becomes your pending changes, to look at and commit. One with mistakes is not taken."),
        back="/system",
        back_title=N_("System"),
        summary=N_("Save the whole configuration as a file, or read it from one."),
    ),
    Transfer(
        path="/policies/destinations/file",
        place="policies",
        save="destconfig export",
        names=("destinations.toml", "destinations.csv"),
        load="destconfig import",
        fields=("merge",),
        labels={"merge": N_("Keep entries for domains that the file does not have")},
        title=N_("Destination controls as a file"),
        lead=N_("With your uncommitted changes."),
        reading=N_("TOML or CSV, as it is saved here. One with mistakes is not taken."),
        back="/policies/destinations",
        back_title=N_("Destination controls"),
        goes_to="/policies/destinations",
    ),
    Transfer(
        path="/policies/routes/file",
        place="policies",
        save="smtproutes export",
        names=("routes.txt",),
        load="smtproutes import",
        fields=("merge",),
        labels={"merge": N_("Keep routes for domains that the file does not have")},
        title=N_("Routes as a file"),
        lead=N_("With your uncommitted changes."),
        reading=N_("One route a line: the domain, then its next hops. One with mistakes is not taken."),
        back="/policies/routes",
        back_title=N_("SMTP routes"),
        goes_to="/policies/routes",
        clear="smtproutes clear",
    ),
)
PAGES = tuple(each for transfer in TRANSFERS for each in transfer.pages())
