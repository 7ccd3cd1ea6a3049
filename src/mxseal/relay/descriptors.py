"""Whether the process has descriptors left for what it must go on doing: delivering, storing, logging.

At the limit of open files there are connections that nobody can take, and content that can't be written to
disk. So new connections are refused before the limit is reached, and those that stand go on.
"""

from __future__ import annotations

import os
import resource

_LARGEST_RESERVE = 64


def reserve(limit: int) -> int:
    """Descriptors that new connections may not take, of a limit."""
    return min(_LARGEST_RESERVE, limit // 4)


def crowded() -> bool:
    """Whether only the reserve is left. The system gives out the lowest free number: one look tells."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    try:
        lowest = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return True
    os.close(lowest)
    return lowest >= limit - reserve(limit)


def raise_limit() -> None:
    """As many descriptors as the system lets this process have: the usual soft limit is for programs that
    use select(2). For the start of a process."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
