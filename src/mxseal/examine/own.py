"""The rule for one's own domain: certificate, interface and MX record say the same name (§11.3). PURE."""

from __future__ import annotations

from collections.abc import Sequence

from mxseal.config.model import Document
from mxseal.examine.certificates import fitting
from mxseal.examine.report import HostReport, NameRow


def is_own(document: Document, subject: str) -> bool:
    """Whether mail to `subject`, a domain or a host, comes to this gateway by its own configuration."""
    subject = subject.lower().rstrip(".")
    hosts = {document.hostname, *(document.listener_hostname(each) for each in document.listeners)}
    if subject in hosts:
        return True
    return any(
        subject.endswith(domain) if domain.startswith(".") else subject == domain
        for domain in document.recipient_access.domains
    )


def interface_names(document: Document) -> tuple[str, ...]:
    """Host names of the listeners that take mail from the internet, each once."""
    public = [each for each in document.listeners if each.type == "public"]
    return tuple(dict.fromkeys(document.listener_hostname(each) for each in public or document.listeners))


def name_row(host: HostReport, greeted: str, interfaces: Sequence[str]) -> NameRow:
    """`greeted`: the name in the server's greeting, which a listener of ours takes from its interface."""
    if not greeted:
        change = "the server was not heard, so that its names are not known: test again when it answers"
        return NameRow(mx=host.host, interface="", certificate=(), agree=False, change=change)
    interface = greeted if greeted in interfaces or not interfaces else interfaces[0]
    certificate = host.certificate.names if host.certificate is not None else ()
    changes = []
    strange = bool(interfaces) and greeted not in interfaces
    if strange:
        changes.append(
            f"{host.host} is answered by {greeted}, which is no listener of this gateway: let the MX record "
            "lead here, or set hostname to that name"
        )
    elif interface != host.host:
        changes.append(
            f"set hostname of the listener to {host.host}, or let the MX record point to {interface}"
        )
    if not certificate:
        changes.append("no certificate was seen: make TLS work first")
    elif fitting(certificate, host.host) is None:
        changes.append(
            f"get a certificate with the name {host.host} ('certconfig new') and assign it to the listener"
        )
    return NameRow(
        mx=host.host,
        interface=greeted if strange else interface,
        certificate=certificate,
        agree=not changes,
        change="; ".join(changes),
    )
