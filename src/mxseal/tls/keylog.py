"""The secrets of single connections, for recordings of them (draft-ietf-tls-keylogfile).

OpenSSL has one callback for a whole context, and calls it for each of its connections. It is put there when a
connection that is listened to begins, told apart by the connection, and taken away with the last of them:
nobody else's secrets are kept, and where nothing is recorded there is no callback at all.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from OpenSSL import SSL
from OpenSSL._util import ffi, lib

Listener = Callable[[str], object]
_wanted: dict[Any, Listener] = {}
"""By OpenSSL's connection."""
_contexts: dict[Any, set[Any]] = {}
"""OpenSSL's context to those of its connections that are listened to."""


@ffi.callback("void (*)(const SSL *, const char *)")  # type: ignore[untyped-decorator]
def _heard(connection: Any, line: Any) -> None:
    listener = _wanted.get(connection)
    if listener is not None:
        listener(ffi.string(line).decode("ascii", "replace"))


def listen(connection: SSL.Connection, context: SSL.Context, listener: Listener) -> None:
    """Hand each line of a connection that has not begun its handshake to `listener`; `forget` must follow."""
    ssl = connection._ssl  # noqa: SLF001 - the callback gets it
    _wanted[ssl] = listener
    follow(connection, context)


def follow(connection: SSL.Connection, context: SSL.Context) -> None:
    """The connection goes on with another context, chosen by server name: OpenSSL asks that one then."""
    ssl = connection._ssl  # noqa: SLF001
    if ssl not in _wanted:
        return
    raw = context._context  # noqa: SLF001
    _contexts.setdefault(raw, set()).add(ssl)
    # pyOpenSSL's own call refuses a context that was used. For OpenSSL it is a pointer that is looked at when
    # a secret is at hand, and handshakes and this call are on one thread.
    lib.SSL_CTX_set_keylog_callback(raw, _heard)


def forget(connection: SSL.Connection) -> None:
    """The connection's secrets are of no more interest."""
    ssl = connection._ssl  # noqa: SLF001
    _wanted.pop(ssl, None)
    for raw, connections in list(_contexts.items()):
        connections.discard(ssl)
        if not connections:
            lib.SSL_CTX_set_keylog_callback(raw, ffi.NULL)
            del _contexts[raw]


def listening() -> int:
    """How many connections are listened to."""
    return len(_wanted)
