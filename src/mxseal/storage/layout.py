"""How the folders of a home lie, by version, and the way from each to the next.

The version is in the file `layout`; a home without one has version 0. Each step can be cut short anywhere and
is then done again from its beginning.
"""

from __future__ import annotations

import os
from pathlib import Path

from mxseal.storage.schema import HomeRefused, newer, sync_folder

LAYOUT = 1
_QUEUE = ("queue.db", "queue.db-wal", "queue.db-shm", "queue.db-journal", "bodies", "incoming")


def read_layout(root: Path) -> int:
    """The version of a home's layout. HomeRefused when it can't be read or a newer program wrote it."""
    path = root / "layout"
    try:
        text = path.read_text().strip()
    except FileNotFoundError:
        return 0
    if not text.isdecimal():
        raise HomeRefused(
            f"{path} holds {text[:20]!r} instead of a number: restore it from a backup, or write {LAYOUT} "
            "into it if this version of MXSeal was the last one that ran here."
        )
    if int(text) > LAYOUT:
        raise newer(path, int(text), LAYOUT)
    return int(text)


def write_layout(root: Path, version: int = LAYOUT) -> None:
    draft = root / "layout.new"
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(f"{version}\n")
        file.flush()
        os.fsync(file.fileno())
    draft.rename(root / "layout")
    sync_folder(root)


def upgrade(root: Path, spool: Path) -> list[str]:
    """Bring a home's folders up to date; what was done, in sentences. Under the home's lock, before anything
    is opened."""
    done = []
    for version in range(read_layout(root), LAYOUT):
        done.append(_STEPS[version](spool))
        write_layout(root, version + 1)
    return done


def _one_queue_each(spool: Path) -> str:
    """0 to 1: the queue in `spool/` becomes the first of several, in `spool/0/`."""
    first = spool / "0"
    first.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name in _QUEUE:
        if (spool / name).exists():
            (spool / name).rename(first / name)
    sync_folder(first)
    sync_folder(spool)
    return f"The queue was moved to {first}."


_STEPS = (_one_queue_each,)
