"""What stands beside the mail in the pages' tests: directories, recordings, logs that are sent elsewhere."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from mxseal.capture.orders import Order
from mxseal.clock import ManualClock
from mxseal.commands.services import PushState
from mxseal.config.model import Document
from mxseal.config.toml import from_plain
from mxseal.directory.cache import CacheState
from mxseal.directory.state import HostState, ProfileState
from mxseal.relay.packets import Packets
from mxseal.relay.recordings import Recordings
from mxseal.relay.resolver import Host
from mxseal.storage.captures import About, Captures
from mxseal.storage.sealing import Seal

SECRET = "s3cret of the directory"
_PLAIN: dict[str, Any] = {
    "ldap_profiles": [
        {
            "name": "Staff", "hosts": ["dc1.example.com", "dc2.example.com"], "type": "active-directory",
            "base": "DC=example,DC=com", "bind": "password", "bind_name": "CN=mail,DC=example,DC=com",
            "password": "0123456789abcdef",
        },
        {"name": "Clear", "hosts": ["192.0.2.30"], "security": "none", "base": "o=clear"},
    ],
    "ldap_queries": [
        {"name": "Staff.ldapaccept", "kind": "accept", "profile": "Staff", "filter": "(mail={a})"},
        {"name": "Staff.ldapgroup", "kind": "group", "profile": "Staff", "filter": "(memberOf={g})"},
        {"name": "Clear.ldapaccept", "kind": "accept", "profile": "Clear", "filter": "(mail={a})"},
    ],
    "ldap_chains": [
        {"name": "Everybody", "kind": "accept", "queries": ["Staff.ldapaccept", "Clear.ldapaccept"]}
    ],
    "ldap_groups": [
        {"name": "lawyers", "query": "Staff.ldapgroup", "group": "CN=Lawyers,DC=example,DC=com"}
    ],
    "log_subscriptions": [
        {"name": "mail_logs", "kind": "mail", "push": {"host": "syslog.example.com", "server_name": None}},
        {"name": "ldap_debug", "kind": "ldap"},
    ],
}  # fmt: skip


def surrounded(document: Document) -> Document:
    """The document with directories, a listener that asks one, and a log that is sent over TLS."""
    found = from_plain(_PLAIN)
    assert not isinstance(found, list), found
    use = {"query": "Everybody", "at": "conversation"}
    first = document.listeners[0].model_dump() | {"ldap_accept": use}
    listener = type(document.listeners[0]).model_validate(first)
    return document.model_copy(
        update={
            **{key: getattr(found, key) for key in _PLAIN},
            "listeners": (listener, *document.listeners[1:]),
        }
    )


class Directing:
    """Directories that were asked, one host of which rests."""

    def __init__(self) -> None:
        self.cleared: list[tuple[str, ...]] = []

    async def states(self) -> list[ProfileState]:
        cache = CacheState(entries=40, negative=3, most=10_000, hits=120, misses=43, dropped=0)
        hosts = (
            HostState(host="dc1.example.com:3269", connections=2, opened=2, answered=43, pending=1),
            HostState(
                host="dc2.example.com:3269", failed=2, resting=12.4,
                last_error="the certificate expired on 3 March",
            ),
        )  # fmt: skip
        return [ProfileState(name="Staff", hosts=hosts, cache=cache)]

    async def clear(self, names: Iterable[str] = ()) -> int:
        self.cleared.append(tuple(names))
        return 40


class Names:
    """Every domain has one mail exchanger."""

    async def hosts(self, domain: str, port: int = 25) -> tuple[Host, ...]:
        return (Host(f"mx.{domain}", port, ("192.0.2.25",)),)

    async def host(self, name: str, port: int) -> Host:
        return Host(name, port, ("192.0.2.26",))


def recordings(root: Path, clock: ManualClock) -> tuple[Recordings, Packets]:
    """A folder with one recording; orders go nowhere."""

    def told(_orders: Iterable[Order], _stopped: Iterable[str]) -> None:
        return

    store = Captures(root / "captures", Seal(os.urandom(32)))
    about = About(
        name="20260216-093102-icid8", kind="session", made_at=clock.now() - 600, size=6, user="anna",
        wanted="domain partner.example", number="ICID 8", peer="192.0.2.7 4711",
        remarks=("message content is left out",),
    )  # fmt: skip
    store.store(about, b"pcapng", mark="worker0")
    made = Recordings(store, clock, told, lambda: (7, 256 << 20))
    return made, Packets(made, clock)


def pushes() -> list[PushState]:
    """One that is connected."""
    return [
        PushState(log="mail_logs", server="tls://syslog.example.com:6514", state="connected",
                  since=1_771_234_000.0, sent=812, waiting=0, lost=0),
    ]  # fmt: skip
