"""Debian's Chromium, unpacked and not installed, with a profile of its own that trusts the roots it is given.

with Browser([authority.root_pem]) as browser:
    page = browser.page(language="nl", dark=True)
    page.goto(...)
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from cryptography import x509
from playwright.sync_api import Browser as Engine
from playwright.sync_api import BrowserContext, Page, Playwright, sync_playwright

from lab import Trouble
from lab.debs import Tree, unpacked
from lab.place import LOOPBACK, new_folder

_PULSE = "usr/lib/x86_64-linux-gnu/pulseaudio"
_FONTS = """<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig>
  <dir>{fonts}</dir>
  <cachedir>{folder}/fonts</cachedir>
  <alias binding="strong"><family>system-ui</family><prefer><family>Inter</family></prefer></alias>
  <alias binding="strong"><family>sans-serif</family><prefer><family>Inter</family></prefer></alias>
  <alias binding="strong"><family>ui-monospace</family><prefer><family>{mono}</family></prefer></alias>
  <alias binding="strong"><family>monospace</family><prefer><family>{mono}</family></prefer></alias>
</fontconfig>
"""
"""The same letters on every machine: pictures can be compared."""


class Browser:
    """One Chromium. `page` opens a window of its own each time: nothing is shared but the trust."""

    def __init__(self, roots: Sequence[bytes], names: Sequence[str] = ()) -> None:
        """`roots`: certificates (PEM) to trust, beside those that Chromium brings; one that is no authority
        is trusted for itself alone. `names`: hosts that it finds on loopback, as a name server would say.
        Raises Unavailable."""
        self._roots = list(roots)
        self._names = list(names)
        self._tree = unpacked("chromium")
        self._tools = unpacked("libnss3-tools")
        self._folder = new_folder("browser")
        self._playwright: Playwright | None = None
        self._engine: Engine | None = None
        self._contexts: list[BrowserContext] = []

    def __enter__(self) -> Self:
        try:
            self._trust()
            (self._folder / "fonts.conf").write_text(
                _FONTS.format(
                    fonts=self._tree.path("usr/share/fonts"), folder=self._folder, mono="DejaVu Sans Mono"
                )
            )
            self._playwright = sync_playwright().start()
            self._engine = self._playwright.chromium.launch(
                executable_path=str(self._tree.path("usr/lib/chromium/chromium")),
                args=["--no-sandbox", "--disable-gpu", "--force-color-profile=srgb", *self._found()],
                env=self._environment(self._tree),
            )
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the browser; its profile is removed."""
        if self._engine is not None:
            self._engine.close()
        if self._playwright is not None:
            self._playwright.stop()
        self._engine = self._playwright = None
        shutil.rmtree(self._folder, ignore_errors=True)

    def page(
        self,
        *,
        language: str = "en",
        dark: bool = False,
        size: tuple[int, int] = (1280, 860),
        script: bool = True,
    ) -> Page:
        """A new window, as a browser of somebody else. `script`: whether JavaScript is on."""
        assert self._engine is not None, "the browser runs within `with`"
        context = self._engine.new_context(
            locale={"en": "en-GB", "nl": "nl-NL"}.get(language, language),
            color_scheme="dark" if dark else "light",
            viewport={"width": size[0], "height": size[1]},
            reduced_motion="reduce",
            java_script_enabled=script,
        )
        context.set_default_timeout(15_000)
        return context.new_page()

    def _found(self) -> list[str]:
        rules = ",".join(f"MAP {name} {LOOPBACK}" for name in self._names)
        return [f"--host-resolver-rules={rules}"] if rules else []

    def _environment(self, tree: Tree) -> dict[str, str | float | bool]:
        keep = {name: os.environ[name] for name in ("PATH", "TMPDIR", "TZ") if name in os.environ}
        return {
            **keep,
            "HOME": str(self._folder),
            "FONTCONFIG_FILE": str(self._folder / "fonts.conf"),
            "LC_ALL": "C.UTF-8",
            # libpulse finds its own half in a folder that its run path names from /
            "LD_LIBRARY_PATH": f"{tree.libraries()}:{tree.path(_PULSE)}",
        }

    def _trust(self) -> None:
        """An NSS database with the roots, where Chromium looks for one."""
        database = self._folder / ".pki" / "nssdb"
        database.mkdir(parents=True)
        password = self._folder / "empty"
        password.write_text("")
        self._certutil(database, "-N", "--empty-password")
        for number, root in enumerate(self._roots):
            file = self._folder / f"root-{number}.pem"
            file.write_bytes(root)
            trust = "C,," if _signs(root) else "P,,"
            self._certutil(
                database, "-A", "-t", trust, "-n", f"root {number}", "-i", str(file), "-f", str(password)
            )

    def _certutil(self, database: Path, *words: str) -> None:
        program = str(self._tools.path("usr/bin/certutil"))
        environment = {name: str(value) for name, value in self._environment(self._tools).items()}
        environment["LD_LIBRARY_PATH"] += f":{self._tree.libraries()}"
        # Without a terminal it asks for ever when it misses a password.
        done = subprocess.run(
            [program, "-d", f"sql:{database}", *words], env=environment, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        if done.returncode:
            raise Trouble(f"certutil {words[0]} failed: {done.stderr.strip()[-500:]}")


def _signs(certificate: bytes) -> bool:
    """Whether it is an authority's."""
    try:
        extensions = x509.load_pem_x509_certificate(certificate).extensions
        return extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False
