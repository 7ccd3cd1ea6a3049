"""A browser's window on the site, logged in or not, which remembers what the browser complained about."""

from __future__ import annotations

from playwright.sync_api import ConsoleMessage, Page, Response

from lab.browser import Browser
from mxseal.faces.web.sessions import COOKIE
from tests.web.serving import WebServing


class Window:
    """`open` a page of the site; `complaints` are errors of scripts, breaches of the policy, requests to
    elsewhere."""

    def __init__(self, web: WebServing, page: Page, language: str) -> None:
        self.web = web
        self.page = page
        self.language = language
        self.complaints: list[str] = []
        page.on("console", self._said)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", lambda request: self._asked(request.url))

    def _said(self, message: ConsoleMessage) -> None:
        # A page that is an error is one on purpose.
        if message.type in {"error", "warning"} and "Failed to load resource" not in message.text:
            self.complaints.append(message.text)

    def _asked(self, address: str) -> None:
        if not address.startswith((self.web.address, "data:")):
            self.complaints.append(f"a request to {address}")

    def open(self, address: str) -> Response:
        answer = self.page.goto(f"{self.web.address}{address}")
        assert answer is not None
        return answer

    def log_in(self, user: str) -> None:
        """With a session of the store's: how people log in has tests of its own."""
        self.page.context.add_cookies([{
            "name": COOKIE, "value": self.web.token(user), "domain": "localhost", "path": "/",
            "secure": True, "httpOnly": True, "sameSite": "Strict",
        }])  # fmt: skip

    def log_out(self) -> None:
        self.page.context.clear_cookies()

    def text(self) -> str:
        return self.page.locator("body").inner_text()

    def press(self, name: str) -> None:
        """A button or link by its words."""
        self.page.locator("button, a", has_text=name).first.click()

    def close(self) -> None:
        self.page.context.close()


def window(
    web: WebServing,
    browser: Browser,
    user: str | None = "anna",
    *,
    language: str = "en",
    dark: bool = False,
    size: tuple[int, int] = (1280, 860),
    script: bool = True,
) -> Window:
    """A new window; `user` None: nobody is logged in."""
    found = Window(web, browser.page(language=language, dark=dark, size=size, script=script), language)
    if user is not None:
        found.log_in(user)
    return found
