"""`python -m demo.pictures [FOLDER]`: README's picture of the web interface, into docs/pictures.

They show a gateway of the demonstration after its mail: what is on them is as real as the mail.
"""

from __future__ import annotations

import sys
from pathlib import Path

from playwright.sync_api import Page

from demo.__main__ import deliver, fail_in_the_handshake, hold_back
from demo.letters import LETTERS
from demo.screen import Follower, Screen
from demo.stage import Stage, built
from lab import Trouble, Unavailable
from lab.browser import Browser

PICTURES = {"certificate.png": "certificates/mx"}
"""File -> page that it shows."""
SIZE = (1120, 720)
MOST = 250_000
"""Bytes that a picture may have: README is read over slow lines too."""


def main() -> int:
    """Make them all; gives the exit status."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "docs/pictures")
    screen = Screen()
    try:
        with built(screen, sink_only=True) as stage, Browser([stage.roots.read_bytes()]) as browser:
            _mail(screen, stage)
            page = browser.page(size=SIZE)
            _log_in(page, stage)
            for name, address in PICTURES.items():
                _picture(page, f"{stage.web}{address}", folder / name)
                screen.good(f"{folder / name} was made.")
    except (Unavailable, Trouble) as fault:
        screen.bad(f"No pictures: {fault}")
        return 1
    return 0


def _mail(screen: Screen, stage: Stage) -> None:
    with Follower(stage.gateway.home, screen.log) as log:
        log.wait("Info: ", 1)
        for letter in LETTERS:
            deliver(screen, stage, log, letter)
        fail_in_the_handshake(screen, stage, log)
        hold_back(screen, stage, log)


def _log_in(page: Page, stage: Stage) -> None:
    page.goto(f"{stage.web}login")
    page.fill("#name", "admin")
    page.fill("#password", stage.password)
    page.locator("form button").first.click()
    page.wait_for_url(stage.web)


def _picture(page: Page, address: str, path: Path) -> None:
    answer = page.goto(address)
    if answer is None or answer.status != 200:
        raise Trouble(f"{address} is not shown")
    page.screenshot(path=str(path))
    if path.stat().st_size > MOST:
        raise Trouble(f"{path} has more than {MOST} bytes")


if __name__ == "__main__":
    sys.exit(main())
