"""What is going on with directories, as values: for `ldapstatus`, from each worker. PURE."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from mxseal.directory.cache import CacheState


class HostState(msgspec.Struct, frozen=True, kw_only=True):
    """One host of a profile, as one process has it."""

    host: str
    """host:port."""
    connections: int = 0
    pending: int = 0
    """Questions that are not answered yet."""
    opened: int = 0
    """Connections since the start."""
    answered: int = 0
    failed: int = 0
    timeouts: int = 0
    resting: float = 0.0
    """Seconds until it is asked again after a failure; 0: it is in use."""
    last_error: str = ""


class ProfileState(msgspec.Struct, frozen=True, kw_only=True):
    """One profile."""

    name: str
    hosts: tuple[HostState, ...]
    cache: CacheState
    shared: int = 0
    """Questions that had no need of their own: the same one was on its way."""


def together(states: Iterable[ProfileState]) -> list[ProfileState]:
    """Those of all processes added up, by profile."""
    found: dict[str, ProfileState] = {}
    for state in states:
        known = found.get(state.name)
        found[state.name] = state if known is None else _sum(known, state)
    return list(found.values())


def _sum(one: ProfileState, other: ProfileState) -> ProfileState:
    hosts = {host.host: host for host in one.hosts}
    for host in other.hosts:
        known = hosts.get(host.host)
        hosts[host.host] = host if known is None else _host_sum(known, host)
    cache, more = one.cache, other.cache
    return ProfileState(
        name=one.name,
        hosts=tuple(hosts.values()),
        cache=CacheState(
            entries=cache.entries + more.entries,
            negative=cache.negative + more.negative,
            most=cache.most + more.most,
            hits=cache.hits + more.hits,
            misses=cache.misses + more.misses,
            dropped=cache.dropped + more.dropped,
        ),
        shared=one.shared + other.shared,
    )


def _host_sum(one: HostState, other: HostState) -> HostState:
    return HostState(
        host=one.host,
        connections=one.connections + other.connections,
        pending=one.pending + other.pending,
        opened=one.opened + other.opened,
        answered=one.answered + other.answered,
        failed=one.failed + other.failed,
        timeouts=one.timeouts + other.timeouts,
        resting=max(one.resting, other.resting),
        last_error=one.last_error or other.last_error,
    )
