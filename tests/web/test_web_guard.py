"""What holds strangers off: cookies, sessions, forged requests, guesses, roles on every route."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import re
import ssl
import threading
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

import httpx2
import pytest

from lab.ca import Authority
from mxseal.events.types import LoggedOut, LoginFailed, LoginSucceeded
from mxseal.faces.http_guard import LARGEST_BODY
from mxseal.faces.web.guard import safe_path
from mxseal.faces.web.pages import pages_of
from mxseal.faces.web.sessions import COOKIE, digest
from mxseal.faces.web.site import SUBJECTS
from mxseal.faces.web.streams import HEARTBEAT, MOST_FOLLOWING
from mxseal.storage.users import User
from tests.web.serving import CALLER, CHEAP, PASSWORD, PATIENCE, WebServing

Ask = Callable[..., httpx2.Client]


@pytest.fixture
def client(web: WebServing, authority: Authority) -> Iterator[Ask]:
    """`client()`: a stranger's; `client("anna")`: with a session of that user."""
    trust = ssl.create_default_context(cadata=authority.root.pem.decode())
    made: list[httpx2.Client] = []

    def make(user: str | None = None, token: str = "", **headers: str) -> httpx2.Client:
        token = web.token(user) if user else token
        cookies = {COOKIE: token} if token else {}
        sent = {"Origin": web.address, "Sec-Fetch-Site": "same-origin"} | headers
        found = httpx2.Client(base_url=web.address, verify=trust, headers=sent, cookies=cookies, timeout=20)
        made.append(found)
        return found

    yield make
    for each in made:
        each.close()


def csrf(client: httpx2.Client, path: str = "/queue") -> str:
    found = re.search(r'name="csrf" value="([^"]+)"', client.get(path).text)
    assert found is not None
    return found[1]


def log_in(
    client: httpx2.Client, name: str = "anna", password: str = PASSWORD, **fields: str
) -> httpx2.Response:
    return client.post("/login", data={"name": name, "password": password, **fields})


# --- logins -------------------------------------------------------------------------------------------------


def test_a_login_sets_a_cookie_that_only_this_host_gets_over_tls_and_no_script_reads(client: Ask) -> None:
    answer = log_in(client())
    assert answer.status_code == 303
    cookie = answer.headers["set-cookie"].lower()
    assert cookie.startswith("__host-mxseal=")
    assert {"secure", "httponly", "samesite=strict", "path=/"} <= {part.strip() for part in cookie.split(";")}
    assert "domain" not in cookie


def test_a_wrong_password_and_an_unknown_name_look_the_same(client: Ask) -> None:
    one, other = log_in(client(), password="wrong wrong wrong"), log_in(client(), name="nobody")
    assert one.status_code == other.status_code == 403
    assert one.text.replace("anna", "nobody") == other.text
    assert "set-cookie" not in one.headers


def test_behind_five_wrong_passwords_not_even_the_right_one_is_looked_at_until_the_wait_is_over(
    web: WebServing, client: Ask
) -> None:
    web.advance(1000)
    for _ in range(5):
        log_in(client(), password="wrong wrong wrong")
    held = log_in(client())
    assert held.status_code == 403
    assert "Wait 5 minutes" in held.text
    web.advance(301)
    assert log_in(client()).status_code == 303


def test_logins_and_failures_are_events_of_the_face_web(web: WebServing, client: Ask) -> None:
    web.services.events.clear()
    log_in(client(), password="wrong wrong wrong")
    log_in(client())
    failed, succeeded = web.services.events
    assert isinstance(failed, LoginFailed)
    assert isinstance(succeeded, LoginSucceeded)
    assert (failed.face, succeeded.face, succeeded.user) == ("web", "web", "anna")


@pytest.mark.parametrize(
    "wanted",
    [
        "//evil.example",
        "https://evil.example",
        "/\\evil.example",
        "javascript:alert(1)",
        "/\t/evil.example",
        "",
    ],
)
def test_a_link_can_not_lead_elsewhere_behind_the_login(client: Ask, wanted: str) -> None:
    assert log_in(client(), next=wanted).headers["location"] == "/"
    assert safe_path(wanted) == "/"


def test_behind_the_login_comes_the_page_that_was_asked_for(client: Ask) -> None:
    stranger = client()
    asked = stranger.get("/queue?match=jan@example.org")
    assert asked.status_code == 303
    assert asked.headers["location"] == "/login?next=%2Fqueue%3Fmatch%3Djan%2540example.org"
    assert 'value="/queue?match=jan%40example.org"' in stranger.get(asked.headers["location"]).text
    there = log_in(stranger, next="/queue?match=jan%40example.org").headers["location"]
    assert there == "/queue?match=jan%40example.org"


def test_a_link_from_another_site_is_asked_for_once_more_before_the_login(client: Ask) -> None:
    # SameSite=Strict keeps the cookie back then: the page asks itself again, from here.
    answer = client(**{"Sec-Fetch-Site": "cross-site"}).get("/queue/101")
    assert answer.status_code == 200
    assert 'http-equiv="refresh" content="0; url=/queue/101"' in answer.text


# --- sessions -----------------------------------------------------------------------------------------------


def test_a_session_id_from_before_the_login_is_worth_nothing_behind_it(client: Ask) -> None:
    planted = "planted-by-somebody-else-0123456789abcdefghi"
    victim = client(token=planted)
    made = log_in(victim).headers["set-cookie"].partition("=")[2].partition(";")[0]
    assert made != planted
    assert client(token=planted).get("/queue").headers["location"].startswith("/login")


def test_a_second_login_ends_the_session_that_the_browser_had(web: WebServing, client: Ask) -> None:
    first = web.token()
    log_in(client(token=first))
    assert web.do(lambda: web.services.web.session(digest(first))) is None


def test_a_session_is_stored_as_a_hash(web: WebServing) -> None:
    token = web.token()
    stored = web.do(web.services.web.sessions)
    assert digest(token) in {session.id for session in stored}
    assert token.encode() not in (web.root / "home" / "state.db").read_bytes()


@pytest.mark.parametrize(
    ("seconds", "uses", "lasts"), [(1790, 1, True), (1801, 1, False), (1790, 24, True), (1790, 25, False)]
)
def test_a_session_ends_when_it_idles_for_half_an_hour_or_is_half_a_day_old(
    web: WebServing, client: Ask, seconds: int, uses: int, lasts: bool
) -> None:
    anna = client("anna")
    for _ in range(uses):
        web.advance(seconds)
        answer = anna.get("/queue")
    assert (answer.status_code == 200) is lasts


def test_logout_ends_the_session_on_our_side(web: WebServing, client: Ask) -> None:
    anna = client("anna")
    web.services.events.clear()
    assert anna.post("/logout", data={"csrf": csrf(anna)}).headers["location"] == "/login"
    assert [type(event) for event in web.services.events] == [LoggedOut]
    assert anna.get("/queue").status_code == 303


@pytest.mark.parametrize("change", ["password", "role", "removed"])
def test_sessions_end_when_the_user_gets_another_password_or_role_or_is_removed(
    web: WebServing, client: Ask, change: str
) -> None:
    users = web.services.users
    user = User(name="dora", role="operator", password=CHEAP.hash(PASSWORD))
    web.do(lambda: users.put(user))
    dora = client("dora")
    assert dora.get("/queue").status_code == 200
    if change == "removed":
        web.do(lambda: users.delete("dora"))
    changed = {
        "password": User(name="dora", role="operator", password=CHEAP.hash("another of the kind")),
        "role": User(name="dora", role="administrator", password=user.password),
        "removed": user,
    }[change]
    web.do(lambda: users.put(changed))
    assert dora.get("/queue").status_code == 303
    web.do(lambda: users.delete("dora"))


# --- forged requests ----------------------------------------------------------------------------------------


def test_a_form_without_the_sessions_token_does_nothing(web: WebServing, client: Ask) -> None:
    anna, other = client("anna"), client("anna")
    web.services.mail.orders.clear()
    for fields in ({}, {"csrf": ""}, {"csrf": "x" * 32}, {"csrf": csrf(other)}):
        answer = anna.post("/queue/deliver", data={"where": "101", **fields})
        assert answer.status_code == 403
    assert web.services.mail.orders == []


def test_a_form_with_the_token_does_what_it_says(web: WebServing, client: Ask) -> None:
    anna = client("anna")
    web.services.mail.orders.clear()
    answer = anna.post("/queue/deliver", data={"where": "101", "csrf": csrf(anna)})
    assert answer.headers["location"] == "/queue"
    assert [order for order, _ in web.services.mail.orders] == ["deliver"]
    assert "2 recipients are tried now." in anna.get("/queue").text
    assert web.records[-2].face == "web"


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "https://[x"},
        {"Origin": "http://localhost"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
    ],
    ids=str,
)
def test_a_post_from_another_site_is_refused_also_at_the_login(client: Ask, headers: dict[str, str]) -> None:
    assert log_in(client(**headers)).status_code == 403
    assert log_in(client()).status_code == 303


def test_a_post_that_does_not_tell_its_origin_is_refused(client: Ask) -> None:
    silent = client()
    del silent.headers["Origin"], silent.headers["Sec-Fetch-Site"]
    assert log_in(silent).status_code == 403


def test_every_answer_has_the_headers_that_bind_browsers(client: Ask) -> None:
    stranger = client()
    style = re.search(r'href="(/static/[^"]+\.css)"', stranger.get("/login").text)
    assert style is not None
    for path in ("/login", "/queue", "/nowhere", style[1]):
        headers = stranger.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert headers["strict-transport-security"].startswith("max-age=31536000")
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "same-origin"
        assert headers["cache-control"] == (
            "no-store" if path != style[1] else "public, max-age=31536000, immutable"
        )


def test_a_request_beyond_all_limits_is_refused(client: Ask) -> None:
    stranger = client()
    assert stranger.post("/login", data={"name": "x" * (LARGEST_BODY + 1)}).status_code == 413
    many = {f"f{n}": "x" for n in range(600)}
    assert stranger.post("/login", data=many, files={"a": b"x"}).status_code == 400


# --- roles --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "page", [p for p in pages_of(SUBJECTS) if p.access == ("in",)], ids=lambda p: f"{p.method} {p.path}"
)
def test_no_page_is_for_strangers_unless_it_says_so(web: WebServing, client: Ask, page: object) -> None:
    path = re.sub(r"\{\w+\}", "1", page.path)  # type: ignore[attr-defined]
    answer = client().request(page.method, path)  # type: ignore[attr-defined]
    assert answer.status_code == 303
    assert answer.headers["location"].startswith("/login")


def test_what_a_role_does_not_allow_is_refused_in_words_and_not_offered(web: WebServing, client: Ask) -> None:
    rhea = client("rhea")
    web.services.mail.orders.clear()
    page = rhea.get("/queue").text
    assert "Deliver now" not in page
    answer = rhea.post("/queue/delete", data={"where": "101", "sure": "yes", "csrf": csrf(rhea)})
    assert answer.status_code == 403
    assert "Your role does not allow this." in answer.text
    assert web.services.mail.orders == []


def test_what_strangers_write_stays_text(web: WebServing, client: Ask) -> None:
    nasty = "<script>alert(1)</script>\u202e\x1b[31m"
    web.do(
        lambda: web.services.mail.put(666, f"{nasty}@example.org", "x@example.org", error=nasty, attempts=1)
    )
    for path in ("/queue", "/queue/666", f"/queue?match={quote(nasty)}"):
        page = client("anna").get(path).text
        assert "<script>alert" not in page
        assert "\u202e" not in page
        assert "\x1b" not in page
    web.do(lambda: web.services.mail.messages.pop(666))


# --- what takes long, and what breaks -----------------------------------------------------------------------


@pytest.mark.parametrize("charset", ["idna", "unicode_escape", "punycode", "utf-8", "undefined"])
def test_a_form_that_names_a_character_set_is_not_read(client: Ask, charset: str) -> None:
    # "idna" took minutes for a megabyte of a stranger's, and nothing else was answered meanwhile
    form = b'--x\r\nContent-Disposition: form-data; name="name"\r\n\r\n\\ud800\r\n--x--\r\n'
    kind = f"multipart/form-data; boundary=x; charset={charset}"
    assert client().post("/login", content=form, headers={"Content-Type": kind}).status_code == 400


def test_a_form_of_strangers_is_small(client: Ask) -> None:
    assert log_in(client(), password="x" * (64 << 10)).status_code == 413
    assert log_in(client()).status_code == 303


def test_the_page_of_a_fault_has_its_own_headers_and_looks(
    web: WebServing, client: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("broken on purpose")

    anna = client("anna")
    monkeypatch.setattr(web.site.runner, "call", broken)
    answer = anna.get("/queue")
    assert answer.status_code == 500
    assert "style-src 'self'" in answer.headers["content-security-policy"]
    assert answer.headers["cache-control"] == "no-store"
    assert "broken on purpose" not in answer.text


def test_a_session_that_waits_for_its_second_factor_ends_with_the_password_too(web: WebServing) -> None:
    users, sessions = web.services.users, web.site.sessions
    web.do(lambda: users.put(User(name="dora", role="operator", password=CHEAP.hash(PASSWORD))))
    dora = web.do(lambda: users.get("dora"))
    token = web.do(lambda: sessions.begin(dora, "enrol", "password", CALLER))
    assert web.do(lambda: sessions.find(token)) is not None
    web.do(lambda: users.put(User(name="dora", role="operator", password=CHEAP.hash("another one of it"))))
    assert web.do(lambda: sessions.find(token)) is None
    web.do(lambda: users.delete("dora"))


def test_a_form_that_is_still_coming_when_the_session_ends_does_nothing(web: WebServing, client: Ask) -> None:
    token = web.token()
    anna = client(token=token)
    form = f"where=101&csrf={csrf(anna)}".encode()
    web.services.mail.orders.clear()

    def pieces() -> Iterator[bytes]:
        yield form[:5]
        anna_leaves = web.site.sessions
        web.do(lambda: anna_leaves.end(anna_leaves.find(token)[0]))  # type: ignore[index]
        yield form[5:]

    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    waiting = client(token=token)
    answer = waiting.post("/queue/deliver", content=pieces(), headers=kind)
    assert answer.headers["location"].startswith("/login")
    assert web.services.mail.orders == []


def test_a_passkey_that_is_still_coming_when_the_session_ends_is_nobodys(
    web: WebServing, client: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = web.token()
    headers = {"Content-Type": "application/json", "X-CSRF-Token": csrf(client(token=token))}
    begun = threading.Event()
    visit = web.site.visit

    def seen(*given: Any) -> Any:
        begun.set()
        return visit(*given)

    monkeypatch.setattr(web.site, "visit", seen)

    def pieces() -> Iterator[bytes]:
        yield b"{"
        assert begun.wait(PATIENCE)
        sessions = web.site.sessions
        web.do(lambda: sessions.end(sessions.find(token)[0]))  # type: ignore[index]
        yield b"}"

    answer = client(token=token).post("/account/passkeys", content=pieces(), headers=headers)
    assert answer.headers["location"].startswith("/login")


def test_a_live_view_shows_nothing_more_once_its_session_is_over(
    web: WebServing, client: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = web.token()
    written: asyncio.Queue[None] = asyncio.Queue()
    monkeypatch.setattr(web.services, "log_wait", lambda: written.get)
    file = next((web.root / "logs" / "mail_logs").glob("*.current"))
    with client(token=token).stream("GET", "/system/logs/mail_logs/stream") as answer:
        lines = answer.iter_lines()
        assert "Start MID 14" in next(lines)
        sessions = web.site.sessions
        web.do(lambda: sessions.end(sessions.find(token)[0]))  # type: ignore[index]
        with file.open("a") as log:
            log.write("Sat Feb 14 19:20:30 2026 Info: told to nobody\n")
        web.do(lambda: written.put_nowait(None))
        assert "told to nobody" not in "".join(lines)


def test_a_live_view_without_news_gives_signs_of_life_and_ends_with_its_session(
    web: WebServing, client: Ask
) -> None:
    token = web.token()
    with client(token=token).stream("GET", "/system/logs/mail_logs/stream") as answer:
        lines = answer.iter_lines()
        assert "Start MID 14" in next(lines)
        web.advance(HEARTBEAT)
        assert ": here" in itertools.islice(lines, 4)
        sessions = web.site.sessions
        web.do(lambda: sessions.end(sessions.find(token)[0]))  # type: ignore[index]
        web.advance(HEARTBEAT)
        assert ": here" not in list(lines)


def test_more_live_views_than_a_user_may_have_are_refused_in_words(web: WebServing, client: Ask) -> None:
    views: list[Iterator[str]] = []
    with contextlib.ExitStack() as stack:
        for _ in range(MOST_FOLLOWING):
            view = stack.enter_context(client("otto").stream("GET", "/system/logs/mail_logs/stream"))
            lines = view.iter_lines()
            next(lines)
            views.append(lines)  # one that is forgotten closes its connection
        assert client("otto").get("/system/logs/mail_logs/stream").status_code == 429
        assert client("rhea").get("/queue").status_code == 200
