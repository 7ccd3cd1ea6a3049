"""Wireshark's programs as readers of captures: the Debian packages, unpacked and run as programs."""

from __future__ import annotations

import functools
import subprocess
from pathlib import Path

from lab import Trouble
from lab.debs import Tree, unpacked
from lab.process import plain_environment

_SECONDS = 120


@functools.cache
def _trees() -> tuple[Tree, Tree]:
    return unpacked("tshark"), unpacked("wireshark-common")


def ready() -> None:
    """Fetch what is needed. Raises Unavailable."""
    _trees()


def _run(tree: Tree, program: str, words: list[str]) -> str:
    shark = _trees()[0]
    environment = plain_environment() | {
        "LD_LIBRARY_PATH": shark.libraries(),
        "WIRESHARK_DATA_DIR": str(shark.path("usr/share/wireshark")),
        "WIRESHARK_PLUGIN_DIR": "/nonexistent",
        "HOME": "/nonexistent",
        "LC_ALL": "C.UTF-8",
    }
    done = subprocess.run(
        [str(tree.path(f"usr/bin/{program}")), *words],
        env=environment,
        capture_output=True,
        check=False,
        timeout=_SECONDS,
    )
    if done.returncode:
        raise Trouble(f"{program} failed: {done.stderr.decode('utf-8', 'replace')[-500:]}")
    return done.stdout.decode("utf-8", "replace")


def tshark(file: Path, *words: str, smtp_port: int | None = None) -> str:
    """What tshark prints about a capture. Ports that are not SMTP's own are told by `smtp_port`.

    Checksums are verified; nothing but what is in the file opens what is encrypted."""
    checks = ["-o", "tcp.check_checksum:TRUE", "-o", "ip.check_checksum:TRUE"]
    ports = ["-d", f"tcp.port=={smtp_port},smtp"] if smtp_port is not None else []
    return _run(_trees()[0], "tshark", ["-n", "-r", str(file), *checks, *ports, *words])


def fields(file: Path, *names: str, smtp_port: int | None = None, of: str = "") -> list[tuple[str, ...]]:
    """The fields of each packet that the display filter `of` lets through and that has any of them."""
    words = ["-T", "fields", *(word for name in names for word in ("-e", name))]
    found = tshark(file, *words, *(("-Y", of) if of else ()), smtp_port=smtp_port)
    rows = [tuple(line.split("\t")) for line in found.split("\n")]
    return [row for row in rows if any(row)]


def capinfos(file: Path) -> dict[str, str]:
    """What capinfos says about the file as a whole. Raises Trouble for one that it finds damaged."""
    found = _run(_trees()[1], "capinfos", [str(file)])
    pairs = (line.partition(":") for line in found.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}
