"""Reading logs: which files there are, searching and following them. Knows lines, nothing of events."""

from __future__ import annotations

from mxseal.logs.follow import Bell, polling, tail
from mxseal.logs.pattern import PatternError
from mxseal.logs.retained import Subscription, UnknownLog, subscription, subscriptions
from mxseal.logs.search import Query, grep

__all__ = [
    "Bell",
    "PatternError",
    "Query",
    "Subscription",
    "UnknownLog",
    "grep",
    "polling",
    "subscription",
    "subscriptions",
    "tail",
]
