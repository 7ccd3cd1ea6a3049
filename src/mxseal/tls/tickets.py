"""Session tickets that several processes honour: contexts made before the processes part.

OpenSSL invents the keys of session tickets (RFC 5077, RFC 8446 §4.6.1) when it makes a context, and there is
no way to set them from Python. So empty contexts are made in the process from which the workers are forked; a
worker sets one of them up for a listener, and all workers take the same one for the same configuration. A
client's ticket is then good at whichever worker takes its next connection.
"""

from __future__ import annotations

import hashlib

from OpenSSL import SSL

_CONTEXTS = 32
"""40 KB each, shared by the processes as long as they are not used."""

_stock: list[SSL.Context | None] = []


def lay_in() -> None:
    """Make the contexts. For the process that forks the others, before it does."""
    _stock[:] = [SSL.Context(SSL.TLS_SERVER_METHOD) for _ in range(_CONTEXTS)]


def context_for(configuration: str) -> SSL.Context:
    """An empty context for servers: of the stock the one that is meant for this configuration (any text that
    says all of it), else the next that is left, else one with ticket keys of its own.

    Each is given out once: a context that connections have used can't be set up again."""
    first = int.from_bytes(hashlib.sha256(configuration.encode()).digest()[:8])
    for step in range(len(_stock)):
        at = (first + step) % len(_stock)
        context, _stock[at] = _stock[at], None
        if context is not None:
            return context
    return SSL.Context(SSL.TLS_SERVER_METHOD)
