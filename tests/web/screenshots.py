"""`python -m tests.web.screenshots [FOLDER]`: the main pages in both languages, light and dark.

All go into docs/pictures/web, which is not kept; those of KEPT into docs/pictures, where the documentation
shows them. What is on them is the gateway of the pages' tests with its month of mail.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

from lab import Trouble, Unavailable
from lab.browser import Browser
from lab.ca import Authority
from mxseal.language import LANGUAGES
from tests.web.looking import window
from tests.web.serving import WebServing, web_serving

PAGES = {
    "overview": "/",
    "messages": "/messages",
    "story": "/messages/901",
    "queue": "/queue",
    "partner": "/partners/bank.example",
    "certificate": "/certificates/mx",
    "destination": "/policies/destinations/plain.example/edit",
    "changes": "/changes",
    "directories": "/system/ldap",
    "recordings": "/system/captures",
    "subscriptions": "/system/subscriptions",
    "checks": "/system/checks",
}
KEPT = ("story-en-light", "directories-nl-dark")
SIZE = (1120, 720)
MOST = 250_000
"""Bytes of one that is kept."""


def main() -> int:
    """Make them all; gives the exit status."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "docs/pictures")
    (folder / "web").mkdir(parents=True, exist_ok=True)
    authority = Authority()
    home = Path(tempfile.mkdtemp(prefix="mxseal-pictures-"))
    try:
        with web_serving(home, authority) as web, Browser([authority.root.pem]) as browser:
            _fill(web)
            for language in LANGUAGES:
                for dark in (False, True):
                    _pictures(web, browser, folder, language, dark)
    except (Unavailable, Trouble) as fault:
        print(f"No pictures: {fault}", file=sys.stderr)
        return 1
    finally:
        shutil.rmtree(home, ignore_errors=True)
    print(f"{len(PAGES) * 2 * len(LANGUAGES)} pictures are in {folder / 'web'}, {len(KEPT)} in {folder}.")
    return 0


def _fill(web: WebServing) -> None:
    for fill in (
        web.fill_queue,
        web.fill_document,
        web.fill_peers,
        web.fill_logs,
        web.change,
        web.fill_tracking,
    ):
        web.do(fill)


def _pictures(web: WebServing, browser: Browser, folder: Path, language: str, dark: bool) -> None:
    seen = window(web, browser, language=language, dark=dark, size=SIZE)
    for name, address in PAGES.items():
        if seen.open(address).status != 200:
            raise Trouble(f"{address} is not shown")
        whole = f"{name}-{language}-{'dark' if dark else 'light'}"
        path = folder / "web" / f"{whole}.png"
        seen.page.screenshot(path=str(path), full_page=whole not in KEPT)
        if whole in KEPT:
            if path.stat().st_size > MOST:
                raise Trouble(f"{path} has more than {MOST} bytes")
            shutil.copy(path, folder / f"{whole}.png")
    seen.close()


if __name__ == "__main__":
    sys.exit(main())
