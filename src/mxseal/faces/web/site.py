"""The whole of the web face as one ASGI application: `build(runner, services)`."""

from __future__ import annotations

import hmac
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from types import ModuleType

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from mxseal.commands.running import NOT_ALLOWED, Runner
from mxseal.faces.http_guard import LARGEST_BODY
from mxseal.faces.login import Login
from mxseal.faces.web import (
    account,
    alerting,
    captures,
    certificates,
    changes,
    directories,
    entry,
    files,
    finding,
    messages,
    network,
    overview,
    partners,
    policies,
    quarantine,
    queue,
    rules,
    second,
    subscriptions,
    tokens,
    trust,
    upkeep,
    users,
    watching,
)
from mxseal.faces.web.guard import HEADERS, Guard, from_another_site
from mxseal.faces.web.pages import PLACES, Page, Place, pages_of
from mxseal.faces.web.rendering import Rendering
from mxseal.faces.web.second import Second
from mxseal.faces.web.sessions import COOKIE, Sessions, WebServices
from mxseal.faces.web.static import Static
from mxseal.faces.web.streams import Following, Jobs
from mxseal.faces.web.texts import N_, preferred
from mxseal.faces.web.visit import Flash, Refused, Visit
from mxseal.language import LANGUAGES, Language
from mxseal.storage.users import User
from mxseal.storage.web import Session

SUBJECTS: tuple[ModuleType, ...] = (
    entry,
    second,
    overview,
    finding,
    messages,
    partners,
    queue,
    quarantine,
    certificates,
    policies,
    rules,
    trust,
    network,
    directories,
    watching,
    alerting,
    subscriptions,
    users,
    tokens,
    captures,
    upkeep,
    files,
    changes,
    account,
)
"""The modules with pages. A new subject is one more name here."""
_MOST_TOLD = 1000
_MOST_SENTENCES = 20
"""That wait for one session's next page."""
_LOGIN_BODY = 64 << 10
"""Bytes that a form of those who are not logged in may have: 256 of them at once fill no memory."""
_ERRORS = {
    400: N_("The request can't be understood."),
    403: N_("Your role does not allow this."),
    404: N_("There is nothing at this address."),
    405: N_("This address does not take that."),
    413: N_("This is too large."),
    429: N_("You have enough of these open. Wait for one to end, or close one."),
    500: N_("This is a fault of the gateway, told in its system log."),
}


def build(runner: Runner, services: WebServices, login: Login | None = None) -> ASGIApp:
    """The application, to be mounted at "/". `login`: when another face has one already, whose count of
    failures is shared."""
    return Site(runner, services, login).app


class Site:
    """Everything that pages share."""

    def __init__(self, runner: Runner, services: WebServices, login: Login | None = None) -> None:
        self.runner = runner
        self.services = services
        self.login = login or Login(services.users, services.clock, services.bus.publish)
        self.sessions = Sessions(services, self.login)
        self.second = Second(services)
        self.static = Static()
        self.following = Following()
        self.jobs = Jobs()
        self.pages = pages_of(SUBJECTS)
        self.rendering = Rendering(self.static, services.clock)
        self._told: OrderedDict[bytes, list[Flash]] = OrderedDict()
        self.app = Starlette(
            routes=[
                Route("/static/{version}/{name}", self.static.serve, methods=["GET"]),
                *(_route(self, page) for page in self.pages),
            ],
            middleware=[Middleware(Guard)],
            exception_handlers={HTTPException: self._failed, Exception: self._broken},
            max_body_size=LARGEST_BODY,
        )
        self.app.state.site = self

    # --- the frame ----------------------------------------------------------------------------------------

    def places(self) -> list[Place]:
        """Those that have a page."""
        return [place for place in PLACES if self.has(place.path)]

    def has(self, path: str) -> bool:
        """Whether there is such a page."""
        return any(page.path == path and page.method == "GET" for page in self.pages)

    def within(self, place: str, visit: Visit) -> list[Page]:
        """The pages that a place lists, as far as the visitor may see them."""
        return [page for page in self.pages if page.place == place and page.summary and visit.may(*page.runs)]

    def pending(self, visit: Visit) -> int:
        """How many changes the visitor has not committed."""
        return len(self.services.history.changes(visit.context().owner))

    @property
    def hostname(self) -> str:
        return self.services.history.current().document.hostname

    def tell(self, session: Session, flash: Flash) -> None:
        """Keep a sentence for the next page of this session."""
        waiting = self._told.setdefault(session.id, [])
        waiting.append(flash)
        del waiting[:-_MOST_SENTENCES]
        while len(self._told) > _MOST_TOLD:
            self._told.popitem(last=False)

    def told(self, session: Session) -> list[Flash]:
        return self._told.pop(session.id, [])

    # --- requests -----------------------------------------------------------------------------------------

    def visit(self, request: Request, page: Page) -> Visit:
        known = self.sessions.find(request.cookies.get(COOKIE))
        return Visit(self, request, page, known, self.language(request, known))

    def language(self, request: Request, known: tuple[Session, User] | None) -> Language:
        """The user's choice, or the browser's."""
        chosen = self.services.web.language(known[1].name) if known is not None else None
        found = next((language for language in LANGUAGES if language == chosen), None)
        return found or preferred(request.headers.get("accept-language", ""))

    async def answer(self, visit: Visit) -> Response:
        """Whether the visitor may see the page at all, then the page."""
        page, session = visit.page, visit.session
        stage = session.stage if session is not None else "anyone"
        if stage not in page.access and "anyone" not in page.access:
            return self._elsewhere(visit, stage)
        if page.method == "POST":
            _look_at_charset(visit.request)
            visit.form = await visit.request.form(max_files=4, max_fields=500, max_part_size=1 << 20)
            if "anyone" not in page.access and not _own_form(visit):
                sentence = N_("This form is too old. Go back, reload the page, and send it again.")
                return self.error(visit, 403, visit.say(sentence))
            if visit.request.headers.get("content-type", "").startswith("application/json"):
                await visit.request.body()
            # What is sent may take minutes to come: who was logged in at its head may not be any more.
            if session is not None and not self.sessions.lives(session):
                return visit.go("/login")
        if page.runs and not visit.may(*page.runs):
            return self.error(visit, 403)
        try:
            return await page.handler(visit)
        except Refused as refused:
            status = 403 if refused.answer.ended.status == NOT_ALLOWED else 400
            return self.error(visit, status, refused.answer.message)

    def _elsewhere(self, visit: Visit, stage: str) -> Response:
        request = visit.request
        if stage in {"factor", "enrol"}:
            return visit.go("/login/factor" if stage == "factor" else "/login/enrol")
        if request.method == "GET" and from_another_site(request):
            # The link stands in a mail or on another site, so the cookie was kept back. The page asks for
            # itself once more, which then comes from here.
            return HTMLResponse(self.rendering.page("again.html", visit, {"again": visit.address()}))
        if request.method != "GET" or visit.partial:
            return visit.go("/login")
        return visit.go("/login", next=visit.address() if visit.address() != "/" else None)

    def error(self, visit: Visit, status: int, text: str = "") -> Response:
        """A page that says in words what is wrong."""
        told = text or visit.say(_ERRORS.get(status, _ERRORS[500 if status >= 500 else 400]))
        return visit.show("error.html", status, text=told, code=status)

    async def _failed(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return self.error(self.visit(request, _NOWHERE), error.status_code)

    async def _broken(self, request: Request, _error: Exception) -> Response:
        # the library raises it once more behind this page, and so it gets into the log
        answer = self.error(self.visit(request, _NOWHERE), 500)
        answer.headers.update(HEADERS)  # this handler stands outside all middleware
        return answer


def _look_at_charset(request: Request) -> None:
    """400 for a multipart form that names a character set, which no browser does. Python has some ("idna")
    that take minutes for a megabyte, and some ("unicode_escape") that give what is no text."""
    kind = request.headers.get("content-type", "").lower()
    if "multipart" in kind and "charset" in kind:
        raise HTTPException(400)


def _own_form(visit: Visit) -> bool:
    """Whether the form, or the script, has the session's token. Nobody has one at the login, whose posts the
    guard holds to our own origin."""
    sent = visit.request.headers.get("x-csrf-token") or visit.secret("csrf")
    return visit.session is not None and hmac.compare_digest(sent.encode(), visit.session.csrf.encode())


def _route(site: Site, page: Page) -> Route:
    most = LARGEST_BODY if page.access == ("in",) else _LOGIN_BODY
    return Route(page.path, _endpoint(site, page), methods=[page.method], max_body_size=most)


def _endpoint(site: Site, page: Page) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        try:
            return await site.answer(site.visit(request, page))
        finally:
            await request.close()  # files that a form brought lie in temporary ones

    return endpoint


async def _nothing(visit: Visit) -> Response:
    return visit.site.error(visit, 404)


_NOWHERE = Page("", _nothing, "GET", N_("Something went wrong"))
