"""Lists whose entries commands of the same shape add, change and delete: four pages out of one table.

    DESTINATIONS = Entries(path="/policies/destinations", command="destconfig", key="domain", ...)
    PAGES = DESTINATIONS.pages()

The commands are `COMMAND list`, `new`, `edit`, `delete`. A form shows the values that are there now, as the
dialogue of the command line does (`commands.registry.Present`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import quote

import msgspec
from starlette.responses import Response

from mxseal.commands.context import CommandFailed
from mxseal.commands.registry import Registry
from mxseal.faces.web.calling import command_of
from mxseal.faces.web.forms import Form, FormView, Kind
from mxseal.faces.web.pages import PLACES, Handler, Page, Place
from mxseal.faces.web.pieces import Confirmation
from mxseal.faces.web.texts import N_
from mxseal.faces.web.visit import Visit

Beside = Callable[[Visit, str], Awaitable[Mapping[str, str]]]
"""What stands beside the choices of an entry's form, by the choice, in the reader's language."""
_LONGEST_KEY = 320


class Words(msgspec.Struct, frozen=True):
    """What people read, in English; marked for translation where it is written."""

    title: str
    lead: str
    """One sentence below the title."""
    summary: str
    """One sentence in the list of the place."""
    new: str
    """Title of the page and verb of the button that adds one."""
    edit: str
    """Title with {name}."""
    save: str
    delete: str
    """The question, with {name}."""
    deleted: str
    """What a deletion means."""
    empty: str = ""


class Entries(msgspec.Struct, frozen=True, kw_only=True):
    """One such list. `fields`: the parameters in the form, without the key's."""

    path: str
    place: str
    command: str
    key: str
    fields: tuple[str, ...]
    words: Words
    labels: Mapping[str, str] = {}
    kinds: Mapping[str, Kind] = {}
    skip: tuple[str, ...] = ()
    """Titles of columns that the page leaves out."""
    edit_only: tuple[str, ...] = ()
    new_only: tuple[str, ...] = ()
    listed: str = ""
    """The command that lists them, when it is not `COMMAND list`."""
    fixed: bool = False
    """They can be changed, and neither added nor deleted."""
    beside: Beside | None = None
    above_list: str = ""
    """A template with what stands above the list."""
    named: int = 0
    """The column of the list that has the entry's name."""
    helps: Mapping[str, str] = {}
    chosen: Mapping[str, tuple[str, ...]] = {}
    """See `forms.Form`."""
    rest: bool = False
    """All other parameters that the commands have, behind `fields`: they gain some without this page."""
    changes: bool = False
    """Only what was changed is given to `edit`: what is left alone goes on to follow a default."""
    known_as: str = ""
    """The key's parameter in `edit` and `delete`, when it is called otherwise there."""
    replaces: bool = False
    """There is no `edit`: `new` replaces what has the name. What there is now is in the list's JSON."""
    home: str = ""
    """The page with the list, when that is not one of these."""
    beside_list: tuple[tuple[str, str, str], ...] = ()
    """(title, address, command) of pages that the list leads to."""
    of_one: tuple[tuple[str, str, str], ...] = ()
    """The same of pages about one entry, whose address has {name}."""
    add: str = "new"
    """The verb that makes one."""

    @property
    def above(self) -> Place:
        return next(place for place in PLACES if place.key == self.place)

    # --- commands -----------------------------------------------------------------------------------------

    @property
    def listing(self) -> str:
        return self.listed or f"{self.command} list"

    def form(self, visit: Visit, verb: str) -> Form:
        """What `new` or `edit` takes, as far as the command has it."""
        return self.form_of(visit.site.runner.commands, verb)

    def form_of(self, commands: Registry, verb: str) -> Form:
        command = f"{self.command} {self._word(verb)}"
        entry = command_of(commands, tuple(command.split()))
        known = [parameter.name for parameter in entry.parameters]
        wanted = (
            (self.key, *self.fields, *self.new_only) if verb == "new" else (*self.fields, *self.edit_only)
        )
        if self.rest:
            wanted = (
                *wanted,
                *(name for name in known if name not in (*wanted, self.key, self.key_of(verb))),
            )
        names = tuple(name for name in dict.fromkeys(wanted) if name in known)
        return Form(command, names, self.labels, self.kinds, helps=self.helps, chosen=self.chosen)

    def key_of(self, verb: str) -> str:
        return self.key if verb == "new" or self.replaces else self.known_as or self.key

    def _word(self, verb: str) -> str:
        """The command's last word."""
        return self.add if verb == "new" or (verb == "edit" and self.replaces) else verb

    async def there(self, visit: Visit, name: str) -> Mapping[str, Any]:
        """The values of an entry, as they would be typed. Raises CommandFailed."""
        if not self.replaces:
            return self.present(visit, "edit", {self.key_of("edit"): name})
        rows = (await visit.ask(self.listing)).value
        found = next((row for row in rows if row[self.key] == name), None)
        if found is None:
            raise CommandFailed(visit.say(N_("There is no {name} any more."), name=name))
        return {**found, **{f"{key}_": value for key, value in found.items()}}

    def present(self, visit: Visit, verb: str, given: Mapping[str, Any]) -> Mapping[str, Any]:
        """The values that there are now, as they would be typed. Raises CommandFailed."""
        entry = command_of(visit.site.runner.commands, (*self.command.split(), self._word(verb)))
        if entry.present is None:
            return {}
        try:
            return entry.present(visit.context(), given)
        except KeyError:  # of something new that has no name yet
            return {}

    # --- pages --------------------------------------------------------------------------------------------

    def pages(self) -> tuple[Page, ...]:
        listing = (self.listing,)
        new, edit, delete = ((f"{self.command} {self._word(verb)}",) for verb in ("new", "edit", "delete"))
        words, one = self.words, self.path + "/{name}"

        def show(path: str, handler: Handler, title: str, runs: tuple[str, ...], summary: str = "") -> Page:
            return Page(path, handler, "GET", title, self.place, runs, summary=summary)

        def do(path: str, handler: Handler, title: str, runs: tuple[str, ...]) -> Page:
            return Page(path, handler, "POST", title, self.place, runs)

        changing = (
            show(one + "/edit", self._changing, words.title, edit),
            do(one + "/edit", self._change, words.title, edit),
        )
        if self.fixed:
            return (show(self.path, self._list, words.title, listing, words.summary), *changing)
        first = (show(self.path, self._list, words.title, listing, words.summary),)
        return (
            *(() if self.home else first),
            show(self.path + "/new", self._adding, words.new, new),
            do(self.path + "/new", self._add, words.new, new),
            *changing,
            do(one + "/delete", self._delete, words.title, delete),
        )

    async def _list(self, visit: Visit) -> Response:
        found = await visit.ask(self.listing)
        return visit.show("entries/list.html", entries=self, found=found)

    async def _form(self, visit: Visit, status: int, view: FormView, name: str = "") -> Response:
        beside = await self.beside(visit, name) if self.beside is not None and name else {}
        return visit.show("entries/form.html", status, entries=self, form=view, name=name, beside=beside)

    async def _adding(self, visit: Visit) -> Response:
        form = self.form(visit, "new").blank(visit, self._begun(visit))
        return await self._form(visit, 200, form)

    def _begun(self, visit: Visit) -> Mapping[str, Any]:
        """What a new entry begins with: its key may stand in the address, where another page leads here."""
        present = self.present(visit, "new", {})
        key = visit.query(self.key)[:_LONGEST_KEY]
        return {**present, self.key: key} if key else present

    async def _add(self, visit: Visit) -> Response:
        view, answer = await self.form(visit, "new").submit(visit)
        if not answer.ok:
            return await self._form(visit, 422, view)
        return visit.go(self.leads, answer)

    async def _changing(self, visit: Visit) -> Response:
        name = visit.part("name")
        try:
            present = await self.there(visit, name)
        except CommandFailed as failure:
            return visit.site.error(visit, 404, str(failure))
        form = self.form(visit, "edit").blank(visit, present)
        return await self._form(visit, 200, form, name)

    async def _change(self, visit: Visit) -> Response:
        name = visit.part("name")
        try:
            stays = await self.there(visit, name) if self.changes else None
        except CommandFailed as failure:
            return visit.site.error(visit, 404, str(failure))
        view, answer = await self.form(visit, "edit").submit(visit, stays, **{self.key_of("edit"): name})
        if not answer.ok:
            return await self._form(visit, 422, view, name)
        return visit.go(self.leads, answer)

    async def _delete(self, visit: Visit) -> Response:
        name = visit.part("name")
        if visit.field("sure") != "yes":
            ask = Confirmation(
                question=visit.say(self.words.delete, name=name),
                text=visit.say(self.words.deleted),
                verb=visit.say(N_("Delete")),
                action=self.address(name, "delete"),
                back=self.address(name, "edit"),
            )
            return visit.show("confirm.html", ask=ask)
        answer = await visit.run(f"{self.command} delete", **{self.known_as or self.key: name})
        return visit.go(self.leads, answer)

    @property
    def leads(self) -> str:
        """The page that a change leads back to."""
        return self.home or self.path

    # --- what the templates call --------------------------------------------------------------------------

    def address(self, name: str, verb: str = "edit") -> str:
        """Of a page about one entry."""
        return f"{self.path}/{quote(name, safe='')}/{verb}"

    def link(self, row: tuple[Any, ...]) -> str:
        """Of an entry by its row in the list."""
        return self.address(str(row[self.named]))
