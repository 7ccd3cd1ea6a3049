"""What single values of the document must look like, and their canonical form.

Each function gives the canonical form or raises ValueError with a sentence that has the remedy.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated
from urllib.parse import urlsplit

import idna
from pydantic import AfterValidator, Field

from mxseal.smtp.grammar import Flaw, mailbox, split_address

_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)$")
_LOG_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,62}$")
DEFAULT = "default"


def domain_name(text: str) -> str:
    """The A-label form of a domain name, lower case. Raises ValueError with a remedy."""
    name = text.strip().rstrip(".").lower()
    if not name.isascii():
        try:
            name = idna.encode(name, uts46=True).decode()
        except idna.IDNAError as error:
            raise ValueError(f"{text!r} is not a domain name: {error}") from None
    if not name or len(name) > 253 or not all(_LABEL.match(label) for label in name.split(".")):
        raise ValueError(f"{text!r} is not a domain name, write one such as mx.example.com")
    return name


def _domain_pattern(text: str) -> str:
    """A domain, '.example.com' for its sub-domains, or 'all'."""
    if text.lower() == "all":
        return "all"
    return "." + domain_name(text[1:]) if text.startswith(".") else domain_name(text)


def _destination(text: str) -> str:
    return DEFAULT if text.lower() == DEFAULT else _domain_pattern(text)


def _host_port(text: str) -> str:
    split_host_port(text)
    return text


def split_host_port(text: str, default: int = 25) -> tuple[str, int]:
    """('host', port) of 'host', 'host:port', '[v6]:port'. Raises ValueError with a remedy."""
    match = re.fullmatch(r"\[([0-9a-fA-F:.]+)\](?::(\d{1,5}))?|([^:\[\]]+)(?::(\d{1,5}))?", text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not host:port, write mail.example.com:25 or [2001:db8::1]:25")
    host = match[1] or match[3]
    port = int(match[2] or match[4] or default)
    if not 0 < port < 65536:
        raise ValueError(f"{text!r}: the port must be 1 to 65535")
    try:
        return str(ipaddress.ip_address(host)), port
    except ValueError:
        return domain_name(host), port


def _member(text: str) -> str:
    """A sender group member: address, network, range-free; domain, '.domain', or 'ALL'."""
    if text.upper() == "ALL":
        return "ALL"
    if "/" in text:
        return _network(text)
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        if re.fullmatch(r"[0-9.]+|.*:.*", text):
            raise ValueError(
                f"{text!r} is not an IP address, write one such as 192.0.2.1 or 2001:db8::1"
            ) from None
    return _domain_pattern(text)


def _network(text: str) -> str:
    """A network in its canonical form. Raises ValueError with a remedy."""
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        bits = 128 if ":" in text else 32
        raise ValueError(
            f"{text!r} is not a network, write address/bits with 0 to {bits} bits, such as "
            f"{'2001:db8::/32' if bits == 128 else '192.0.2.0/24'}"
        ) from None
    address = ipaddress.ip_address(text.partition("/")[0])
    if address != network.network_address:
        raise ValueError(
            f"{text!r} has an address inside the network: write {network}, or {address} for this host alone"
        )
    return str(network)


def _network_or_address(text: str) -> str:
    """An address, or a network in its canonical form. Raises ValueError with a remedy."""
    return _network(text) if "/" in text else _ip(text)


def _ip(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise ValueError(f"{text!r} is not an IP address, write one such as 127.0.0.1 or ::1") from None


def _sender_pattern(text: str) -> str:
    """'user@example.com', 'example.com', '.example.com', or 'all'. Raises ValueError with a remedy."""
    local, at, domain = text.rpartition("@")
    if not at or not local:
        return _domain_pattern(domain)
    return f"{local}@{domain_name(domain)}"


def _fingerprint(text: str) -> str:
    """A SHA-256 value as 64 hexadecimal digits, lower case; colons are left out. Raises ValueError."""
    digits = text.replace(":", "").strip().lower()
    if not re.fullmatch(r"[0-9a-f]{64}", digits):
        raise ValueError(f"{text!r} is not a SHA-256 value: write its 64 hexadecimal digits")
    return digits


def _certificate_identity(text: str) -> str:
    """'sha256:<64 hexadecimal digits>' or a DNS name. Raises ValueError with a remedy."""
    if text.lower().startswith("sha256:"):
        return "sha256:" + _fingerprint(text[7:])
    return domain_name(text)


def _profile_name(text: str) -> str:
    if not _NAME.match(text):
        raise ValueError(
            f"{text!r} can't be a name: use letters, digits, space, '.', '_' and '-', at most 63"
        )
    return text


def _log_name(text: str) -> str:
    """A name that is a folder's and a file's too: nothing of a path can be in it."""
    if not _LOG_NAME.fullmatch(text):
        raise ValueError(f"{text!r} can't be a log's name: use letters, digits, '_' and '-', at most 63")
    return text


def _host(text: str) -> str:
    """An address, or a host's name. Raises ValueError with a remedy."""
    try:
        return str(ipaddress.ip_address(text.strip().strip("[]")))
    except ValueError:
        return domain_name(text)


def mail_address(text: str) -> str:
    """'user@example.com' with the domain in A-labels. Raises ValueError with a remedy."""
    found = mailbox(text.strip())
    if isinstance(found, Flaw):
        raise ValueError(f"{text!r} is not a mail address: {found.text}")
    local, domain = split_address(found)
    return found if domain.startswith("[") else f"{local}@{domain_name(domain)}"


def webhook_url(text: str) -> str:
    """https://, or http:// to this machine; no user or password, which would stand in the document."""
    try:
        parts = urlsplit(text.strip())
        host = parts.hostname or ""
        _ = parts.port
    except ValueError as error:
        raise ValueError(f"{text!r} is not a URL: {error}") from None
    if parts.scheme not in ("https", "http") or not host:
        raise ValueError(f"{text!r} is not a URL: write one such as https://alerts.example.com/mxseal")
    if parts.scheme == "http" and not _is_this_machine(host):
        raise ValueError(f"{text!r} would send alerts in clear text: write https://")
    if parts.username is not None or parts.password is not None:
        raise ValueError(
            f"{parts.scheme}://{host}: a user or password can't stand in the document: give the webhook a "
            "secret with 'alertconfig webhook add'"
        )
    if not text.strip().isascii() or not text.strip().isprintable() or " " in text.strip():
        raise ValueError(f"{text!r} has characters that a URL can't have: write them as %XX")
    return text.strip()


def _file_type(text: str) -> str:
    """'.exe', 'application/pdf' or 'application/*', in lower case. Raises ValueError with a remedy."""
    found = text.strip().lower()
    if not re.fullmatch(r"\.[a-z0-9_-]{1,20}|[a-z0-9.+-]{1,60}/(?:\*|[a-z0-9.+-]{1,60})", found):
        raise ValueError(f"{text!r} is no type of file: write '.exe', 'application/pdf' or 'application/*'")
    return found


def _header_name(text: str) -> str:
    """The name of a field that is the gateway's own. Raises ValueError with a remedy."""
    if not re.fullmatch(r"[Xx]-[A-Za-z0-9-]{1,60}", text):
        raise ValueError(
            f"{text!r} can't be the field: write 'X-' and letters, digits or '-', since fields of its name "
            "are removed from the mail that comes in"
        )
    return text


def _is_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


Domain = Annotated[str, AfterValidator(domain_name)]
DomainPattern = Annotated[str, AfterValidator(_domain_pattern)]
DestinationDomain = Annotated[str, AfterValidator(_destination)]
HostPort = Annotated[str, AfterValidator(_host_port)]
Member = Annotated[str, AfterValidator(_member)]
IpAddress = Annotated[str, AfterValidator(_ip)]
Network = Annotated[str, AfterValidator(_network_or_address)]
Name = Annotated[str, AfterValidator(_profile_name)]
LogName = Annotated[str, AfterValidator(_log_name)]
Host = Annotated[str, AfterValidator(_host)]
SenderPattern = Annotated[str, AfterValidator(_sender_pattern)]
CertificateIdentity = Annotated[str, AfterValidator(_certificate_identity)]
Fingerprint = Annotated[str, AfterValidator(_fingerprint)]
MailAddress = Annotated[str, AfterValidator(mail_address)]
WebhookUrl = Annotated[str, AfterValidator(webhook_url)]
FileType = Annotated[str, AfterValidator(_file_type)]
HeaderName = Annotated[str, AfterValidator(_header_name)]
LdapAttribute = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9;-]{0,126}$")]
SandboxName = Annotated[str, Field(max_length=100, pattern=r"^[A-Za-z0-9._ -]*$")]
IcapService = Annotated[str, Field(max_length=200, pattern=r"^[A-Za-z0-9/?&=._~-]+$")]
Port = Annotated[int, Field(ge=1, le=65535)]
Seconds = Annotated[float, Field(gt=0, le=30 * 86400)]
Count = Annotated[int, Field(ge=1)]
