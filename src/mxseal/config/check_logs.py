"""Rules about logs and where they are sent, and who may read metrics. PURE."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from mxseal.config.model import Document
from mxseal.config.problem import Problem, Rule, key_path
from mxseal.config.subscriptions import ALWAYS

_NARROWEST = 8
MOST = 50
"""Logs: each is written by every process, for each event."""


def _kinds(document: Document) -> Iterator[Problem]:
    for entry in document.log_subscriptions:
        kind = ALWAYS.get(entry.name)
        if kind is not None and kind != entry.kind:
            yield Problem(
                key_path("log_subscriptions", entry.name, "kind"),
                f"{entry.name} is a log of the kind {kind}",
                f"Write kind {kind!r}, or give the log another name",
            )


def _many(document: Document) -> Iterator[Problem]:
    if len(document.log_subscriptions) > MOST:
        yield Problem("log_subscriptions", f"these are more than {MOST} logs", "Remove some")


def _pushes(document: Document) -> Iterator[Problem]:
    for entry in document.log_subscriptions:
        push = entry.push
        if push is None:
            continue
        path = key_path("log_subscriptions", entry.name, "push")
        if push.transport == "tls" and push.framing == "newline":
            yield Problem(
                f"{path}.framing",
                "syslog over TLS counts octets (RFC 5425)",
                "Leave the key out, or choose the transport tcp",
            )
        if push.transport != "tls" and (push.certificate is not None or push.server_name is not None):
            key = "certificate" if push.certificate is not None else "server_name"
            yield Problem(
                f"{path}.{key}",
                f"there are no certificates with the transport {push.transport}",
                "Leave the key out, or choose the transport tls",
            )


def _in_clear(document: Document) -> Iterator[Problem]:
    for entry in document.log_subscriptions:
        push = entry.push
        if push is None or push.transport == "tls" or _loopback(push.host):
            continue
        yield Problem(
            key_path("log_subscriptions", entry.name, "push", "transport"),
            f"lines of {entry.name} go to {push.host} in clear text, where anybody on the way can read and "
            "change them",
            "Choose the transport tls if the server can do it",
        )


def _metrics_for_all(document: Document) -> Iterator[Problem]:
    for network in document.metrics.allowed:
        if "/" in network and ipaddress.ip_network(network).prefixlen < _NARROWEST:
            yield Problem(
                "metrics.allowed",
                f"anyone in {network} could read how much mail there is and what fails",
                "Name the address of your Prometheus",
            )


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


RULES: tuple[Rule, ...] = (_kinds, _many, _pushes, _metrics_for_all)
ADVICE: tuple[Rule, ...] = (_in_clear,)
