"""The laboratory: real mail and name servers on loopback, for tests, the demonstration and the benchmarks.

Nothing here is part of the product. Every peer listens on 127.0.0.1 alone, keeps its files in a folder of its
own, and ends, by process id, only what it started itself.
"""

from __future__ import annotations


class Unavailable(RuntimeError):
    """This peer can't run on this machine; the text names what is missing and the remedy."""


class Trouble(RuntimeError):
    """A peer that should run did not do what was asked; the text ends with the last lines of its log."""
