"""Changes of a cluster: a document that was edited at a level, settings copied and cleared between levels,
and differences between two states of a cluster."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import msgspec

from mxseal.cluster.levels import Cluster, Level, Refused, origin, view, with_settings
from mxseal.cluster.settings import (
    MACHINE,
    Settings,
    certificate_of,
    clusterable,
    join,
    split,
    whole_settings,
)
from mxseal.config.diff import Change, diff, replay
from mxseal.config.model import Document, Plain
from mxseal.config.problem import Problem


def edit(cluster: Cluster, level: Level, document: Document) -> Cluster:
    """What was changed in the level's view, put at that level. Raises Refused for a setting that the level
    has not itself: a change there would silently cut it off from the levels above."""
    before, after = split(view(cluster, level)), split(document)
    own: dict[str, Plain] = dict(cluster.at(level))
    for name in dict.fromkeys([*before, *after]):
        if before.get(name) == after.get(name):
            continue
        _writable(cluster, level, name)
        if name in after:
            own[name] = after[name]
        elif certificate_of(name) is not None or level.kind == "cluster":
            own.pop(name, None)
        else:
            own[name] = {}
    return with_settings(cluster, level, own)


def _writable(cluster: Cluster, level: Level, setting: str) -> None:
    if not clusterable(setting):
        if level.kind != "machine":
            raise Refused(
                "Hostname, interfaces and workers are each machine's own: 'clustermode machine NAME' first; "
                f"now it is {level}"
            )
        return
    where = origin(cluster, level, setting)
    if where is None or where == level:
        return
    raise Refused(
        f"The setting {setting!r} comes from {where}; {level} has none of its own. Change it there "
        f"('clustermode {where.words}'), or give {level} its own first: 'clusterset copy {_quoted(setting)} "
        f"--to {_quoted(level.words)}', or 'clusterset new' for an empty one"
    )


def _quoted(words: str) -> str:
    return f'"{words}"' if " " in words else words


# --- settings between levels -------------------------------------------------------------------------------


def known_settings(cluster: Cluster) -> list[str]:
    """Every setting that there can be, and every certificate that there is."""
    certificates = (
        name for level in cluster.levels() for name in cluster.at(level) if certificate_of(name) is not None
    )
    return [*whole_settings(), *dict.fromkeys(certificates)]


def begin(cluster: Cluster, level: Level, setting: str) -> Cluster:
    """A new, empty override. Raises Refused."""
    _movable(cluster, level, setting)
    if setting in cluster.at(level):
        raise Refused(f"{level} has the setting {setting!r} already: 'clusterset clear' takes it away")
    if certificate_of(setting) is not None:
        raise Refused("A certificate can't be empty: import one at this level, or copy it")
    return with_settings(cluster, level, {**cluster.at(level), setting: {}})


def copy(cluster: Cluster, setting: str, source: Level, target: Level) -> Cluster:
    """The value of `source` (its own or inherited) becomes that of `target`. Raises Refused."""
    _movable(cluster, target, setting)
    where = origin(cluster, source, setting)
    if where is None and certificate_of(setting) is not None:
        raise Refused(f"{source} has no {setting}")
    value = {} if where is None else cluster.at(where)[setting]
    return with_settings(cluster, target, {**cluster.at(target), setting: value})


def move(cluster: Cluster, setting: str, source: Level, target: Level) -> Cluster:
    """From one level, which must have it itself, to another. Raises Refused."""
    if source == target:
        raise Refused(f"{setting!r} is at {source} already")
    if setting not in cluster.at(source):
        raise Refused(
            f"{source} has no setting {setting!r} of its own. 'clusterset list' says where it comes from"
        )
    return clear(copy(cluster, setting, source, target), source, setting)


def clear(cluster: Cluster, level: Level, setting: str) -> Cluster:
    """Take a level's own value away: it inherits again. Raises Refused."""
    _movable(cluster, level, setting)
    if setting not in cluster.at(level):
        raise Refused(
            f"{level} has no setting {setting!r} of its own. 'clusterset list' says where it comes from"
        )
    settings = {name: value for name, value in cluster.at(level).items() if name != setting}
    return with_settings(cluster, level, settings)


def _movable(cluster: Cluster, level: Level, setting: str) -> None:
    cluster.at(level)
    if setting == MACHINE:
        raise Refused("Hostname, interfaces and workers are each machine's own and stay there")
    if setting not in known_settings(cluster):
        raise Refused(f"There is no setting {setting!r}. 'clusterset list' shows those that there are")


# --- differences -------------------------------------------------------------------------------------------


def differences(before: Cluster, after: Cluster) -> list[Change]:
    """What changed, level by level. A path at the cluster's level is that of the document; elsewhere the
    level stands before it. A setting that came or went as a whole, though empty, is a change too."""
    return [change for level in _both(before, after) for change in _at_level(level, before, after)]


def _both(before: Cluster, after: Cluster) -> Iterator[Level]:
    there = list(after.levels())
    yield from there
    yield from (level for level in before.levels() if level not in there and level.kind != "cluster")


def _own(cluster: Cluster, level: Level) -> Settings:
    try:
        return cluster.at(level)
    except Refused:
        return {}


def _at_level(level: Level, before: Cluster, after: Cluster) -> Iterator[Change]:
    old, new = _own(before, level), _own(after, level)
    prefix = _prefix(level)
    for change in diff(_alone(old), _alone(new)):
        yield msgspec.structs.replace(change, parts=(*prefix, *change.parts))
    for name in dict.fromkeys([*old, *new]):
        if (name in old) != (name in new) and certificate_of(name) is None and level.kind != "cluster":
            kind, words = ("added", "own value") if name in new else ("removed", "own value")
            yield Change(
                "added" if kind == "added" else "removed",
                (*prefix, _OVERRIDE, name),
                words if name in old else None,
                words if name in new else None,
            )


_OVERRIDE = "override"


def _prefix(level: Level) -> tuple[str, ...]:
    return () if level.kind == "cluster" else (f"{level.kind} {level.name}",)


def _alone(settings: Settings) -> Document:
    document = join(settings)
    if isinstance(document, Document):
        return document
    raise Refused("; ".join(map(str, document)))


def replayed(cluster: Cluster, changes: Sequence[Change]) -> Cluster | list[Problem]:
    """`cluster` with changes made to it, those of `differences`. What no level is there for any more is a
    problem."""
    for level in list(cluster.levels()):
        mine = [_stripped(change, level) for change in changes if _belongs(change, level)]
        if not mine:
            continue
        own = dict(cluster.at(level))
        made = replay(_alone(own), [change for change in mine if change.parts[0] != _OVERRIDE])
        if isinstance(made, list):
            return made
        settings = split(made)
        kept = {
            name: settings.get(name, {}) for name in own if certificate_of(name) is None or name in settings
        }
        own = {**kept, **settings} if level.kind != "cluster" else settings
        own = _overrides(own, mine)
        cluster = with_settings(cluster, level, own)
    known = {prefix for level in cluster.levels() for prefix in _prefix(level)}
    gone = {c.parts[0] for c in changes if c.parts[0].startswith(("group ", "machine "))} - known
    return [Problem(each, "is not there any more") for each in sorted(gone)] or cluster


def _overrides(own: dict[str, Plain], changes: Iterable[Change]) -> dict[str, Plain]:
    for change in changes:
        if change.parts[0] != _OVERRIDE:
            continue
        if change.kind == "removed":
            own.pop(change.parts[1], None)
        else:
            own.setdefault(change.parts[1], {})
    return own


def _belongs(change: Change, level: Level) -> bool:
    prefix = _prefix(level)
    if prefix:
        return change.parts[0] == prefix[0]
    return not change.parts[0].startswith(("group ", "machine "))


def _stripped(change: Change, level: Level) -> Change:
    return msgspec.structs.replace(change, parts=change.parts[len(_prefix(level)) :])


def settings_of(old: Cluster, now: Cluster) -> Cluster:
    """The settings of `old` on the groups and machines of `now`; what `old` did not know keeps its own."""
    for level in list(now.levels()):
        if level.kind == "cluster":
            now = with_settings(now, level, old.settings)
        elif level in old.levels():
            now = with_settings(now, level, old.at(level))
    return now
