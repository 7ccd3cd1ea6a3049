"""The configuration: one immutable document. Its keys are what people write in TOML (docs/configuration.md).

Types and ranges are checked here, cross-field rules in `check`. Private keys and passwords are never in it.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from mxseal.config.model_ldap import (
    Ldap,
    LdapChain,
    LdapGroup,
    LdapMasquerade,
    LdapProfile,
    LdapQuery,
    LdapRewrite,
    LdapUse,
    Undecided,
)
from mxseal.config.model_scanning import AnalysisServer
from mxseal.config.model_screening import Analysis, Quarantine
from mxseal.config.table import Table
from mxseal.config.values import (
    CertificateIdentity,
    Count,
    DestinationDomain,
    Domain,
    DomainPattern,
    Fingerprint,
    Host,
    HostPort,
    IpAddress,
    LogName,
    MailAddress,
    Member,
    Name,
    Network,
    Port,
    Seconds,
    SenderPattern,
    WebhookUrl,
)

__all__ = [
    "Analysis",
    "AnalysisServer",
    "Ldap",
    "LdapChain",
    "LdapGroup",
    "LdapMasquerade",
    "LdapProfile",
    "LdapQuery",
    "LdapRewrite",
    "LdapUse",
    "Quarantine",
    "Table",
    "Undecided",
]
"""Of other modules, and found here too."""

ReceivingLevel = Literal["off", "preferred", "required", "preferred-verify", "required-verify"]
"""Reference §3.1; 'verify' is about the client's certificate."""
DeliveryLevel = Literal[
    "off", "preferred", "required", "preferred-verify", "required-verify", "required-verify-hosted"
]
"""Reference §3.3."""
Protocol = Literal["TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"]
Severity = Literal["critical", "warning", "information"]
AlertClass = Literal["system", "delivery", "certificates", "storage", "security"]
LogLevel = Literal["Critical", "Warning", "Info", "Debug", "Trace"]
LogKind = Literal["mail", "json", "authentication", "audit", "ldap", "amp"]
"""mail: text of the reference; json: every event; authentication: logins; audit: what administrators do;
ldap: each question to a directory; amp: the analysis of files."""
Facility = Literal[
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp",
    "ntp", "security", "console", "clock",
    "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
]  # fmt: skip
"""In the order of their numbers (RFC 5424 §6.2.1)."""
Action = Literal["accept", "relay", "reject", "refuse"]


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
    refused_recipients: Count = 100
    """On one connection; more end it: only who looks for addresses has so many."""
    tls_sessions: Count = 1000
    handshakes_per_second: Count = 300
    """Of all clients together that have sent no mail: each costs a signature, wherever it comes from."""
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
    ldap_accept: LdapUse | None = None
    """Asks a directory whether recipients exist: those of mail from hosts that may not relay."""
    ldap_routing: LdapRewrite | None = None
    """Asks a directory for the host and address that such recipients' mail goes to."""
    ldap_masquerade: LdapMasquerade | None = None
    """Asks a directory for the address that the envelope sender becomes, and those in chosen header fields:
    of mail from hosts that may relay."""
    limits: ListenerLimits = ListenerLimits()


class Interface(Table):
    """`[[interfaces]]`: where web GUI and API are served. Mail comes in through listeners."""

    name: Name
    address: IpAddress = "127.0.0.1"
    hostname: Domain | None = None
    """The name by which browsers reach it; the document's hostname when left out."""
    https: bool = True
    https_port: Port = 8443
    certificate: Name = "Demo"
    http: bool = False
    """Whether clear text is answered too: it serves nothing, and leads to HTTPS or says where that is."""
    http_port: Port = 8080
    redirect: bool = True
    """Whether HTTP sends browsers on to HTTPS."""
    client_certificates: Literal["off", "login", "second-factor"] = "off"
    """Whether browsers are asked for a certificate, and what one that is bound to a user (`userconfig
    certificate`) is good for there: in the password's place, or behind it."""
    client_authorities: tuple[Name, ...] = ()
    """The authorities of the custom list from which such certificates must come."""


class SenderGroup(Table):
    """`[[sender_groups]]`: which connecting hosts get which policy; the first group that matches wins."""

    name: Name
    members: tuple[Member, ...] = ()
    policy: Name
    certificates: tuple[CertificateIdentity, ...] = ()
    """Verified client certificates that belong to the group: 'sha256:' and 64 hexadecimal digits, or a DNS
    name that the certificate must carry. Needs a policy at a verify level."""
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
    tls: ReceivingLevel = "off"
    tls_senders: tuple[SenderPattern, ...] = ()
    """Envelope senders whose mail is taken over TLS only, whatever the level (reference §3.1)."""
    tls_sender_groups: tuple[Name, ...] = ()
    """The same for members of these directory groups (`[[ldap_groups]]`)."""
    tls_recipient_groups: tuple[Name, ...] = ()
    """Members of these directory groups get mail over TLS only."""
    tls_groups_unavailable: Undecided = "defer"
    """Where no server says who belongs to these groups. defer: 4xx to a client without TLS; member: TLS is
    demanded; no-member: it is not."""
    analysis: Literal["on", "off"] | None = None
    """Whether the files of its mail are analysed, where `[analysis]` is enabled; None: those of mail from
    outside are, those of mail that is relayed are not."""
    limits: PolicyLimits = PolicyLimits()


class RecipientAccess(Table):
    """`[recipient_access]`: domains that a public listener accepts mail for."""

    domains: tuple[DomainPattern, ...] = ()


class Destination(Table):
    """`[[destinations]]`: destination controls for a domain, '.domain', or 'default' (reference §3.3)."""

    domain: DestinationDomain
    tls: DeliveryLevel | None = None
    """None: the default entry's level."""
    trust_anchors: tuple[Name, ...] = ()
    """Names of custom authorities: the only ones that this destination's chain may end in; empty: all."""
    pins: tuple[Fingerprint, ...] = ()
    """SHA-256 of public keys (SubjectPublicKeyInfo), one of which the server's certificate must have."""
    alert: bool | None = None
    """Whether a required TLS connection that fails raises an alert; None: as
    `delivery.alert_on_tls_failure`."""
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
    slowest_rate: Annotated[int, Field(ge=1, le=1 << 30)] = 4096
    """Bytes per second that a next hop takes of a message's content at least, behind the first data_time."""
    idle_time: Seconds = 5.0
    handshake_time: Seconds = 30.0
    ca_file: str | None = None
    """PEM file that takes the place of the system's list of authorities; None: the system's."""
    post_quantum: bool = True
    alert_on_tls_failure: bool = False
    """Reference §5: an alert when a required TLS connection fails, for all destinations that say nothing."""


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


class Authority(Table):
    """`[[trust.authorities]]`: one certificate authority of the custom list."""

    name: Name
    certificate: str
    """PEM, one certificate."""


class CrlSource(Table):
    """`[[trust.crl_sources]]`: where a list of revoked certificates is fetched (reference §1.5)."""

    name: Name
    url: str
    """http:// or https://; DER or PEM."""
    secondary_url: str | None = None
    schedule: Literal["never", "hourly", "daily", "weekly"] = "daily"
    enabled: bool = True


class Trust(Table):
    """`[trust]`: which authorities are believed when a peer's certificate is verified."""

    system: bool = True
    custom: bool = False
    authorities: tuple[Authority, ...] = ()
    crl_sources: tuple[CrlSource, ...] = ()
    crl_inbound: bool = False
    crl_outbound: bool = False


class TlsSettings(Table):
    """`[ssl.inbound]`, `[ssl.outbound]`, `[ssl.gui]`: protocol versions and cipher lists (`sslconfig`)."""

    profile: Literal["modern", "intermediate", "old"] = "intermediate"
    protocols: tuple[Protocol, ...] | None = None
    """None: the profile's."""
    ciphers: str | None = None
    """An OpenSSL cipher string for TLS 1.2 and older; None: the profile's."""


class Ssl(Table):
    """`[ssl]`: by use."""

    inbound: TlsSettings = TlsSettings()
    outbound: TlsSettings = TlsSettings()
    gui: TlsSettings = TlsSettings()


class TlsOverride(Table):
    """`[[tls_overrides]]`: a delivery level by sender or recipient, which outranks the destination (reference
    §3.6); the first entry that matches counts. Exactly one of the first four keys is set."""

    sender: SenderPattern | None = None
    recipient: SenderPattern | None = None
    sender_group: Name | None = None
    """Members of this directory group (`[[ldap_groups]]`) as senders."""
    recipient_group: Name | None = None
    tls: DeliveryLevel
    unavailable: Undecided = "defer"
    """Where no server says who belongs to the group. defer: the message waits in the queue; member: the level
    holds; no-member: it does not."""


class AlertRecipient(Table):
    """`[[alerts.recipients]]`: who gets which alerts by mail."""

    address: MailAddress
    classes: tuple[AlertClass, ...] = ()
    """Empty: all."""
    severities: tuple[Severity, ...] = ()
    """Empty: all."""


class Webhook(Table):
    """`[[alerts.webhooks]]`: alerts as JSON by HTTP POST."""

    name: Name
    url: WebhookUrl
    """https://, or http:// to this machine."""
    classes: tuple[AlertClass, ...] = ()
    severities: tuple[Severity, ...] = ()
    secret: Name | None = None
    """Which sealed secret requests are signed with; `alertconfig webhook add --secret` sets it. None: they
    are not signed."""


class Alerts(Table):
    """`[alerts]`: reference §5. Seconds, counts."""

    recipients: tuple[AlertRecipient, ...] = ()
    webhooks: tuple[Webhook, ...] = ()
    from_address: MailAddress | None = None
    """None: alert@hostname."""
    first_wait: Annotated[float, Field(ge=0, le=86_400)] = 300.0
    """Until a duplicate is sent; doubled each time. 0: every duplicate is sent at once."""
    longest_wait: Annotated[float, Field(ge=0, le=7 * 86_400)] = 3600.0
    calm_time: Annotated[float, Field(ge=1, le=86_400)] = 120.0
    """For so long nothing may fail again before it is told that a trouble is over."""
    kept: Annotated[int, Field(ge=1, le=1000)] = 50
    """How many alerts `displayalerts` shows."""
    queue_age: Annotated[float, Field(ge=0, le=30 * 86_400)] = 4 * 3600.0
    """The oldest message's age that raises an alert; 0: never."""
    disk_free_percent: Annotated[int, Field(ge=0, le=90)] = 10
    """An alert when less of the disk is free; 0: never."""


class Dns(Table):
    """`[dns]`: resolvers; empty: those of /etc/resolv.conf."""

    servers: tuple[HostPort, ...] = ()
    timeout: Seconds = 5.0
    allow_local: bool = False
    """Whether mail exchangers may have loopback or link-local addresses."""


class Ssh(Table):
    """`[ssh]`: administration over SSH. Seconds, counts."""

    address: IpAddress | None = None
    """Where it listens; None: there is no SSH. Nothing listens unasked, and two gateways on one machine do
    not get in each other's way."""
    port: Port = 8022
    """Not 22, which the system's own SSH has."""
    passwords: bool = True
    """False: logins with public keys only."""
    idle_time: Annotated[float, Field(ge=10, le=7 * 86_400)] = 1800.0
    """A session that waits for input for so long is ended; a command that runs is not."""
    max_sessions: Annotated[int, Field(ge=1, le=1000)] = 32
    """Logins at the same time."""
    max_unauthenticated: Annotated[int, Field(ge=1, le=1000)] = 16
    """Connections that have not logged in yet; a quarter of them, at least 2, from one address."""
    login_time: Annotated[float, Field(ge=5, le=600)] = 60.0
    """Until a connection must have logged in."""
    login_attempts: Annotated[int, Field(ge=1, le=1000)] = 5
    """Wrong passwords from one address, or four times as many for one user, behind which no password is
    looked at for `login_wait`. Keys still are, and a user's passwords from where the user has logged in
    before."""
    login_wait: Annotated[float, Field(ge=1, le=86_400)] = 300.0
    """Counted from the last wrong password that was looked at."""


class Web(Table):
    """`[web]`: administration by browser. Seconds, counts. Where it is served is said by `[[interfaces]]`."""

    second_factor: Literal["optional", "required"] = "optional"
    idle_time: Annotated[float, Field(ge=60, le=86_400)] = 1800.0
    session_time: Annotated[float, Field(ge=300, le=30 * 86_400)] = 43_200.0
    login_attempts: Annotated[int, Field(ge=1, le=1000)] = 5
    login_wait: Annotated[float, Field(ge=1, le=86_400)] = 300.0


class Logs(Table):
    """`[logs]`: what holds for all logs that say nothing else. Bytes, seconds, counts, days."""

    level: LogLevel = "Info"
    rotate_bytes: Annotated[int, Field(ge=4096)] = 100 << 20
    rotate_seconds: Annotated[float, Field(ge=0, le=366 * 86_400)] = 0.0
    """Age at which a log file is closed and a new one begun, unless nothing was written; 0: never."""
    keep_files: Count = 10
    keep_days: Count = 90
    json_log: bool = True
    time: Literal["local", "utc"] = "local"
    headers: bool = True
    """Whether subjects are logged."""


class SyslogPush(Table):
    """`[log_subscriptions.push]`: lines of a log to a syslog server."""

    host: Host
    """Name or address of the server."""
    port: Port | None = None
    """None: 6514 with TLS, else 514."""
    transport: Literal["tls", "tcp", "udp"] = "tls"
    """tls: RFC 5425, and the server must prove who it is; tcp and udp: anybody on the way can read and
    change what is sent."""
    format: Literal["rfc5424", "rfc3164", "esa"] = "rfc5424"
    """esa: that of the reference (§4.1), which names no host."""
    framing: Literal["octets", "newline"] | None = None
    """Between two messages on one connection (RFC 6587): their length before each, or a line end behind it;
    None: octets with TLS, as RFC 5425 demands, newline with TCP."""
    facility: Facility = "local4"
    server_name: Host | None = None
    """The name that the server's certificate must have; None: `host`."""
    certificate: Name | None = None
    """Client certificate for servers that ask for one; None: none is shown."""


class LogSubscription(Table):
    """`[[log_subscriptions]]`: a log of its own, or other settings for one that is always there: mail_logs,
    json_logs, authentication, audit_logs. None: as in `[logs]`."""

    name: LogName
    """Of the log, and of its folder below 'logs' in the home."""
    kind: LogKind
    level: LogLevel | None = None
    filename: LogName | None = None
    """What its files' names begin with; None: the name of its kind."""
    rotate_bytes: Annotated[int, Field(ge=4096)] | None = None
    rotate_seconds: Annotated[float, Field(ge=0, le=366 * 86_400)] | None = None
    keep_files: Count | None = None
    keep_days: Count | None = None
    push: SyslogPush | None = None
    """None: it stays on this machine."""


class Tracking(Table):
    """`[tracking]`: message tracking, which is read from the JSON log. Days, bytes, rows."""

    enabled: bool = True
    """False: nothing more is taken in; what there is stays and can be searched."""
    keep_days: Annotated[int, Field(ge=1, le=3660)] = 90
    max_bytes: Annotated[int, Field(ge=64 << 20)] = 8 << 30
    """With more the oldest messages go. Ten million messages of one recipient take about 7 GB."""
    max_refused: Annotated[int, Field(ge=1000, le=10_000_000)] = 200_000
    """Refused connections, handshakes, recipients and messages: with more the oldest go."""


class MetricsAccess(Table):
    """`[metrics]`: who reads `GET /metrics` of the HTTPS ports. A token of the API does always."""

    allowed: tuple[Network, ...] = ()
    """Addresses and networks that need no token, such as that of your Prometheus."""


class Captures(Table):
    """Recordings of connections (`sessioncapture`) and of packets (`packetcapture`)."""

    keep_days: Annotated[int, Field(ge=1, le=365)] = 7
    """Then they are deleted."""
    max_bytes: Annotated[int, Field(ge=16 << 20)] = 256 << 20
    """All of them together; beyond it none is begun."""


class Document(Table):
    """The whole configuration. `revision` is not part of it: the store numbers documents."""

    hostname: Domain = "localhost"
    postmaster: str | None = None
    """Where mail to postmaster of this host, also without a domain, goes; None: to the postmaster of the
    first domain in recipient_access."""
    listeners: tuple[Listener, ...] = ()
    interfaces: tuple[Interface, ...] = ()
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
    trust: Trust = Trust()
    ssl: Ssl = Ssl()
    tls_overrides: tuple[TlsOverride, ...] = ()
    alerts: Alerts = Alerts()
    workers: Annotated[int, Field(ge=0, le=64)] = 0
    """Processes that move mail; 0: as many as the machine has processors for this program. Takes effect at
    the next start."""
    ldap: Ldap = Ldap()
    ldap_profiles: tuple[LdapProfile, ...] = ()
    ldap_queries: tuple[LdapQuery, ...] = ()
    ldap_chains: tuple[LdapChain, ...] = ()
    ldap_groups: tuple[LdapGroup, ...] = ()
    analysis_servers: tuple[AnalysisServer, ...] = ()
    dns: Dns = Dns()
    ssh: Ssh = Ssh()
    web: Web = Web()
    logs: Logs = Logs()
    log_subscriptions: tuple[LogSubscription, ...] = ()
    metrics: MetricsAccess = MetricsAccess()
    tracking: Tracking = Tracking()
    captures: Captures = Captures()
    analysis: Analysis = Analysis()
    quarantine: Quarantine = Quarantine()

    def listener_hostname(self, listener: Listener) -> str:
        return listener.hostname or self.hostname

    def interface_hostname(self, interface: Interface) -> str:
        return interface.hostname or self.hostname

    def policy(self, name: str) -> MailFlowPolicy:
        """The mail flow policy called `name`; `check` has made sure that it exists."""
        return next(policy for policy in self.mail_flow_policies if policy.name == name)

    def certificate(self, name: str) -> Certificate | None:
        return next((entry for entry in self.certificates if entry.name == name), None)


Plain = dict[str, Any]
"""A document as TOML and JSON know it: tables, arrays, strings, numbers."""
