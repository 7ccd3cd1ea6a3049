"""Coming in and going out: password, then the second factor; logout."""

from __future__ import annotations

from starlette.responses import Response

from mxseal.faces.login import Bounds, network_of
from mxseal.faces.web import certified
from mxseal.faces.web.guard import safe_path
from mxseal.faces.web.pages import action, page
from mxseal.faces.web.sessions import COOKIE, Stage
from mxseal.faces.web.texts import N_
from mxseal.faces.web.visit import Visit
from mxseal.storage.users import User

_WRONG = N_("The name or the password is wrong.")
_NOT_HERE = N_("Certificates alone let nobody in here.")
_NONE_SHOWN = N_("The browser showed no certificate. Close all its windows, come again, and choose one.")
_HELD = N_("Too many wrong passwords came from your address. Wait {n} minutes, then try again.")


@page("/login", title=N_("Log in"), access=("anyone",))
async def login(visit: Visit) -> Response:
    if visit.session is not None and visit.session.stage == "in":
        return visit.go(safe_path(visit.query("next")))
    return _form(visit, safe_path(visit.query("next", "/")))


@action("/login", title=N_("Log in"), access=("anyone",))
async def check_password(visit: Visit) -> Response:
    name, password = visit.field("name")[:100], visit.secret("password")
    goal = safe_path(visit.field("next", "/"))
    site, remote = visit.site, visit.caller.remote
    rules = site.sessions.rules
    site.login.bounds = Bounds(rules.login_attempts, rules.login_wait)
    user = await site.login.password(name, password, remote, "web")
    if user is None:
        bounds = site.login.bounds
        held = site.login.addresses.held(network_of(remote), bounds.attempts, bounds.wait)
        told = visit.say(_HELD, n=max(1, round(bounds.wait / 60))) if held else visit.say(_WRONG)
        return _form(visit, goal, name, told)
    stage, method = await next_stage(visit, user)
    if visit.session is not None:
        site.sessions.end(visit.session)
    return go_on(visit, user, stage, method, goal)


@action("/login/certificate", title=N_("Log in"), access=("anyone",))
async def check_certificate(visit: Visit) -> Response:
    """A login with the browser's certificate alone, where the interface takes it for that."""
    goal = safe_path(visit.field("next", "/"))
    if certified.mode(visit) != "login":
        return _form(visit, goal, told=visit.say(_NOT_HERE))
    found = await certified.judged(visit)
    if found.user is None:
        if found.person is None:
            return _form(visit, goal, told=visit.say(_NONE_SHOWN))
        certified.refused(visit, found)
        return _form(visit, goal, told=found.told)
    if visit.session is not None:
        visit.site.sessions.end(visit.session)
    return go_on(visit, found.user, "in", "certificate", goal)


async def next_stage(visit: Visit, user: User) -> tuple[Stage, str]:
    """What follows a right password, and how the user came that far."""
    web = visit.site.services.web
    if certified.mode(visit) == "second-factor" and web.certificates.all(user.name):
        found = await certified.judged(visit)
        if found.user == user:
            return "in", "password+certificate"
        if found.person is not None:
            certified.refused(visit, found, user.name)
        return "factor", "password"
    if web.has_factor(user.name):
        return "factor", "password"
    return "enrol" if visit.site.sessions.rules.second_factor == "required" else "in", "password"


def go_on(visit: Visit, user: User, stage: Stage, method: str, goal: str) -> Response:
    """A new session at `stage`, and where that leads."""
    sessions = visit.site.sessions
    if visit.session is not None:
        token = sessions.replace(visit.session, user, stage, method, visit.caller)
    else:
        token = sessions.begin(user, stage, method, visit.caller)
    visit.session, _ = sessions.find(token) or (None, None)
    path = {"factor": "/login/factor", "enrol": "/login/enrol"}.get(stage, goal)
    asked = {"next": goal} if stage != "in" and goal != "/" else {}
    response = visit.go(path, **asked)
    response.set_cookie(COOKIE, token, path="/", secure=True, httponly=True, samesite="strict")
    return response


@action("/logout", access=("factor", "enrol", "in"))
async def logout(visit: Visit) -> Response:
    assert visit.session is not None, "the page is for sessions"
    visit.site.sessions.end(visit.session)
    response = visit.go("/login")
    response.delete_cookie(COOKIE, path="/", secure=True, httponly=True, samesite="strict")
    # What this browser kept of the pages is not for who sits there next.
    response.headers["Clear-Site-Data"] = '"cache"'
    return response


def _form(visit: Visit, goal: str, name: str = "", told: str = "") -> Response:
    takes = certified.mode(visit) == "login"
    return visit.show(
        "login.html", 403 if told else 200, goal=goal, name=name, told=told,
        takes=takes, person=certified.shown(visit) if takes else None,
    )  # fmt: skip
