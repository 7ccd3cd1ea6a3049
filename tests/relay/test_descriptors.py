"""New connections stop before the descriptors do."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator

import pytest

from mxseal.relay.descriptors import crowded, raise_limit, reserve


@pytest.fixture(autouse=True)
def limit() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_only_the_reserve_is_kept_back() -> None:
    assert not crowded()
    lowest = os.open(os.devnull, os.O_RDONLY)
    os.close(lowest)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    small = next(n for n in range(lowest + 1, 10_000) if n - reserve(n) > lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (small, hard))
    assert not crowded()
    taken = os.open(os.devnull, os.O_RDONLY)
    assert crowded()
    os.close(taken)
    assert not crowded()


def test_at_the_very_limit_it_is_crowded() -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    assert crowded()


def test_the_soft_limit_is_raised_to_the_hard_one() -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 256), hard))
    raise_limit()
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)
