"""Differences between two documents, entry by entry, and the replay of differences on a third document.

Entries of named lists are matched by their name, so that a path is what a person would write.
"""

from __future__ import annotations

import base64
import binascii
import copy
import hashlib
from collections.abc import Iterable, Sequence
from typing import Any, Literal

import msgspec

from mxseal.config.check import Problem, key_path
from mxseal.config.model import Document, Plain
from mxseal.config.toml import NAMED, from_plain

Kind = Literal["added", "removed", "changed", "reordered"]


class Change(msgspec.Struct, frozen=True):
    """One difference. `old` is None for what was added, `new` for what was removed.

    Values are those of the document; an added or removed entry is a table without its defaults; for a new
    order both are the names in their order.
    """

    kind: Kind
    parts: tuple[str, ...]
    old: Any
    new: Any

    @property
    def path(self) -> str:
        return key_path(*self.parts)

    @property
    def old_text(self) -> str:
        return "" if self.kind == "added" else shown(self.old)

    @property
    def new_text(self) -> str:
        return "" if self.kind == "removed" else shown(self.new)


def diff(old: Document, new: Document) -> list[Change]:
    """What changed from `old` to `new`, in the order of the document's keys."""
    before, after = _tree(old), _tree(new)
    lean = (_tree(old, lean=True), _tree(new, lean=True))
    changes = list(_compare((), before, after, lean))
    for field in NAMED:
        kept = [name for name in before[field] if name in after[field]]
        appended = [name for name in after[field] if name not in before[field]]
        if list(after[field]) != kept + appended:  # also when an entry was added elsewhere than at the end
            changes.append(Change("reordered", (field,), tuple(before[field]), tuple(after[field])))
    return changes


def overlap(ours: Iterable[Change], theirs: Iterable[Change]) -> list[tuple[Change, Change]]:
    """Pairs that touch the same thing and do not agree on it."""
    other = list(theirs)
    return [(mine, yours) for mine in ours for yours in other if _meet(mine, yours)]


def replay(document: Document, changes: Sequence[Change]) -> Document | list[Problem]:
    """`document` with `changes` made to it; entries that the changes do not know keep their place."""
    tree = _tree(document)
    for change in changes:
        if change.kind == "reordered":
            tree[change.parts[0]] = _reorder(tree[change.parts[0]], change.new)
        else:
            _put(tree, change)
    plain: Plain = {field: list(value.values()) if field in NAMED else value for field, value in tree.items()}
    return from_plain(plain)


# --- documents as trees -----------------------------------------------------------------------------------


def _tree(document: Document, *, lean: bool = False) -> Plain:
    """The document as tables in tables; lists of named entries are tables by name."""
    plain = document.model_dump(exclude_defaults=lean)
    for field, key in NAMED.items():
        entries: Plain = {}
        for entry in plain.get(field, ()):
            name = entry[key]
            while name in entries:  # an invalid candidate may have a name twice
                name += " (again)"
            entries[name] = entry
        plain[field] = entries
    return plain


def _compare(parts: tuple[str, ...], old: Plain, new: Plain, lean: tuple[Plain, Plain]) -> Iterable[Change]:
    for key in [*old, *(key for key in new if key not in old)]:
        here = (*parts, key)
        if key not in new:
            yield Change("removed", here, _at(lean[0], here, old[key]), None)
        elif key not in old:
            yield Change("added", here, None, _at(lean[1], here, new[key]))
        elif isinstance(old[key], dict) and isinstance(new[key], dict):
            yield from _compare(here, old[key], new[key], lean)
        elif old[key] != new[key]:
            yield Change("changed", here, old[key], new[key])


def _at(tree: Plain, parts: tuple[str, ...], otherwise: Any) -> Any:
    value: Any = tree
    for part in parts:
        if not isinstance(value, dict) or part not in value:
            return otherwise
        value = value[part]
    return value


def _meet(mine: Change, yours: Change) -> bool:
    if (mine.kind == "reordered") != (yours.kind == "reordered"):
        return False  # an order holds for whatever entries there are
    shorter = min(len(mine.parts), len(yours.parts))
    if mine.parts[:shorter] != yours.parts[:shorter]:
        return False
    return mine.parts != yours.parts or mine.kind != yours.kind or mine.new != yours.new


def _put(tree: Plain, change: Change) -> None:
    *above, key = change.parts
    table = tree
    for part in above:
        table = table.setdefault(part, {})
    if change.kind == "removed":
        table.pop(key, None)
    else:
        table[key] = copy.deepcopy(change.new)


def _reorder(entries: Plain, names: Sequence[str]) -> Plain:
    """Entries in the order of `names`; one that is not named stays behind its neighbour."""
    order = [name for name in names if name in entries]
    before: str | None = None
    for name in entries:
        if name not in order:
            order.insert(order.index(before) + 1 if before is not None else 0, name)
        before = name
    return {name: entries[name] for name in order}


# --- values for people ------------------------------------------------------------------------------------


def shown(value: Any) -> str:
    """One line for a value; PEM as a short fingerprint."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _pem(value) if value.lstrip().startswith("-----BEGIN ") else value
    if isinstance(value, dict):
        return ", ".join(f"{key} = {shown(entry)}" for key, entry in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(shown(entry) for entry in value) if value else "(empty)"
    return f"{value:.10g}" if isinstance(value, float) else str(value)


def _pem(text: str) -> str:
    """'CERTIFICATE 3F2A90CC…': the label and the first bytes of the SHA-256 of what it holds."""
    lines = text.strip().splitlines()
    label = lines[0].strip().removeprefix("-----BEGIN ").removesuffix("-----")
    body = "".join(line.strip() for line in lines[1:] if not line.startswith("-----"))
    try:
        content = base64.b64decode(body)
    except (binascii.Error, ValueError):
        content = text.encode(errors="replace")
    return f"{label} {hashlib.sha256(content).hexdigest()[:16].upper()}"
