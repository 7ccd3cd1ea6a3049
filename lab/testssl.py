"""testssl.sh as a second opinion about a server's TLS: the Debian package, unpacked and run as a program."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Sequence
from pathlib import Path

import msgspec

from lab import Trouble
from lab.debs import unpacked

_SECONDS = 300
# It waits in steps of a second for answers that are there at once on loopback; addresses are given to it, so
# the look-up tool that it insists on has nothing to do.
_STANDING_IN = {"sleep": "exec /bin/sleep 0.02", "host": "exit 1"}


_VERSIONS = {
    "TLS1_3": "TLSv1.3",
    "TLS1_2": "TLSv1.2",
    "TLS1_1": "TLSv1.1",
    "TLS1": "TLSv1",
    "SSLv3": "SSLv3",
}


class Opinion(msgspec.Struct, frozen=True):
    """Its findings by their identifiers, such as TLS1_2 or cert_trust."""

    findings: dict[str, str]

    @property
    def versions(self) -> dict[str, bool]:
        """Whether each is offered, by OpenSSL's names."""
        found = self.findings
        return {ours: found[theirs].startswith("offered") for theirs, ours in _VERSIONS.items()}

    def ciphers(self, version: str) -> set[str]:
        """IANA names of the suites of one version, when it was run with -E."""
        mark = f"cipher-{version.lower().replace('v', '').replace('.', '_')}_x"
        return {text.split()[-1] for name, text in self.findings.items() if name.startswith(mark)}


async def second_opinion(folder: Path, port: int, name: str, root: bytes, words: Sequence[str]) -> Opinion:
    """Ask it about the SMTP server on this port of 127.0.0.1, whose name is `name`. Raises Unavailable."""
    tree = unpacked("testssl.sh")
    folder.mkdir(parents=True, exist_ok=True)
    for program, line in _STANDING_IN.items():
        (folder / program).write_text(f"#!/bin/sh\n{line}\n")
        (folder / program).chmod(0o755)
    (folder / "root.pem").write_bytes(root)
    found = folder / "findings.json"
    found.unlink(missing_ok=True)
    options = ["--quiet", "--color", "0", "--warnings", "batch", "--nodns", "none", "--starttls", "smtp"]
    files = ["--add-ca", str(folder / "root.pem"), "--jsonfile", str(found)]
    environment = {
        **os.environ,
        "PATH": f"{folder}:{os.environ['PATH']}",
        "TESTSSL_INSTALL_DIR": str(tree.path("etc/testssl")),
        "MAX_WAITSOCK": "500",
    }
    running = await asyncio.create_subprocess_exec(
        "bash",
        str(tree.path("usr/bin/testssl")),
        *(*options, *files, *words, "--ip", "127.0.0.1", f"{name}:{port}"),
        env=environment,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        said, _ = await asyncio.wait_for(running.communicate(), _SECONDS)
    finally:
        if running.returncode is None:
            running.kill()
            await running.wait()
    if not found.exists():
        raise Trouble(f"testssl.sh told nothing: {said.decode(errors='replace')[-500:]}")
    return Opinion({entry["id"]: entry["finding"] for entry in json.loads(found.read_text())})
