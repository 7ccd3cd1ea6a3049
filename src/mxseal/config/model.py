"""The configuration: one immutable document. Its keys are what people write in TOML (docs/configuration.md).

Types and ranges are checked here, cross-field rules in `check`. Private keys and passwords are never in it.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated, Any, Literal

import idna
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

TlsLevel = Literal["off", "preferred", "required"]
"""Receiving: reference §3.1; delivery: reference §3.3, levels 1 to 3."""
Action = Literal["accept", "relay", "reject", "refuse"]
CidrOrName = str

_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)$")
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


def _ip(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise ValueError(f"{text!r} is not an IP address, write one such as 127.0.0.1 or ::1") from None


def _profile_name(text: str) -> str:
    if not _NAME.match(text):
        raise ValueError(
            f"{text!r} can't be a name: use letters, digits, space, '.', '_' and '-', at most 63"
        )
    return text


Domain = Annotated[str, AfterValidator(domain_name)]
DomainPattern = Annotated[str, AfterValidator(_domain_pattern)]
DestinationDomain = Annotated[str, AfterValidator(_destination)]
HostPort = Annotated[str, AfterValidator(_host_port)]
Member = Annotated[str, AfterValidator(_member)]
IpAddress = Annotated[str, AfterValidator(_ip)]
Name = Annotated[str, AfterValidator(_profile_name)]
Port = Annotated[int, Field(ge=1, le=65535)]
Seconds = Annotated[float, Field(gt=0, le=30 * 86400)]
Count = Annotated[int, Field(ge=1)]


class Table(BaseModel):
    """What every part of the document shares: frozen, no unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ListenerLimits(Table):
    """Bounds on what strangers may do to one listener. Seconds, bytes, counts."""

    connections: Count = 1000
    connections_per_host: Count = 50
    messages_per_connection: Count = 1000
    recipients_per_message: Count = 1000
    message_size: Annotated[int, Field(ge=1024)] = 50 * 1024 * 1024
    header_size: Annotated[int, Field(ge=1024)] = 256 * 1024
    commands_per_connection: Count = 10_000
    errors_per_connection: Count = 20
    tls_sessions: Count = 1000
    handshake_time: Seconds = 30.0
    idle_time: Seconds = 300.0
    connection_time: Seconds = 3600.0
    hops: Count = 100


class Listener(Table):
    """`[[listeners]]`: a port on which mail is received."""

    name: Name
    type: Literal["public", "private"] = "public"
    """public: for mail from the internet; private: for hosts inside. On both, mail for domains other than
    those of recipient_access is taken only from hosts whose policy says relay."""
    address: IpAddress = "127.0.0.1"
    port: Port = 25
    implicit_tls: bool = False
    """TLS from the first byte (RFC 8314), as on port 465."""
    certificate: Name = "Demo"
    second_certificate: Name | None = None
    """A certificate of the other key type (RSA beside ECDSA), offered side by side."""
    sni_certificates: tuple[Name, ...] = ()
    """Further certificates, chosen by the name that the client asks for."""
    hostname: Domain | None = None
    """Name in banner and replies; the document's hostname when left out."""
    bare_newlines: Literal["reject", "clean"] = "reject"
    """A CR or LF alone in a message: refuse the message, or write CRLF instead (never ends it)."""
    reverse_dns: bool = True
    limits: ListenerLimits = ListenerLimits()


class SenderGroup(Table):
    """`[[sender_groups]]`: which connecting hosts get which policy; the first group that matches wins."""

    name: Name
    members: tuple[Member, ...] = ()
    policy: Name
    listeners: tuple[Name, ...] = ()
    """Only on these listeners; empty: on all."""


class PolicyLimits(Table):
    """A policy's own bounds, each at most what the listener allows; None: the listener's."""

    messages_per_connection: Count | None = None
    recipients_per_message: Count | None = None
    message_size: Annotated[int, Field(ge=1024)] | None = None


class MailFlowPolicy(Table):
    """`[[mail_flow_policies]]`: what a sender group may do, and its TLS level (reference §3.1)."""

    name: Name
    action: Action = "accept"
    tls: TlsLevel = "off"
    limits: PolicyLimits = PolicyLimits()


class RecipientAccess(Table):
    """`[recipient_access]`: domains that a public listener accepts mail for."""

    domains: tuple[DomainPattern, ...] = ()


class Destination(Table):
    """`[[destinations]]`: destination controls for a domain, '.domain', or 'default' (reference §3.3)."""

    domain: DestinationDomain
    tls: TlsLevel | None = None
    """None: the default entry's level."""
    concurrency: Annotated[int, Field(ge=1, le=1000)] | None = None
    messages_per_connection: Annotated[int, Field(ge=1, le=10_000)] | None = None


class Delivery(Table):
    """`[delivery]`: outgoing mail. Times in seconds; the defaults are those of the reference (§3.6)."""

    certificate: Name | None = "Demo"
    """Client certificate for outbound TLS, None: none is shown."""
    hostname: Domain | None = None
    source_address: IpAddress | None = None
    first_retry: Seconds = 60.0
    longest_retry: Seconds = 3600.0
    max_retries: Count = 100
    expiry: Seconds = 259_200.0
    delay_warning: Seconds | None = None
    """After this time in the queue a delay DSN is sent, once; None: never."""
    connections: Annotated[int, Field(ge=1, le=10_000)] = 500
    """In total, over all destinations."""
    connect_time: Seconds = 30.0
    command_time: Seconds = 300.0
    data_time: Seconds = 600.0
    idle_time: Seconds = 5.0
    handshake_time: Seconds = 30.0
    ca_file: str | None = None
    """PEM file of trusted authorities; None: the system's list."""
    post_quantum: bool = True


class Queue(Table):
    """`[queue]`: bounds of the spool."""

    max_messages: Count = 1_000_000
    max_bytes: Annotated[int, Field(ge=1 << 20)] = 64 << 30
    min_free_bytes: Annotated[int, Field(ge=0)] = 256 << 20
    """Receiving answers 452 when the disk has less than this."""


class Certificate(Table):
    """`[[certificates]]`: the public parts of a certificate profile; its key is sealed in the store."""

    name: Name
    certificate: str
    """PEM, one certificate."""
    intermediates: tuple[str, ...] = ()
    """PEM, one certificate each, in the order in which they were given."""
    csr: str | None = None
    """PEM of the signing request, until the signed certificate has come."""
    send_exact_path: bool = True
    """Send leaf and path only, each once, in order, whatever is stored among the intermediates."""


class Dns(Table):
    """`[dns]`: resolvers; empty: those of /etc/resolv.conf."""

    servers: tuple[HostPort, ...] = ()
    timeout: Seconds = 5.0
    allow_local: bool = False
    """Whether mail exchangers may have loopback or link-local addresses."""


class Logs(Table):
    """`[logs]`: the mail log and its JSON twin. Bytes, counts, days."""

    level: Literal["Critical", "Warning", "Info", "Debug", "Trace"] = "Info"
    rotate_bytes: Annotated[int, Field(ge=4096)] = 100 << 20
    keep_files: Count = 10
    keep_days: Count = 90
    json_log: bool = True
    time: Literal["local", "utc"] = "local"
    headers: bool = True
    """Whether subjects are logged."""


class Document(Table):
    """The whole configuration. `revision` is not part of it: the store numbers documents."""

    hostname: Domain = "localhost"
    postmaster: str | None = None
    """Where mail to postmaster of this host, also without a domain, goes; None: to the postmaster of the
    first domain in recipient_access."""
    listeners: tuple[Listener, ...] = ()
    sender_groups: tuple[SenderGroup, ...] = ()
    mail_flow_policies: tuple[MailFlowPolicy, ...] = ()
    default_policy: Name = "ACCEPTED"
    """Policy of hosts that no sender group matches."""
    recipient_access: RecipientAccess = RecipientAccess()
    smtp_routes: dict[DomainPattern, tuple[HostPort, ...]] = Field(default_factory=dict)
    """Domain, '.domain' for its sub-domains, or 'all', to next hops tried in order."""
    destinations: tuple[Destination, ...] = ()
    delivery: Delivery = Delivery()
    queue: Queue = Queue()
    certificates: tuple[Certificate, ...] = ()
    dns: Dns = Dns()
    logs: Logs = Logs()

    def listener_hostname(self, listener: Listener) -> str:
        return listener.hostname or self.hostname

    def policy(self, name: str) -> MailFlowPolicy:
        """The mail flow policy called `name`; `check` has made sure that it exists."""
        return next(policy for policy in self.mail_flow_policies if policy.name == name)

    def certificate(self, name: str) -> Certificate | None:
        return next((entry for entry in self.certificates if entry.name == name), None)


Plain = dict[str, Any]
"""A document as TOML and JSON know it: tables, arrays, strings, numbers."""
