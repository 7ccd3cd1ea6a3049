"""What the end-to-end tests share: documents, certificates put to use, a message's story in the log."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any, Protocol, TypeVar

import pytest
import tomli_w

from lab import Unavailable
from lab.ca import Issued
from lab.client import Envelope
from lab.gateway import Gateway
from lab.place import LOOPBACK

Server = TypeVar("Server")
LISTENER = "IncomingMail"
HOSTNAME = "mx.lab.test"
STAMP = re.compile(r"[A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d \d{4} (?=[A-Z][a-z]+: )")
"""A line's time, in ctime form, in front of its level."""


class Starter(Protocol):
    """Starts a server and ends it when the tests of a file are over."""

    def __call__(self, make: Callable[[], AbstractContextManager[Server]]) -> Server: ...


@contextmanager
def starter() -> Iterator[Starter]:
    """Servers that stay until the end of the block; skips where one can't run (see tests/conftest.py)."""
    with ExitStack() as stack:

        def start(make: Callable[[], AbstractContextManager[Server]]) -> Server:
            try:
                return stack.enter_context(make())
            except Unavailable as reason:
                if os.environ.get("MXSEAL_LAB") == "required":
                    raise
                pytest.skip(str(reason))

        yield start


# --- documents and certificates ---------------------------------------------------------------------------


def plain_document(port: int, **parts: Any) -> dict[str, Any]:
    """A document as tables: takes mail for example.test, asks for TLS on every delivery. `parts` are laid
    over it, table by table."""
    tables: dict[str, Any] = {
        "hostname": HOSTNAME,
        "listeners": [{"name": LISTENER, "port": port}],
        "sender_groups": [{"name": "RELAYLIST", "members": ["127.0.0.9"], "policy": "RELAYED"}],
        "mail_flow_policies": [
            {"name": "ACCEPTED", "tls": "preferred"},
            {"name": "RELAYED", "action": "relay", "tls": "preferred"},
        ],
        "recipient_access": {"domains": ["example.test"]},
        "destinations": [{"domain": "default", "tls": "required"}],
        "delivery": {"idle_time": 0.5, "first_retry": 300},
    }
    for name, value in parts.items():
        merge = isinstance(value, dict) and isinstance(tables.get(name), dict)
        tables[name] = tables[name] | value if merge else value
    return tables


def document(port: int, **parts: Any) -> str:
    """`plain_document` as TOML."""
    return tomli_w.dumps(plain_document(port, **parts))


def hop(server: Any) -> str:
    """host:port of a server of the laboratory, as a route has it."""
    host, port = server.address
    return f"{host}:{port}"


def put_to_use(gateway: Gateway, name: str, issued: Issued, folder: Path, *flags: str) -> None:
    """Import a certificate with its chain and key, assign it to the listener, commit."""
    files = issued.write(folder, name.lower())
    gateway.text("certconfig", "import", name, str(files.chain), str(files.key))
    gateway.text("certconfig", "assign", name, f"listener:{LISTENER}", *flags)
    gateway.text("commit", f"{name} is put to use")


def envelope(subject: str, *recipients: str, sender: str = "a@sender.test") -> Envelope:
    """A small message that can be told apart by its subject."""
    head = f"From: {sender}\r\nDate: Sat, 14 Feb 2026 19:20:28 +0000\r\nMessage-ID: <{subject}@sender.test>"
    content = f"{head}\r\nSubject: {subject}\r\n\r\nHello.\r\n.dot\r\n"
    return Envelope(sender=sender, recipients=recipients or ("b@example.test",), content=content.encode())


def at(port: int) -> tuple[str, int]:
    """Address of the listener."""
    return LOOPBACK, port


# --- what the logs tell -------------------------------------------------------------------------------------


def events(gateway: Gateway, kind: str, **fields: Any) -> list[dict[str, Any]]:
    """Events of the JSON log of one kind, and with these fields."""
    found = [json.loads(line) for line in gateway.log("json_logs").splitlines()]
    return [e for e in found if e["event"] == kind and all(e[name] == v for name, v in fields.items())]


def mid_of(gateway: Gateway, subject: str) -> int:
    """Number of the message with this subject, once it is in the log."""
    pattern = rf'MID (\d+) Subject "{re.escape(subject)}"'
    found = re.search(pattern, gateway.wait_log(pattern))
    assert found is not None
    return int(found[1])


def delivered(gateway: Gateway, subject: str) -> int:
    """Wait until nothing is left to do for a message and its last connection is closed; its DCID."""
    mid = mid_of(gateway, subject)
    gateway.wait_log(rf"Message finished MID {mid} done")
    dcid = int(re.findall(rf"Message done DCID (\d+) MID {mid} ", gateway.log())[-1])
    gateway.wait_log(rf"DCID {dcid} close")
    return dcid


class Story:
    """All lines about a message and its connections, with numbers counted from 1 and without times."""

    def __init__(self, gateway: Gateway, subject: str, *dcids: int) -> None:
        """`dcids`: connections that failed before they had anything to do with the message."""
        delivered(gateway, subject)
        mid = mid_of(gateway, subject)
        (icid,) = re.findall(rf"Start MID {mid} ICID (\d+)", gateway.log())
        gateway.wait_log(rf"ICID {icid} close")
        self.log = gateway.log()
        used = {int(dcid) for dcid in re.findall(rf"DCID:? (\d+) MID {mid} ", self.log)}
        out = "|".join(str(dcid) for dcid in sorted({*used, *dcids}))
        wanted = re.compile(rf"\b(?:ICID {icid}|MID {mid}|DCID:? (?:{out}))\b")
        lines = [line for line in self.log.splitlines() if wanted.search(line)]
        assert all(STAMP.match(line) for line in lines)
        told = _renumbered([STAMP.sub("", line) for line in lines])
        # The two connections live side by side: only within each is there an order.
        self.incoming = [line for line in told if not _OUTGOING.match(line)]
        self.outgoing = [line for line in told if _OUTGOING.match(line)]


_OUTGOING = re.compile(r"Info: (?:.*\bDCID\b|MID \d+ RID \[.*\] Response|Message finished)")
_MASKS = {
    re.compile(r"\bready \d+ bytes"): "ready N bytes",
    re.compile(r"\bport:? \d{4,}"): "port P",
    re.compile(r"queued as \w+"): "queued as Q",
    re.compile(r"\bid=[\w-]+"): "id=Q",
}


def _renumbered(lines: list[str]) -> list[str]:
    known: dict[str, dict[str, int]] = {}

    def number(match: re.Match[str]) -> str:
        numbers = known.setdefault(match[1], {})
        return f"{match[1]}{match[2]}{numbers.setdefault(match[3], len(numbers) + 1)}"

    found = []
    for line in lines:
        line = re.sub(r"\b(ICID|MID|DCID)(:? )(\d+)", number, line)
        for mask, text in _MASKS.items():
            line = mask.sub(text, line)
        found.append(line)
    return found
