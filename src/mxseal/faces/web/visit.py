"""One request of a browser, as a page sees it: who asks, in which language, with what form; answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import quote, urlencode

import msgspec
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from mxseal.commands.context import Context, Role, allowed
from mxseal.faces.web.calling import Answer, BrowserSide, call, command_of
from mxseal.faces.web.sessions import Caller
from mxseal.faces.web.texts import say
from mxseal.language import Language
from mxseal.storage.users import User
from mxseal.storage.web import Session

if TYPE_CHECKING:
    from mxseal.faces.web.pages import Page
    from mxseal.faces.web.site import Site


_KEPT = ":/%#?=@[]!$&'()*+,;~"


class Flash(msgspec.Struct, frozen=True):
    """What a form did, told once on the page behind it."""

    good: bool
    text: str
    problems: tuple[str, ...] = ()


class Refused(Exception):
    """A command that a page needs did not succeed; the page can't be shown."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.message)
        self.answer = answer


class Visit:
    """The first argument of every page. `session` and `user` are None for strangers."""

    def __init__(
        self, site: Site, request: Request, page: Page, known: tuple[Session, User] | None, language: Language
    ) -> None:
        self.site = site
        self.request = request
        self.page = page
        self.session: Session | None = known[0] if known else None
        self.user: User | None = known[1] if known else None
        self.language = language
        self.say = say(language)
        self.form = FormData()
        self.place = page.place

    # --- what was asked -----------------------------------------------------------------------------------

    @property
    def caller(self) -> Caller:
        client = self.request.client
        return Caller(client.host if client else "", self.request.headers.get("user-agent", ""))

    @property
    def host(self) -> str:
        """The name by which the browser reached us, without a port."""
        return self.request.url.hostname or ""

    @property
    def partial(self) -> bool:
        """Whether htmx asks for a piece of the page."""
        return self.request.headers.get("hx-request") == "true"

    def part(self, name: str) -> str:
        """A part of the address."""
        return str(self.request.path_params[name])

    def number(self, name: str) -> int:
        """The same as a number. 404 for anything else."""
        text = self.part(name)
        if not text.isdecimal() or len(text) > 15:
            raise HTTPException(404)
        return int(text)

    def query(self, name: str, default: str = "") -> str:
        """A parameter behind the question mark."""
        return self.request.query_params.get(name, default).strip()

    def field(self, name: str, default: str = "") -> str:
        """A field of the form, as text."""
        value = self.form.get(name, default)
        return value.strip() if isinstance(value, str) else default

    def fields(self, name: str) -> list[str]:
        """All values of a field that may be there several times, such as ticked boxes."""
        return [value for value in self.form.getlist(name) if isinstance(value, str) and value]

    def secret(self, name: str) -> str:
        """A field as it was typed: spaces count."""
        value = self.form.get(name, "")
        return value if isinstance(value, str) else ""

    async def upload(self, name: str) -> tuple[str, bytes] | None:
        """Name and content of a file; None when none was chosen."""
        value = self.form.get(name)
        if not isinstance(value, UploadFile) or not value.filename:
            return None
        return value.filename, await value.read()

    # --- commands -----------------------------------------------------------------------------------------

    def may(self, *commands: str) -> bool:
        """Whether the visitor's role allows all of these commands."""
        if self.user is None:
            return False
        role = cast("Role", self.user.role)
        entries = [command_of(self.site.runner.commands, tuple(words.split())) for words in commands]
        return all(allowed(role, entry.roles) for entry in entries)

    async def run(self, command: str, **values: Any) -> Answer:
        """Run a command with values for its parameters by name. See `calling.call`."""
        return await call(self.site.runner, tuple(command.split()), values, self.context())

    async def ask(self, command: str, **values: Any) -> Answer:
        """The same for a page that can't do without. Raises Refused, which shows the reason as a page."""
        answer = await self.run(command, **values)
        if not answer.ok:
            raise Refused(answer)
        return answer

    def context(self) -> Context:
        """Of a command that this visitor runs."""
        assert self.user is not None, "only who is logged in runs commands"
        return Context(
            user=self.user.name,
            role=cast("Role", self.user.role),
            face="web",
            remote=self.caller.remote,
            owner=f"user:{self.user.name}",
            services=self.site.services,
            client=BrowserSide(),
            catalogue=self.site.runner.commands,
        )

    # --- answers ------------------------------------------------------------------------------------------

    def show(self, template: str, status: int = 200, /, **values: Any) -> Response:
        """A page. `values` are for the template, which also has `visit`."""
        return HTMLResponse(self.site.rendering.page(template, self, values), status)

    def go(self, path: str, told: Answer | str | None = None, /, **query: Any) -> Response:
        """To another page (Post/Redirect/Get), which shows what was told once."""
        if told is not None and self.session is not None:
            self.site.tell(self.session, _flash(told))
        asked = {name: value for name, value in query.items() if value not in (None, "")}
        address = f"{path}?{urlencode(asked, quote_via=quote)}" if asked else path
        if self.partial:
            # as RedirectResponse does: a header holds no letters beyond ASCII
            return Response(status_code=204, headers={"HX-Redirect": quote(address, safe=_KEPT)})
        return RedirectResponse(address, 303)

    def save(self, answer: Answer) -> Response:
        """The file that a command gave, for the browser to save."""
        file = answer.files[0]
        return Response(
            file.content,
            media_type="application/octet-stream",
            headers={"Content-Disposition": f"attachment; filename*=UTF-8''{quote(file.name, safe='')}"},
        )

    def flashes(self) -> list[Flash]:
        return self.site.told(self.session) if self.session is not None else []

    def address(self, **query: Any) -> str:
        """This page's address with other parameters behind the question mark; None takes one away."""
        asked: Mapping[str, Any] = dict(self.request.query_params) | query
        kept = {name: value for name, value in asked.items() if value not in (None, "")}
        path = self.request.url.path
        return f"{path}?{urlencode(kept, quote_via=quote)}" if kept else path


def _flash(told: Answer | str) -> Flash:
    if isinstance(told, str):
        return Flash(True, told)
    return Flash(told.ok, told.message, tuple(str(problem) for problem in told.problems))
