"""The second factor: asked for behind the password, set up in the account, and by whom it must be.

What is half done (a secret that no code confirmed yet, a challenge that waits for its answer) lives in
memory, by session, for minutes.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict
from typing import Any, Literal

import msgspec
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from mxseal.clock import Clock
from mxseal.events.types import LoginFailed, LoginsHeldBack, SecondFactorChanged
from mxseal.faces.login import Failures
from mxseal.faces.web import certified, passkeys, totp
from mxseal.faces.web.entry import go_on
from mxseal.faces.web.guard import safe_path
from mxseal.faces.web.pages import action, page
from mxseal.faces.web.passkeys import Asked, PasskeyRefused
from mxseal.faces.web.sessions import WebServices
from mxseal.faces.web.texts import N_
from mxseal.faces.web.visit import Visit
from mxseal.storage.users import User
from mxseal.storage.web import Session, Totp

_KEPT = 600.0
_MOST_KEPT = 1000
_LARGEST_ANSWER = 64 << 10
_WRONG = N_("This code is not valid now. Take the newest one that the app shows.")
_USED = N_("This code was used already. Wait for the next one.")
_HELD = N_("Too many wrong codes. Wait {n} minutes, then try again.")
_NOT_TAKEN = N_("The passkey was not accepted. Try again, or use another way.")

What = Literal["totp", "challenge", "codes"]


class Halves:
    """What sessions have half done: (what, session) -> value. Bounded in number and time."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._kept: OrderedDict[tuple[What, bytes], tuple[float, Any]] = OrderedDict()

    def put(self, what: What, session: Session, value: Any) -> None:
        self._kept[what, session.id] = (self._clock.monotonic(), value)
        while len(self._kept) > _MOST_KEPT:
            self._kept.popitem(last=False)

    def get(self, what: What, session: Session) -> Any:
        """None when there is none, or it is too old."""
        found = self._kept.get((what, session.id))
        return found[1] if found and self._clock.monotonic() - found[0] < _KEPT else None

    def take(self, what: What, session: Session) -> Any:
        """The same, once."""
        found = self.get(what, session)
        self._kept.pop((what, session.id), None)
        return found


class Second:
    """The second factors of all users."""

    def __init__(self, services: WebServices) -> None:
        self._services = services
        self.halves = Halves(services.clock)
        self.failures = Failures(services.clock)
        """By user: who has the password may not guess codes without end."""

    def held(self, user: str, attempts: int, wait: float) -> bool:
        return self.failures.held(user, attempts, wait)

    def code(self, user: str, typed: str) -> str | None:
        """What kind of code it is, which is used up by this: totp or recovery; "used" for one that was; None
        for a wrong one."""
        web = self._services.web
        if totp.looks_like_recovery(typed):
            return "recovery" if web.use_recovery(user, totp.recovery_digest(user, typed)) else None
        known = web.totp(user)
        step = totp.step_of(known.secret, typed, self._services.now()) if known is not None else None
        if step is None:
            return None
        # RFC 6238 §5.2: a code is good once.
        return "totp" if web.use_step(user, step) else "used"

    def changed(self, visit: Visit, what: str) -> None:
        """Tell that a user's second factors are others now."""
        assert visit.user is not None, "only who is known has factors"
        self._services.bus.publish(
            SecondFactorChanged(
                at=self._services.now(), user=visit.user.name, by=visit.user.name,
                remote=visit.caller.remote, face="web", what=what,
            )
        )  # fmt: skip

    def give_codes(self, visit: Visit, session: Session) -> None:
        """New recovery codes, shown once on /account/codes, in the place of those that there were."""
        codes = totp.new_recovery()
        digests = [totp.recovery_digest(session.user, code) for code in codes]
        self._services.web.put_recovery(session.user, digests)
        self.halves.put("codes", session, codes)
        self.changed(visit, "new recovery codes")


def _who(visit: Visit) -> tuple[Session, User]:
    assert visit.session is not None, "the page is for sessions"
    assert visit.user is not None, "a session has a user"
    return visit.session, visit.user


def asked(visit: Visit) -> Asked:
    """A new challenge for the browser that asks, which is remembered."""
    origin = f"https://{visit.request.headers.get('host', '')}"
    value = Asked(secrets.token_bytes(32), visit.host, origin, visit.site.services.now())
    visit.site.second.halves.put("challenge", _who(visit)[0], value)
    return value


async def passkey_answer(visit: Visit) -> tuple[Asked, dict[str, Any]]:
    """What the browser was asked, once, and what it says to that. PasskeyRefused: it was asked nothing."""
    challenge = visit.site.second.halves.take("challenge", _who(visit)[0])
    body = await visit.request.body()
    if len(body) > _LARGEST_ANSWER:
        raise HTTPException(413)
    try:
        answer = msgspec.json.decode(body, type=dict[str, Any])
    except msgspec.DecodeError:
        raise HTTPException(400) from None
    if challenge is None:
        raise PasskeyRefused("nothing was asked")
    return challenge, answer


# --- at the login -------------------------------------------------------------------------------------------


@page("/login/factor", title=N_("Second factor"), access=("factor",))
async def factor(visit: Visit) -> Response:
    return await _factor(visit, safe_path(visit.query("next", "/")))


async def _factor(visit: Visit, goal: str, told: str = "") -> Response:
    web, (_, user) = visit.site.services.web, _who(visit)
    certificate = certified.mode(visit) == "second-factor" and bool(web.certificates.all(user.name))
    found = await certified.judged(visit) if certificate else certified.Found()
    known = [each for each in web.passkeys(user.name) if each.host == visit.host]
    return visit.show(
        "factor.html", 403 if told else 200, goal=goal, told=told,
        app=web.totp(user.name) is not None, passkeys=bool(known), recovery=web.recovery_left(user.name),
        certificate=certificate, refused=found.told,
    )  # fmt: skip


@action("/login/factor", title=N_("Second factor"), access=("factor",))
async def check_code(visit: Visit) -> Response:
    goal, (_, user) = safe_path(visit.field("next", "/")), _who(visit)
    second, bounds = visit.site.second, visit.site.login.bounds
    if second.held(user.name, bounds.attempts, bounds.wait):
        return await _factor(visit, goal, _told_held(visit, user))
    second.failures.add(user.name)
    kind = second.code(user.name, visit.field("code")[:40])
    if kind not in {"totp", "recovery"}:
        visit.site.services.bus.publish(
            LoginFailed(
                at=visit.site.services.now(), user=user.name, remote=visit.caller.remote, face="web",
                method="second factor", reason="the code is used" if kind else "the code is wrong",
            )
        )  # fmt: skip
        return await _factor(visit, goal, visit.say(_USED if kind else _WRONG))
    second.failures.forget(user.name)
    if kind == "recovery":
        second.changed(visit, "a recovery code was used")
    return go_on(visit, user, "in", f"password+{kind}", goal)


def _told_held(visit: Visit, user: User) -> str:
    second, bounds = visit.site.second, visit.site.login.bounds
    if second.failures.untold(user.name):
        visit.site.services.bus.publish(
            LoginsHeldBack(
                at=visit.site.services.now(), user=user.name, remote="", face="web", seconds=bounds.wait
            )
        )
    return visit.say(_HELD, n=max(1, round(bounds.wait / 60)))


@action("/login/passkey/ask", access=("factor",))
async def ask_passkey(visit: Visit) -> Response:
    known = visit.site.services.web.passkeys(_who(visit)[1].name)
    here = [each for each in known if each.host == visit.host]
    return Response(passkeys.ask_known(asked(visit), here), media_type="application/json")


@action("/login/passkey", access=("factor",))
async def check_passkey(visit: Visit) -> Response:
    _, user = _who(visit)
    services = visit.site.services
    try:
        challenge, answer = await passkey_answer(visit)
        found, count = passkeys.take_known(challenge, answer, services.web.passkeys(user.name))
    except PasskeyRefused as refused:
        services.bus.publish(
            LoginFailed(
                at=services.now(), user=user.name, remote=visit.caller.remote, face="web",
                method="passkey", reason=str(refused)[:200],
            )
        )  # fmt: skip
        return JSONResponse({"told": visit.say(_NOT_TAKEN)}, 403)
    services.web.use_passkey(found.credential, count, services.now())
    led = go_on(visit, user, "in", "password+passkey", safe_path(visit.query("next", "/")))
    response = JSONResponse({"go": led.headers["location"]})
    response.headers["set-cookie"] = led.headers["set-cookie"]
    return response


# --- setting it up ------------------------------------------------------------------------------------------


@page("/login/enrol", title=N_("Set up a second factor"), access=("enrol",))
async def enrol(visit: Visit) -> Response:
    return _app(visit)


@page("/account/app", title=N_("Authenticator app"), access=("in",))
async def app(visit: Visit) -> Response:
    return _app(visit)


def _app(visit: Visit, told: str = "") -> Response:
    """The QR code of a new secret, which counts once a code of it was typed."""
    session, user = _who(visit)
    halves = visit.site.second.halves
    secret = halves.get("totp", session)
    if secret is None:
        secret = totp.new_secret()
        halves.put("totp", session, secret)
    return visit.show(
        "account/app.html", 422 if told else 200, told=told, secret=totp.spelled(secret),
        picture=totp.picture(totp.address(secret, user.name, visit.site.hostname)),
        must=session.stage == "enrol",
    )  # fmt: skip


@action("/account/app", title=N_("Authenticator app"), access=("enrol", "in"))
async def confirm_app(visit: Visit) -> Response:
    session, user = _who(visit)
    second, services = visit.site.second, visit.site.services
    secret, now = second.halves.get("totp", session), services.now()
    step = totp.step_of(secret, visit.field("code")[:40], now) if secret is not None else None
    if step is None:
        return _app(visit, visit.say(_WRONG))
    second.halves.take("totp", session)
    services.web.put_totp(Totp(user=user.name, secret=secret, step=step, added=now))
    second.changed(visit, "an authenticator app was added")
    return _added(visit)


@action("/account/passkeys/ask", access=("enrol", "in"))
async def ask_new_passkey(visit: Visit) -> Response:
    _, user = _who(visit)
    known = visit.site.services.web.passkeys(user.name)
    return Response(passkeys.ask_new(asked(visit), user.name, known), media_type="application/json")


@action("/account/passkeys", access=("enrol", "in"))
async def add_passkey(visit: Visit) -> Response:
    _, user = _who(visit)
    web = visit.site.services.web
    try:
        challenge, answer = await passkey_answer(visit)
        made = passkeys.take_new(challenge, answer, user.name, visit.query("name")[:60] or "passkey")
    except PasskeyRefused:
        return JSONResponse({"told": visit.say(_NOT_TAKEN)}, 422)
    if len(web.passkeys(user.name)) >= passkeys.MOST or not web.put_passkey(made):
        return JSONResponse({"told": visit.say(_NOT_TAKEN)}, 422)
    visit.site.second.changed(visit, f"the passkey {made.name} was added")
    led = _added(visit)
    response = JSONResponse({"go": led.headers["location"]})
    if "set-cookie" in led.headers:
        response.headers["set-cookie"] = led.headers["set-cookie"]
    return response


def _added(visit: Visit) -> Response:
    """Behind the first factor: the codes for when it is lost, and in, for who had to set it up."""
    session, user = _who(visit)
    fresh = not visit.site.services.web.recovery_left(user.name)
    goal = "/account/codes" if fresh else "/account"
    if session.stage == "enrol":
        response = go_on(visit, user, "in", "password+new factor", goal)
        session, _ = _who(visit)
    else:
        response = visit.go(
            goal, visit.say(N_("The second factor is set up. It is asked for at the next login."))
        )
    if fresh:
        visit.site.second.give_codes(visit, session)
    return response
