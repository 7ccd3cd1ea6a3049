"""Rules of `[[interfaces]]`: where the web GUI and the API are served. PURE."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

import msgspec

from mxseal.config.model import Document, Interface
from mxseal.config.problem import Problem, Rule, key_path


class _Place(msgspec.Struct, frozen=True):
    """A port that the document opens, and what for."""

    address: str
    port: int
    what: str
    path: str


def _overlap(one: _Place, other: _Place) -> bool:
    first, second = ipaddress.ip_address(one.address), ipaddress.ip_address(other.address)
    if one.port != other.port or first.version != second.version:
        return False
    return first == second or first.is_unspecified or second.is_unspecified


def _others(document: Document) -> Iterator[_Place]:
    for listener in document.listeners:
        yield _Place(listener.address, listener.port, f"listener {listener.name!r}", "")
    if document.ssh.address is not None:
        yield _Place(document.ssh.address, document.ssh.port, "SSH", "")


def _own(interface: Interface) -> Iterator[_Place]:
    for wanted, key, name in (
        (interface.https, "https_port", "HTTPS"),
        (interface.http, "http_port", "HTTP"),
    ):
        if wanted:
            what = f"{name} of interface {interface.name!r}"
            path = key_path("interfaces", interface.name, key)
            yield _Place(interface.address, getattr(interface, key), what, path)


def _ports(document: Document) -> Iterator[Problem]:
    taken = list(_others(document))
    for interface in document.interfaces:
        for place in _own(interface):
            other = next((other for other in taken if _overlap(place, other)), None)
            if other is not None:
                yield Problem(
                    place.path,
                    f"{place.address} port {place.port} is already taken by {other.what} "
                    f"({other.address} port {other.port})",
                    "Choose another address or port",
                )
            taken.append(place)


def _http_leads_somewhere(document: Document) -> Iterator[Problem]:
    for interface in document.interfaces:
        if interface.http and not interface.https:
            yield Problem(
                key_path("interfaces", interface.name, "http"),
                "HTTP only leads to HTTPS, which is off on this interface",
                "Switch https on, or http off",
            )


def _strangers(document: Document) -> Iterator[Problem]:
    for interface in document.interfaces:
        address = ipaddress.ip_address(interface.address)
        if (interface.https and not (address.is_loopback or address.is_private)) or address.is_unspecified:
            yield Problem(
                key_path("interfaces", interface.name, "address"),
                f"{interface.address} may be reached from the internet, and with it the administration",
                "Choose an address of your internal network, or let a firewall decide who gets there",
            )


def _client_authorities(document: Document) -> Iterator[Problem]:
    known = {entry.name for entry in document.trust.authorities}
    for interface in document.interfaces:
        path = key_path("interfaces", interface.name, "client_authorities")
        for name in interface.client_authorities:
            if name not in known:
                listed = ", ".join(sorted(known))
                remedy = (
                    f"Known are: {listed}" if listed else "'certconfig certauthority custom import' adds it"
                )
                yield Problem(path, f"there is no custom authority called {name!r}", remedy)
        if interface.client_certificates != "off" and not interface.client_authorities:
            yield Problem(
                path,
                "certificates of browsers are asked for, and no authority is believed",
                "Name the authority that issues them",
            )


def _one_door_without(document: Document) -> Iterator[Problem]:
    """A second factor that one interface asks for and another one doesn't."""
    serving = [interface for interface in document.interfaces if interface.https]
    asking = [each for each in serving if each.client_certificates == "second-factor"]
    for interface in serving if asking else ():
        if interface.client_certificates == "off":
            yield Problem(
                key_path("interfaces", interface.name, "client_certificates"),
                f"certificates are a second factor on {asking[0].name}, and here the password is enough for "
                "who has no other one",
                "Set it to second-factor here too, or switch https off",
            )


RULES: tuple[Rule, ...] = (_ports, _http_leads_somewhere, _client_authorities)
ADVICE: tuple[Rule, ...] = (_strangers, _one_door_without)
