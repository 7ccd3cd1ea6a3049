"""The sections of docs/configuration.md, and the meaning of keys that the model does not explain itself."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import BaseModel

from mxseal.config import model
from mxseal.relay.routing import DEFAULT_CONCURRENCY, DEFAULT_MESSAGES


@dataclass(frozen=True, kw_only=True)
class Section:
    """A table of the document: heading, introduction, example (TOML). Keys `elsewhere` have own "
    "sections."""

    table: type[BaseModel]
    title: str
    text: str
    example: str = ""
    elsewhere: tuple[str, ...] = ()


INTRODUCTION = """\
<!-- Made by `python -m tests.docs.configuration_page`; change the model or its words, not this file. -->
# Configuration

The configuration is one TOML document. There is no file that the gateway reads behind your back: the
document in force is stored in the home with a number, its revision, and `mxseal showconfig` prints it. What
is as by default is left out there.

```console
mxseal saveconfig mxseal.toml            # the document in force, as a file
mxseal loadconfig mxseal.toml            # the file becomes your candidate
mxseal showchanges                       # what is different from the document in force
mxseal commit "TLS required for the bank"
```

`loadconfig` and `commit` tell everything that is wrong at once, each with its key's path, and change
nothing then. A commit builds all that the document needs (ports, certificates, TLS contexts) before it
takes effect; connections that are open keep the document that they began with. `mxseal rollbackconfig`
lists the revisions and goes back to one. Between `loadconfig` and `commit` others may have committed: you
are then told what they changed.

Private keys and passwords are never in the document. Certificates are (their public parts, as
`[[certificates]]`), and `certconfig` is the way to change them; a document without them can be loaded too,
then those that are there are kept.

A whole document, small but complete:

```toml
hostname = "mx.example.com"

[[listeners]]
name = "IncomingMail"
address = "192.0.2.25"
port = 25
certificate = "Demo"

[[sender_groups]]
name = "RELAYLIST"
members = ["192.0.2.10"]
policy = "RELAYED"

[[mail_flow_policies]]
name = "ACCEPTED"
tls = "preferred"

[[mail_flow_policies]]
name = "RELAYED"
action = "relay"
tls = "required"

[recipient_access]
domains = ["example.com", ".example.com"]

[smtp_routes]
"example.com" = ["mail.example.com:25"]

[[destinations]]
domain = "default"
tls = "preferred"

[[destinations]]
domain = "bank.example"
tls = "required"
```

Types: *seconds* may have a fraction and are at most 30 days; a *name* has letters, digits, space, `.`, `_`
and `-`, at most 63; *domain names* may be written with umlauts and the like and are kept in their ASCII
form. *Left out* as a default means that the key need not be there.
"""

SECTIONS = (
    Section(
        table=model.Document,
        title="The top of the document",
        text="These keys stand before the first `[table]`.\n",
        example='hostname = "mx.example.com"\n',
        elsewhere=(
            *(
                "listeners",
                "interfaces",
                "sender_groups",
                "mail_flow_policies",
                "recipient_access",
                "smtp_routes",
            ),
            "web",
            *("destinations", "delivery", "queue", "certificates", "dns", "ssh", "logs", "tracking"),
            *("trust", "ssl", "tls_overrides", "alerts", "log_subscriptions", "metrics", "captures"),
            *("ldap", "ldap_profiles", "ldap_queries", "ldap_chains", "ldap_groups", "analysis_servers"),
            *("analysis", "quarantine"),
        ),
    ),
    Section(
        table=model.Listener,
        title="`[[listeners]]`: where mail comes in",
        text="One for each port. Which certificate a listener shows can also be set with `certconfig "
        "assign`.\n",
        example='[[listeners]]\nname = "IncomingMail"\naddress = "192.0.2.25"\nport = 25\ncertificate = '
        '"mx"\n\n'
        '[[listeners]]\nname = "Submissions"\ntype = "private"\naddress = "192.0.2.25"\nport = 465\n'
        'implicit_tls = true\ncertificate = "mx"\n',
    ),
    Section(
        table=model.ListenerLimits,
        title="`[listeners.limits]`: what strangers may do",
        text="Bounds of one listener, written behind its `[[listeners]]`. Whoever reaches one is "
        "answered with 4xx or "
        "5xx and, where it has to be, disconnected; mail_logs says which limit it was.\n",
        example='[[listeners]]\nname = "IncomingMail"\n\n[listeners.limits]\nmessage_size = 26214400\n'
        "connections_per_host = 20\n",
    ),
    Section(
        table=model.Interface,
        title="`[[interfaces]]`: web GUI and API",
        text="Addresses on which the gateway is administered over HTTPS, written by `interfaceconfig`. Which "
        "protocol versions and ciphers they speak says `[ssl.gui]`. A port that can't be opened at the start "
        "is told and tried again; mail does not depend on it.\n",
        example='[[interfaces]]\nname = "Management"\naddress = "192.0.2.25"\nhttps_port = 443\n'
        'certificate = "mx"\nhttp = true\nhttp_port = 80\n',
    ),
    Section(
        table=model.SenderGroup,
        title="`[[sender_groups]]`: who is connecting",
        text="The first group with a member that matches decides the policy; no group: `default_policy`. "
        "`certificates` match after the TLS handshake, with hosts and certificates in one order: see "
        "[TLS for incoming mail](receiving-tls.md).\n",
        example='[[sender_groups]]\nname = "PARTNERS"\nmembers = ["198.51.100.0/24", ".partner.example"]\n'
        'policy = "TLSONLY"\n',
    ),
    Section(
        table=model.MailFlowPolicy,
        title="`[[mail_flow_policies]]`: what they may do",
        text="`accept` takes mail for the domains of `[recipient_access]`; `relay` for any domain, so "
        "only your own "
        "servers should get it (an open relay is refused at commit); `reject` answers every recipient "
        "with an error; "
        "`refuse` closes the connection at once. TLS: `off` does not offer STARTTLS, `preferred` offers "
        "it, `required` "
        "takes mail in TLS only; the `-verify` levels also turn away clients with an invalid certificate, "
        "and `required-verify` those without one: see [TLS for incoming mail](receiving-tls.md).\n",
        example='[[mail_flow_policies]]\nname = "TLSONLY"\naction = "accept"\ntls = "required"\n',
    ),
    Section(
        table=model.PolicyLimits,
        title="`[mail_flow_policies.limits]`",
        text="Narrower bounds for one policy.\n",
        example="[[mail_flow_policies]]\nname = "
        '"TLSONLY"\n\n[mail_flow_policies.limits]\nrecipients_per_message = 50\n',
    ),
    Section(
        table=model.RecipientAccess,
        title="`[recipient_access]`: for whom mail is accepted",
        text="",
        example='[recipient_access]\ndomains = ["example.com", ".example.com"]\n',
    ),
    Section(
        table=model.Destination,
        title="`[[destinations]]`: destination controls",
        text="How mail to a recipient domain leaves. The most exact entry wins; what it leaves open is "
        "taken from "
        "`default`. TLS: `off` never asks for it; `preferred` uses it where the next hop offers it, and "
        "goes on in "
        "clear where it does not; `required` delivers in TLS or not at all; `preferred-verify` is "
        "`preferred`, "
        "and tells "
        "whether the certificate is good; `required-verify` and `required-verify-hosted` deliver only to a "
        "next hop with "
        "a good certificate. [TLS levels for delivery](tls-levels.md) says what good means.\n",
        example='[[destinations]]\ndomain = "default"\ntls = "preferred"\n\n[[destinations]]\n'
        'domain = ".partner.example"\ntls = "required-verify-hosted"\nconcurrency = 5\n',
    ),
    Section(
        table=model.Delivery,
        title="`[delivery]`: outgoing mail",
        text="",
        example='[delivery]\ncertificate = "mx"\ndelay_warning = 14400\n',
    ),
    Section(
        table=model.Queue,
        title="`[queue]`: bounds of the queue",
        text="When one is reached, receiving answers with 4xx until there is room.\n",
    ),
    Section(
        table=model.Certificate,
        title="`[[certificates]]`: public parts",
        text="Kept by `certconfig`; look at them with `certconfig show NAME`.\n",
    ),
    Section(
        table=model.TlsOverride,
        title="`[[tls_overrides]]`: levels by sender or recipient",
        text="A delivery level for certain senders or recipients. It outranks the destination's; the first "
        "entry "
        "that matches counts. Exactly one of `sender`, `recipient`, `sender_group` and `recipient_group` is "
        "written.\n",
        example='[[tls_overrides]]\nsender = "board@example.com"\ntls = "required-verify"\n',
    ),
    Section(
        table=model.Trust,
        title="`[trust]`: which authorities are believed",
        text="For the verification of next hops, client certificates and other servers. `certconfig "
        "certauthority` and `certconfig crl` change it.\n",
        example="[trust]\nsystem = true\ncustom = true\n",
        elsewhere=("authorities", "crl_sources"),
    ),
    Section(
        table=model.Authority,
        title="`[[trust.authorities]]`: the custom list",
        text="Kept by `certconfig certauthority`.\n",
    ),
    Section(
        table=model.CrlSource,
        title="`[[trust.crl_sources]]`: revoked certificates",
        text="",
        example='[[trust.crl_sources]]\nname = "partner"\nurl = "http://crl.partner.example/ca.crl"\n',
    ),
    Section(
        table=model.Ssl,
        title="`[ssl]`: protocol versions and cipher lists",
        text="One table for each use, written by `sslconfig`.\n",
        example='[ssl.inbound]\nprofile = "intermediate"\n',
    ),
    Section(table=model.TlsSettings, title="`[ssl.inbound]`, `[ssl.outbound]`, `[ssl.gui]`", text=""),
    Section(
        table=model.Alerts,
        title="`[alerts]`: who is told when something is wrong",
        text="Written by `alertconfig`.\n",
        example='[alerts]\nfirst_wait = 300\n\n[[alerts.recipients]]\naddress = "postmaster@example.com"\n',
        elsewhere=("recipients", "webhooks"),
    ),
    Section(table=model.AlertRecipient, title="`[[alerts.recipients]]`", text=""),
    Section(table=model.Webhook, title="`[[alerts.webhooks]]`", text=""),
    Section(
        table=model.Dns,
        title="`[dns]`",
        text="",
        example='[dns]\nservers = ["127.0.0.1:53"]\n',
    ),
    Section(
        table=model.Ssh,
        title="`[ssh]`: administration over SSH",
        text="Written by `sshconfig`; users and keys are not part of the document. See "
        "[administration over SSH](ssh.md).\n",
        example='[ssh]\naddress = "192.0.2.25"\n',
    ),
    Section(
        table=model.Ldap,
        title="`[ldap]`, `[[ldap_profiles]]`: directories",
        text="Directories that are asked about addresses: see [LDAP](ldap.md). `ldapconfig` is the easier "
        "way to write all of this.\n",
        example='[ldap]\ncertificate = "gateway"\n\n[[ldap_profiles]]\nname = "LDAP"\n'
        'hosts = ["dc1.example.com", "dc2.example.com"]\ntype = "active-directory"\n'
        'base = "DC=example,DC=com"\n',
    ),
    Section(table=model.LdapProfile, title="`[[ldap_profiles]]`", text=""),
    Section(
        table=model.LdapQuery,
        title="`[[ldap_queries]]`: what they are asked",
        text="",
        example='[[ldap_queries]]\nname = "LDAP.ldapaccept"\nkind = "accept"\nprofile = "LDAP"\n'
        'filter = "(|(mail={a})(proxyAddresses=smtp:{a}))"\n',
    ),
    Section(table=model.LdapChain, title="`[[ldap_chains]]`", text=""),
    Section(
        table=model.LdapGroup,
        title="`[[ldap_groups]]`: groups that policies name",
        text="",
        example='[[ldap_groups]]\nname = "lawyers"\nquery = "LDAP.ldapgroup"\n'
        'group = "CN=Lawyers,OU=Groups,DC=example,DC=com"\n\n[[tls_overrides]]\nrecipient_group = "lawyers"\n'
        'tls = "required-verify"\n',
    ),
    Section(
        table=model.LdapUse,
        title="`[listeners.ldap_accept]`: recipients that must exist",
        text="Written behind its `[[listeners]]`.\n",
        example='[[listeners]]\nname = "IncomingMail"\n\n[listeners.ldap_accept]\n'
        'query = "LDAP.ldapaccept"\n',
    ),
    Section(
        table=model.LdapRewrite,
        title="`[listeners.ldap_routing]`",
        text="Written behind its `[[listeners]]`.\n",
        example='[[listeners]]\nname = "IncomingMail"\n\n[listeners.ldap_routing]\nquery = "LDAP.routing"\n',
    ),
    Section(
        table=model.LdapMasquerade,
        title="`[listeners.ldap_masquerade]`",
        text="Written behind its `[[listeners]]`.\n",
        example='[[listeners]]\nname = "OutgoingMail"\n\n[listeners.ldap_masquerade]\n'
        'query = "LDAP.masquerade"\nheaders = ["from", "reply-to"]\n',
    ),
    Section(
        table=model.AnalysisServer,
        title="`[[analysis_servers]]`: servers that analyse files",
        text="An appliance or a scanner: see [file analysis](file-analysis.md). Written by `ampconfig`, "
        "which also sets the API key; that one is not part of the document.\n",
        example='[[analysis_servers]]\nname = "Scanner"\nkind = "icap"\nhost = "icap.example.com"\n'
        'service = "avscan"\n',
    ),
    Section(
        table=model.Web,
        title="`[web]`: administration by browser",
        text="Written by `webconfig`. Where the pages are served is said by `[[interfaces]]`; sessions and "
        "second factors are not part of the document. See [the web interface](web.md).\n",
        example='[web]\nsecond_factor = "required"\n',
    ),
    Section(
        table=model.Logs,
        title="`[logs]`",
        text="Written by `logconfig setup`. See [logs](logs.md) and "
        "[reading mail_logs](reading-mail-logs.md).\n",
    ),
    Section(
        table=model.LogSubscription,
        title="`[[log_subscriptions]]`: logs of their own",
        text="Written by `logconfig`. See [logs](logs.md).\n",
        example='[[log_subscriptions]]\nname = "mail_logs"\nkind = "mail"\nkeep_files = 30\n\n'
        '[log_subscriptions.push]\nhost = "logs.example.com"\n',
    ),
    Section(
        table=model.MetricsAccess,
        title="`[metrics]`: who reads the metrics",
        text="See [monitoring](monitoring.md).\n",
        example='[metrics]\nallowed = ["192.0.2.40"]\n',
    ),
    Section(table=model.SyslogPush, title="`[log_subscriptions.push]`: to a syslog server", text=""),
    Section(table=model.Tracking, title="`[tracking]`", text="See [message tracking](tracking.md).\n"),
    Section(
        table=model.Captures,
        title="`[captures]`",
        text="Recordings of connections and of packets, see [captures](capture.md).\n",
    ),
    Section(
        table=model.Analysis,
        title="`[analysis]`: files in messages",
        text="Which files are analysed, and what becomes of a message: see "
        "[file analysis](file-analysis.md). `hold` keeps the message in the queue until "
        "there is a verdict, for hold_time at most.\n",
        example='[analysis]\nenabled = true\nservers = ["scanner"]\nmalicious = "quarantine"\n',
    ),
    Section(
        table=model.Quarantine,
        title="`[quarantine]`",
        text="Messages that the analysis of files keeps back; `quarantine list` shows them.\n",
    ),
)
_ROUTES = (
    "Recipient domain, `.domain` for its sub-domains, or `all`, to next hops that are tried in order. "
    "Without a route "
    'the MX records decide. Written as a table: `[smtp_routes]`, then `"example.com" = '
    '["mail.example.com:25"]`'
)

WORDS = {
    "AnalysisServer.name": "As policies and logs call it",
    "AnalysisServer.host": "Host name, as its certificate has it, or address",
    "Web.second_factor": "Whether everybody needs an authenticator app or a passkey beside the password; "
    "who has none sets one up at the next login.",
    "Web.idle_time": "A session that asks for nothing for so long is over.",
    "Web.session_time": "Behind this a session is over, used or not.",
    "Web.login_attempts": "As in `[ssh]`; and so many wrong codes of a second factor for one user.",
    "Web.login_wait": "Counted from the last wrong one that was looked at.",
    "Document.hostname": "The name by which the world knows this gateway: in banners, EHLO, Received lines",
    "Document.smtp_routes": _ROUTES,
    "Listener.name": "As mail_logs calls it (`interface IncomingMail`)",
    "Listener.address": "Address to listen on; `0.0.0.0` or `::` for all",
    "Listener.port": "Port to listen on",
    "Listener.certificate": "The certificate that it shows",
    "Listener.reverse_dns": "Whether the names of connecting addresses are looked up (sender groups by "
    "domain need it)",
    "Listener.limits": "See [below](#listenerslimits-what-strangers-may-do)",
    "ListenerLimits.connections": "Connections at the same time",
    "ListenerLimits.connections_per_host": "Connections at the same time from one address",
    "ListenerLimits.messages_per_connection": "Messages on one connection",
    "ListenerLimits.recipients_per_message": "Recipients of one message",
    "ListenerLimits.message_size": "Bytes of one message; offered as SIZE",
    "ListenerLimits.header_size": "Bytes of a message's header",
    "ListenerLimits.commands_per_connection": "SMTP commands on one connection",
    "ListenerLimits.errors_per_connection": "Commands answered with an error on one connection",
    "ListenerLimits.refused_recipients": "Recipients that are refused on one connection until it ends",
    "ListenerLimits.tls_sessions": "TLS connections at the same time",
    "ListenerLimits.handshakes_per_second": "TLS handshakes that may begin in a second, of all "
    "clients together that have sent no mail lately and may not relay; shared evenly by the workers",
    "ListenerLimits.handshake_time": "Time for a TLS handshake",
    "ListenerLimits.idle_time": "Time without a word from the client",
    "ListenerLimits.connection_time": "Time that a connection may last in all",
    "ListenerLimits.hops": "Received lines, from which on a message counts as looping",
    "Interface.name": "As commands and messages call it",
    "Interface.address": "Address to listen on; `0.0.0.0` or `::` for all",
    "Interface.https": "Whether web GUI and API are served",
    "Interface.https_port": "Port of HTTPS",
    "Interface.certificate": "The certificate that HTTPS shows",
    "Interface.http_port": "Port of HTTP",
    "SenderGroup.name": "As mail_logs calls it (`SG PARTNERS`)",
    "SenderGroup.members": "Whom it holds; domains are those of verified reverse DNS names",
    "SenderGroup.policy": "Mail flow policy of its members",
    "MailFlowPolicy.name": "As sender groups and `default_policy` call it",
    "MailFlowPolicy.action": "What is done with the connection",
    "MailFlowPolicy.tls": "TLS level for receiving",
    "MailFlowPolicy.limits": "See [below](#mail_flow_policieslimits)",
    "PolicyLimits.messages_per_connection": "Messages on one connection; left out: the listener's",
    "PolicyLimits.recipients_per_message": "Recipients of one message; left out: the listener's",
    "PolicyLimits.message_size": "Bytes of one message; left out: the listener's",
    "RecipientAccess.domains": "Domains that mail is accepted for; a recipient elsewhere is rejected "
    "(`Rejected by RAT` in mail_logs)",
    "Destination.domain": "Recipient domain, `.domain` for its sub-domains, or `default`",
    "Destination.concurrency": "Connections at the same time to this destination; left out: the default "
    f"entry's, without one there {DEFAULT_CONCURRENCY}",
    "Destination.messages_per_connection": "Messages on one connection; left out: the default entry's, "
    f"without one there {DEFAULT_MESSAGES}",
    "Delivery.certificate": 'Certificate shown to next hops that ask for one; `""`: none is shown',
    "Delivery.hostname": "Name in EHLO; left out: the document's hostname",
    "Delivery.source_address": "Address from which deliveries are made; left out: the system chooses",
    "Delivery.first_retry": "Time until the second attempt; it doubles from there",
    "Delivery.longest_retry": "Time between two attempts at most",
    "Delivery.max_retries": "Attempts until a message bounces",
    "Delivery.expiry": "Time in the queue until a message bounces",
    "Delivery.connect_time": "Time for a TCP connection",
    "Delivery.command_time": "Time for the answer to a command",
    "Delivery.data_time": "Time for the answer to the end of a message",
    "Delivery.slowest_rate": "Bytes per second of a message that a next hop takes at least: the content has "
    "`data_time`, and a second for each so many bytes",
    "Delivery.idle_time": "Time for which a connection is kept for a further message",
    "Delivery.handshake_time": "Time for a TLS handshake",
    "Delivery.ca_file": "PEM file of trusted authorities in the place of the system's list; left out: the "
    "system's",
    "Delivery.post_quantum": "Whether X25519MLKEM768 is offered to next hops. One that chokes on it is "
    "tried again "
    "without",
    "Queue.max_messages": "Messages in the queue",
    "Queue.max_bytes": "Bytes of all messages in the queue",
    "Certificate.name": "As listeners and `[delivery]` call it",
    "Authority.name": "As destinations and `certconfig certauthority` call it",
    "CrlSource.name": "As `certconfig crl` calls it",
    "CrlSource.secondary_url": "Asked when the first does not answer",
    "CrlSource.schedule": "How often it is fetched",
    "CrlSource.enabled": "Whether it is fetched and used",
    "Trust.system": "Whether the system's list counts",
    "Trust.custom": "Whether the custom list counts",
    "Trust.crl_inbound": "Whether client certificates are looked up in the lists of revoked certificates",
    "Trust.crl_outbound": "Whether next hops' certificates are looked up there",
    "Ssl.inbound": "Listeners",
    "Ssl.outbound": "Delivery",
    "Ssl.gui": "The web interface",
    "TlsSettings.profile": "`modern`: TLS 1.3 alone; `intermediate`: TLS 1.2 with forward secrecy, and 1.3; "
    "`old`: "
    "also what is obsolete",
    "TlsSettings.protocols": "Versions that are spoken, one range; left out: the profile's",
    "TlsSettings.ciphers": "OpenSSL cipher string for TLS 1.2 and older; left out: the profile's. `sslconfig "
    "verify` shows what it selects",
    "TlsOverride.sender": "Envelope sender that it concerns",
    "TlsOverride.recipient": "Envelope recipient that it concerns",
    "TlsOverride.recipient_group": "The same as recipients",
    "TlsOverride.tls": "Delivery level",
    "AlertRecipient.address": "Mail address",
    "Webhook.name": "As `alertconfig` calls it",
    "Webhook.classes": "None: all",
    "Webhook.severities": "None: all",
    "Alerts.longest_wait": "The most that a duplicate waits",
    "LdapProfile.name": "As queries and the log ldap_debug call it",
    "LdapProfile.type": "Decides about the ports that are meant where none is written",
    "LdapProfile.security": "`ldaps`: TLS from the first byte; `starttls`; `none`: in clear",
    "LdapProfile.search_time": "Time for one answer",
    "LdapProfile.cache_time": "For which an answer is kept",
    "LdapQuery.name": "As listeners, chains and `ldaptest` call it; it shares its names with chains",
    "LdapQuery.kind": "What the answer is for",
    "LdapQuery.profile": "Whose servers are asked",
    "LdapRewrite.query": "A query of the right kind, or a chain of them",
    "LdapMasquerade.query": "A masquerade query, or a chain of them",
    "LdapGroup.name": "As overrides and policies call it",
    "LdapChain.name": "It stands wherever a query can",
    "LdapChain.kind": "That of its queries",
    "Listener.ldap_accept": "Asks a directory whether recipients exist: see "
    "[below](#listenersldap_accept-recipients-that-must-exist)",
    "Dns.servers": "Resolvers to ask; none: those of `/etc/resolv.conf`",
    "Dns.timeout": "Time for an answer",
    "Dns.allow_local": "Whether mail exchangers may have loopback or link-local addresses: for laboratories "
    "only",
    "Logs.level": "How much mail_logs tells; the JSON log has everything",
    "Logs.rotate_bytes": "Size at which a log file is closed and a new one begun",
    "Logs.keep_files": "Files that are kept of a log, the current one counts",
    "Logs.keep_days": "Days for which files are kept",
    "Tracking.keep_days": "Messages that were queued earlier go",
    "Logs.json_log": "Whether [the JSON log](json-log.md) is written",
    "Logs.time": "Local time or UTC",
    "LogSubscription.kind": "`mail`: text of the reference; `json`: every event; `authentication`: logins; "
    "`audit`: what administrators do",
    "LogSubscription.level": "How much it tells; the JSON kind has everything. Left out, here and below: as "
    "in `[logs]`",
    "LogSubscription.rotate_bytes": "Size at which a new file is begun",
    "LogSubscription.rotate_seconds": "Age at which a new file is begun; 0: never",
    "LogSubscription.keep_files": "Files that are kept, the current one counts",
    "LogSubscription.keep_days": "Days for which files are kept",
    "LogSubscription.push": "See [below](#log_subscriptionspush-to-a-syslog-server)",
    "SyslogPush.facility": "Of every message; `local4` and the severity informational are `<166>`",
    "Analysis.malicious": "What becomes of a message with such a file",
    "Analysis.unknown": "The same where no server knows anything of a file",
    "Captures.keep_days": "Days after which a recording is deleted",
    "Captures.max_bytes": "What all of them may take; beyond it none is begun",
}
