"""Causes before TLS: the connection, the greeting, EHLO, STARTTLS. PURE.

Reference §3.3 has the three conditions no-esmtp, no-starttls and starttls-refused; the pitfalls are §12.
"""

from __future__ import annotations

from mxseal.tls.telling import Cause

OPENING: dict[str, Cause] = {
    # --- the connection
    "connect-refused": Cause(
        "theirs",
        "{Peer} refused the connection: nothing listens on this port.",
        "Check the host and port in the MX record or the route; if they are right, the mail server there is "
        "down or a firewall turns this gateway away.",
    ),
    "connect-timeout": Cause(
        "between",
        "{Peer} did not answer the attempt to connect.",
        "Look for a firewall that drops outgoing or incoming packets on this port, ours first; otherwise "
        "the host is down.",
    ),
    "connect-unreachable": Cause(
        "between",
        "{Peer} can't be reached from this gateway ({reason}).",
        "Check this gateway's route to that network, and IPv6 in particular; if others reach the host, the "
        "fault lies on our side.",
    ),
    "connect-failed": Cause(
        "unclear",
        "No connection with {peer} came about ({reason}).",
        "Check this gateway's own address and limits, then whether the host can be reached otherwise.",
    ),
    # --- the greeting
    "banner-timeout": Cause(
        "theirs",
        "{Peer} took the connection and sent no greeting in time.",
        "The server is overloaded, or looks this gateway's address up in slow blocklists: have its "
        "administrator look there, and check our reverse DNS.",
    ),
    "banner-closed": Cause(
        "theirs",
        "{Peer} took the connection and closed it before any greeting.",
        "Mostly this gateway's address is blocked there, or the server has too many connections: ask its "
        "administrator.",
    ),
    "banner-refused": Cause(
        "theirs",
        "{Peer} turned the connection away with {code} instead of a greeting.",
        "Its words say why; a block of this gateway's address has to be lifted there, a temporary refusal "
        "ends by itself.",
    ),
    "not-smtp": Cause(
        "theirs",
        "{Peer} does not speak SMTP ({reason}).",
        "Check the port in the route: this may be another service, or a port where TLS begins at once.",
    ),
    # --- EHLO
    "ehlo-timeout": Cause(
        "theirs",
        "{Peer} greeted and did not answer EHLO in time.",
        "The server may look our name up slowly: check that the name in EHLO resolves, then ask its "
        "administrator.",
    ),
    "ehlo-closed": Cause(
        "theirs",
        "{Peer} greeted and closed the connection on EHLO.",
        "Check the name that this gateway gives in EHLO, then ask the server's administrator what its log "
        "says.",
    ),
    "ehlo-refused": Cause(
        "theirs",
        "{Peer} refuses both EHLO and HELO with {code}.",
        "Its words say why; often the name in EHLO does not resolve or does not fit this gateway's address.",
    ),
    "no-esmtp": Cause(
        "theirs",
        "{Peer} refuses EHLO, so TLS can't be asked for.",
        "The server is very old, or a firewall with SMTP inspection hides it: the inspection has to be "
        "switched off there.",
    ),
    "no-starttls": Cause(
        "theirs",
        "{Peer} does not offer STARTTLS.",
        "The recipient has to switch TLS on; if it says that it is on, a firewall in between hides the "
        "offer (SMTP inspection), and only with TLS “preferred” can mail go there unencrypted.",
    ),
    "starttls-masked": Cause(
        "between",
        "A firewall between this gateway and {peer} has overwritten the offer of STARTTLS ({text}).",
        "Whoever runs the firewall has to switch SMTP inspection off for this connection (on Cisco "
        "firewalls “inspect esmtp”): look at our own first.",
    ),
    # --- STARTTLS
    "starttls-refused": Cause(
        "theirs",
        "{Peer} offers STARTTLS, but refused the command.",
        "The server's TLS is set up wrongly (certificate, key or policy there): tell its administrator, "
        "with its answer.",
    ),
    "starttls-not-now": Cause(
        "theirs",
        "{Peer} offers STARTTLS, but can't do it for the moment ({code}).",
        "Mail is tried again by itself; if it lasts, the server's certificate, key or limits are the usual "
        "reason: tell its administrator.",
    ),
    "starttls-timeout": Cause(
        "theirs",
        "{Peer} did not answer STARTTLS in time.",
        "Ask the server's administrator what its log says; a firewall that inspects SMTP and swallows the "
        "command is the other usual cause.",
    ),
    "starttls-closed": Cause(
        "theirs",
        "{Peer} closed the connection on the command STARTTLS, before any TLS.",
        "The server's TLS crashes or a firewall cuts it off: tell its administrator.",
    ),
    "starttls-not-used": Cause(
        "theirs",
        "{Peer} tried to send mail without TLS, which is required of it here.",
        "The sender has to switch TLS on for its deliveries; if it says that STARTTLS is not offered, a "
        "firewall in front of this gateway hides it.",
    ),
    "sender-without-tls": Cause(
        "theirs",
        "{Peer} sent without TLS for a sender of whom TLS is demanded.",
        "The sender's mail server has to switch TLS on; until then take the sender off the list of those "
        "that must use it.",
    ),
}
