"""A directory with people, and documents of gateways that ask it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lab.ca import Authority, Issued
from lab.slapd import BASE, Security, Slapd, group, group_name, person
from mxseal.certs.keys import KeyStore
from mxseal.config.model import Certificate
from mxseal.storage.home import Home
from tests.relay.harness import HOSTNAME, _demonstration, listening

FILTER = "(|(mail={a})(proxyAddresses=smtp:{a}))"


def people() -> list[str]:
    """anna by `mail`, bert by `proxyAddresses`, ülf beyond ASCII; groups in groups."""
    return [
        person("anna", "mail: anna@example.com", f"memberOf: {group_name('Lawyers')}"),
        person("bert", "mail: b@elsewhere.test", "proxyAddresses: smtp:bert@example.com"),
        person("udo", "mail: udo@example.com", "mailHost: 127.0.0.1", "mailRoutingAddress: u@inside.test"),
        group("Everybody"),
        group("Staff", "Everybody", "Lawyers"),
        group("Lawyers", "Staff"),
    ]


def directory(issued: Issued, clients: Issued | None = None, **options: Any) -> Slapd:
    """Not started. `clients`: their root's certificates are demanded."""
    return Slapd(people(), Security(certificate=issued, clients=clients), **options)


def profile(*ports: int, **values: Any) -> dict[str, Any]:
    """`[[ldap_profiles]]` called LDAP."""
    hosts = [f"127.0.0.1:{port}" for port in ports]
    return {"name": "LDAP", "hosts": hosts, "base": BASE} | values


def asking(authority: Authority, port: int, *profiles: dict[str, Any], **use: Any) -> dict[str, Any]:
    """A document with one listener, whose recipients are looked up with `FILTER`. `authority` is the custom
    list."""
    query = {"name": "LDAP.ldapaccept", "kind": "accept", "profile": "LDAP", "filter": FILTER}
    return {
        **listening(port, ldap_accept={"query": "LDAP.ldapaccept"} | use),
        "trust": trust(authority),
        "ldap_profiles": list(profiles),
        "ldap_queries": [query],
        "log_subscriptions": [{"name": "ldap_debug", "kind": "ldap"}],
    }


def trust(authority: Authority) -> dict[str, Any]:
    return {
        "system": False,
        "custom": True,
        "authorities": [{"name": "Lab", "certificate": authority.pem.decode()}],
    }


def with_certificate(home: Path, issued: Issued, name: str = "gateway") -> list[dict[str, Any]]:
    """`[[certificates]]` with the demonstration certificate and another, whose key is put into the store."""
    state = Home(home).open_state()
    keys = KeyStore(state.secrets)
    keys.put(issued.key)
    state.close()
    demo = _demonstration().certificate
    return [demo.model_dump(), Certificate(name=name, certificate=issued.cert_pem.decode()).model_dump()]


def debug_lines(home: Path) -> list[str]:
    """ldap_debug so far, without time stamps and heads."""
    folder = home / "logs" / "ldap_debug"
    text = "".join(path.read_text() for path in sorted(folder.glob("*.@*")))
    return [line[25:] for line in text.splitlines() if " LDAP: " in line]


def said(lines: Sequence[str], *parts: str) -> bool:
    """Whether a line has all these parts."""
    return any(all(part in line for part in parts) for line in lines)


__all__ = ["HOSTNAME", "asking", "debug_lines", "directory", "people", "profile", "said", "with_certificate"]
