"""Your own account: language, password, second factors, sessions."""

from __future__ import annotations

import asyncio

from starlette.exceptions import HTTPException
from starlette.responses import Response

from mxseal.faces.login import matches
from mxseal.faces.web.forms import Form
from mxseal.faces.web.pages import action, page
from mxseal.faces.web.texts import N_
from mxseal.faces.web.visit import Visit
from mxseal.language import LANGUAGES
from mxseal.storage.users import User
from mxseal.storage.web import Session

PASSWORD = Form(
    "passwd",
    ("old", "new"),
    labels={"old": N_("Password until now"), "new": N_("New password")},
    helps={"old": "", "new": ""},
)
_NOT_YOURS = N_("This is not your password. Nothing was changed.")
_NEEDED = N_("Everybody needs a second factor here: set up another one before you remove this one.")


def _who(visit: Visit) -> tuple[Session, User]:
    assert visit.session is not None, "the page is for sessions"
    assert visit.user is not None, "a session has a user"
    return visit.session, visit.user


@page("/account", title=N_("Your account"))
async def account(visit: Visit) -> Response:
    return _account(visit)


def _account(visit: Visit, told: str = "") -> Response:
    web, (session, user) = visit.site.services.web, _who(visit)
    return visit.show(
        "account/account.html", 422 if told else 200, told=told,
        chosen=web.language(user.name), app=web.totp(user.name), passkeys=web.passkeys(user.name),
        recovery=web.recovery_left(user.name), sessions=visit.site.sessions.of(user.name), here=session.id,
        certificates=web.certificates.all(user.name),
    )  # fmt: skip


@action("/account/language")
async def language(visit: Visit) -> Response:
    chosen = visit.field("language")
    known = chosen if chosen in LANGUAGES else None
    visit.site.services.web.put_language(_who(visit)[1].name, known)
    return visit.go("/account")


# --- password -----------------------------------------------------------------------------------------------


@page("/account/password", title=N_("Change your password"))
async def password(visit: Visit) -> Response:
    return visit.show("account/password.html", form=PASSWORD.blank(visit), differ=False)


@action("/account/password", title=N_("Change your password"))
async def change_password(visit: Visit) -> Response:
    if visit.secret("new") != visit.secret("again"):
        return visit.show("account/password.html", 422, form=PASSWORD.blank(visit), differ=True)
    (session, user), site = _who(visit), visit.site
    if _guessed_too_often(visit, user):
        return visit.go("/account/password", visit.say(N_("Too many wrong passwords. Wait some minutes.")))
    view, answer = await PASSWORD.submit(visit)
    if not answer.ok:
        site.second.failures.add(user.name)
        return visit.show("account/password.html", 422, form=view, differ=False)
    fresh = site.login.user(user.name)
    if fresh is not None:
        site.sessions.renew(session, fresh)
    told = N_("Your password was changed. All your other sessions have ended.")
    return visit.go("/account", visit.say(told))


def _guessed_too_often(visit: Visit, user: User) -> bool:
    """Who sits at somebody else's open session may not try passwords without end."""
    bounds = visit.site.login.bounds
    return visit.site.second.held(user.name, bounds.attempts, bounds.wait)


async def _knows_password(visit: Visit) -> bool:
    """Whether the form has the user's password: what takes protection away needs it once more."""
    _, user = _who(visit)
    if _guessed_too_often(visit, user):
        return False
    visit.site.second.failures.add(user.name)
    fits = await asyncio.to_thread(matches, visit.site.login.hasher, user.password, visit.secret("password"))
    if fits:
        visit.site.second.failures.forget(user.name)
    return fits


# --- second factors -----------------------------------------------------------------------------------------


@page("/account/codes", title=N_("Recovery codes"))
async def codes(visit: Visit) -> Response:
    session, _ = _who(visit)
    return visit.show("account/codes.html", codes=visit.site.second.halves.take("codes", session) or [])


@action("/account/codes", title=N_("Your account"))
async def new_codes(visit: Visit) -> Response:
    if not await _knows_password(visit):
        return _account(visit, visit.say(_NOT_YOURS))
    visit.site.second.give_codes(visit, _who(visit)[0])
    return visit.go("/account/codes")


@action("/account/app/remove", title=N_("Your account"))
async def remove_app(visit: Visit) -> Response:
    return await _remove(visit, None)


@action("/account/passkeys/remove", title=N_("Your account"))
async def remove_passkey(visit: Visit) -> Response:
    try:
        return await _remove(visit, bytes.fromhex(visit.field("credential")))
    except ValueError:
        raise HTTPException(400) from None


async def _remove(visit: Visit, credential: bytes | None) -> Response:
    """Remove a passkey, or the app."""
    web, (_, user) = visit.site.services.web, _who(visit)
    if not await _knows_password(visit):
        return _account(visit, visit.say(_NOT_YOURS))
    left = len(web.passkeys(user.name)) + (web.totp(user.name) is not None)
    if left <= 1 and visit.site.sessions.rules.second_factor == "required":
        return _account(visit, visit.say(_NEEDED))
    gone = web.delete_totp(user.name) if credential is None else web.delete_passkey(user.name, credential)
    if gone:
        visit.site.second.changed(visit, "a passkey was removed" if credential else "the app was removed")
    if not web.has_factor(user.name):
        web.put_recovery(user.name, ())
    return visit.go("/account", visit.say(N_("The second factor was removed.")))


# --- sessions -----------------------------------------------------------------------------------------------


@action("/account/sessions/end")
async def end_sessions(visit: Visit) -> Response:
    """One of the user's sessions, or all others."""
    (here, user), sessions = _who(visit), visit.site.sessions
    wanted = visit.field("session")
    for session in sessions.of(user.name):
        if session.id != here.id and wanted in (session.id.hex(), "others"):
            sessions.end(session, "ended by the user")
    return visit.go("/account", visit.say(N_("The session has ended.")))
