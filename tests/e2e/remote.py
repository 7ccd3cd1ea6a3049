"""An administrator with nothing but `ssh`: OpenSSH's client at a gateway of the laboratory."""

from __future__ import annotations

import fcntl
import os
import pty
import subprocess
import termios
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from lab.gateway import Gateway
from tests.faces.ssh_serving import client
from tests.faces.terminal import Terminal

PROMPT = "mx.lab.test> "


class Remote:
    """A gateway with SSH on, and a key that may log in: as `admin`, and as users that `user` makes."""

    def __init__(self, gateway: Gateway, ports: tuple[int, int, int], folder: Path) -> None:
        self.gateway = gateway
        self.smtp, self.port, self.other = ports
        self._folder = folder
        self._ssh, self._libraries = client()
        self._key = folder / "id"
        keygen = str(self._ssh.with_name("ssh-keygen"))
        words = ["-q", "-t", "ed25519", "-N", "", "-f", str(self._key)]
        subprocess.run([keygen, *words], check=True, env=self.environment())
        self._trust("admin")

    def user(self, name: str, role: str) -> str:
        """Make a user who logs in with the same key."""
        self.gateway.text("userconfig", "new", name, role)
        self._trust(name)
        return name

    def _trust(self, name: str) -> None:
        self.gateway.text("userconfig", "sshkey", "add", name, f"{self._key}.pub")

    def environment(self) -> dict[str, str]:
        return dict(os.environ) | {"TERM": "xterm", "LC_ALL": "C.UTF-8"} | self._libraries

    def command(self, *words: str, user: str = "admin", known: bool = False) -> list[str]:
        """`known`: the host key must be the one of the first login."""
        options = {
            "IdentityFile": self._key,
            "IdentitiesOnly": "yes",
            "BatchMode": "yes",
            "LogLevel": "ERROR",
            "UserKnownHostsFile": self._folder / "known",
            "StrictHostKeyChecking": "yes" if known else "accept-new",
        }
        told = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
        return [str(self._ssh), "-F", "/dev/null", "-p", str(self.port), *told, f"{user}@127.0.0.1", *words]

    def run(
        self, *words: str, known: bool = False, user: str = "admin", stdin: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """One `ssh` on pipes."""
        return subprocess.run(
            self.command(*words, user=user, known=known), input=stdin, capture_output=True, text=True,
            timeout=60, check=False, env=self.environment(),
        )  # fmt: skip

    @contextmanager
    def terminal(self, *words: str, user: str = "admin") -> Iterator[Terminal]:
        """`ssh` on a pseudo terminal of its own."""
        line = self.command(user=user)
        line = [line[0], *(["-tt"] if words else []), *line[1:], *words]
        with _terminal(line, self.environment()) as screen:
            yield screen


@contextmanager
def _terminal(line: Sequence[str], environment: dict[str, str]) -> Iterator[Terminal]:
    master, slave = pty.openpty()
    termios.tcsetwinsize(slave, (40, 120))
    process = subprocess.Popen(
        line, stdin=slave, stdout=slave, stderr=slave, env=environment, start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509
    )  # fmt: skip
    os.close(slave)
    try:
        yield Terminal(master, process)
    finally:
        process.kill()
        process.wait()
        os.close(master)
