"""The JSON log: each event as one line, encoded as it is. Its fields are described in docs/json-log.md."""

from __future__ import annotations

from typing import Any

import msgspec

from mxseal.config.subscriptions import LogWanted
from mxseal.events.types import Event, InboundTlsFailed, MessageReceived, OutboundTlsFailed
from mxseal.sinks.files import LogFile, Surroundings

_ENCODER = msgspec.json.Encoder()
_CERTIFICATE_BYTES = 4096
"""A longer leaf is left out: a peer may send 100 KB of certificates at each attempt."""


def encode(event: Event) -> bytes:
    """One line of JSON with its newline; bytes are base64. Never contains another newline."""
    if isinstance(event, InboundTlsFailed | OutboundTlsFailed):
        event = _with_leaf_only(event)
    try:
        return _ENCODER.encode(event) + b"\n"
    except UnicodeEncodeError:
        # Bytes of a stranger that were no UTF-8 stand in the text as lone surrogates, which JSON can't hold.
        return _ENCODER.encode(encodable(msgspec.to_builtins(event))) + b"\n"


def _with_leaf_only(event: InboundTlsFailed | OutboundTlsFailed) -> Event:
    if event.fault is None or not event.fault.peer_certificates:
        return event
    leaf = tuple(der for der in event.fault.peer_certificates[:1] if len(der) <= _CERTIFICATE_BYTES)
    return msgspec.structs.replace(event, fault=msgspec.structs.replace(event.fault, peer_certificates=leaf))


def encodable(value: Any) -> Any:
    """The value with what is no UTF-8 written as escapes."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {key: encodable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [encodable(item) for item in value]
    return value


class _NoFraming:
    """Every line is an event: a file begins with the first and ends with the last."""

    def head(self, _at: float) -> bytes:
        return b""

    def foot(self, _at: float) -> bytes:
        return b""


class JsonLog:
    """The sink: `<home>/logs/<name>/<filename>.@<stamp>.current`. Has all events, whatever the level."""

    def __init__(self, around: Surroundings, log: LogWanted) -> None:
        self._subjects = log.logs.headers
        self.file = LogFile(log.name, log.filename, _NoFraming(), log.logs, around)

    def handle(self, event: Event) -> None:
        if not self._subjects and isinstance(event, MessageReceived):
            event = msgspec.structs.replace(event, subject=None)
        self.file.write(encode(event))

    def ready(self) -> bool:
        return self.file.ready()

    def configure(self, log: LogWanted) -> None:
        self._subjects = log.logs.headers
        self.file.configure(log.logs, log.filename)
