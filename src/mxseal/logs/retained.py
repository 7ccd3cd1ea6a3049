"""The files of a log: `<home>/logs/<subscription>/<filename>.@<stamp>.<status>` (reference §4.1).

The stamp is the moment at which the file was begun, `YYYYMMDDTHHMMSS`; stamps of one subscription only
grow, so that their order is the order of the lines, also when a clock was set back. Status `current`: being
written; `s`: saved.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Literal

import msgspec

Status = Literal["current", "s"]
_NAME = re.compile(r"(?P<filename>[A-Za-z0-9_-]+)\.@(?P<stamp>\d{8}T\d{6})\.(?P<status>current|s)")

KINDS = {
    "mail_logs": "Text Mail Logs",
    "json_logs": "JSON Event Logs",
    "authentication": "Authentication Logs",
    "audit_logs": "Audit Logs",
    "ldap_debug": "LDAP Debug Logs",
}
"""Type of each log that the gateway writes, by the subscription's name."""


class UnknownLog(ValueError):
    """There is no log of that name; the text names those that there are."""


class Retained(msgspec.Struct, frozen=True):
    """One file that is kept."""

    stamp: str
    path: Path
    current: bool


class Subscription(msgspec.Struct, frozen=True, kw_only=True):
    """A log by its name, with what a table of logs shows (reference §6.2)."""

    name: str
    kind: str
    folder: Path
    retrieval: str = "Manual Download"
    interval: str = "None"


def logs_folder(home: Path) -> Path:
    return home / "logs"


def file_path(folder: Path, filename: str, stamp: str, status: Status) -> Path:
    return folder / f"{filename}.@{stamp}.{status}"


def retained(folder: Path) -> list[Retained]:
    """Files of the subscription in `folder`, oldest first; others are ignored. Empty without the folder."""
    try:
        names = [path.name for path in folder.iterdir()]
    except FileNotFoundError:
        return []
    matches = [match for name in names if (match := _NAME.fullmatch(name))]
    found = [
        Retained(match["stamp"], folder / match.string, match["status"] == "current") for match in matches
    ]
    return sorted(found, key=lambda entry: (entry.stamp, entry.current))


def open_retained(entry: Retained) -> int | None:
    """A descriptor to read `entry` with, also when it was saved meanwhile; None when it was deleted."""
    saved = entry.path.with_suffix(".s")
    for path in (entry.path, saved):
        try:
            return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
    return None


def subscriptions(home: Path) -> list[Subscription]:
    """The logs of this home that have a folder, in alphabetical order."""
    folder = logs_folder(home)
    try:
        names = sorted(entry.name for entry in os.scandir(folder) if entry.is_dir())
    except FileNotFoundError:
        return []
    return [
        Subscription(name=name, kind=KINDS.get(name, "Text Logs"), folder=folder / name)
        for name in names
        if retained(folder / name)
    ]


def subscription(home: Path, name: str) -> Subscription:
    """The log called `name`. Raises UnknownLog: a name comes from a user and is never used as a path."""
    known = subscriptions(home)
    for entry in known:
        if entry.name == name:
            return entry
    names = ", ".join(entry.name for entry in known) or "none yet"
    raise UnknownLog(f"There is no log called {name!r}. Logs of this gateway: {names}.")
