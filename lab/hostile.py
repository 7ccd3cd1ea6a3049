"""A next hop that misbehaves on purpose: one named script for each thing that goes wrong out there."""

from __future__ import annotations

import ssl
import warnings

from lab.ca import Authority, Issued, Validity, self_signed
from lab.script import Behaviour
from lab.sink import Sink


def only(version: ssl.TLSVersion, ciphers: str = "ALL:@SECLEVEL=0") -> Behaviour:
    """Speaks one TLS version, with ciphers as OpenSSL writes them; TLS 1.0 and 1.1 included."""

    def narrow(context: ssl.SSLContext) -> None:
        context.set_ciphers(ciphers)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            context.minimum_version = version
            context.maximum_version = version

    return Behaviour(tls=narrow)


def demands_certificate(context: ssl.SSLContext) -> None:
    """Without a client certificate the handshake fails, in TLS 1.2: in 1.3 a client would learn it late."""
    context.verify_mode = ssl.CERT_REQUIRED
    context.maximum_version = ssl.TLSVersion.TLSv1_2


def refuses(step: str, reply: str) -> Behaviour:
    """Answers one step (see `lab.script`) with an error reply."""
    return Behaviour(replies={step: reply})


BEHAVIOURS: dict[str, Behaviour] = {
    # before TLS
    "helo-only": refuses("EHLO", "502 5.5.1 command not implemented"),
    "helo-refused": Behaviour(replies={"EHLO": "502 5.5.1 not implemented", "HELO": "550 5.7.1 go away"}),
    "ehlo-421": refuses("EHLO", "421 4.3.2 shutting down"),
    "no-starttls": Behaviour(starttls=False),
    "starttls-masked": Behaviour(starttls=False, extensions=("PIPELINING", "8BITMIME", "XXXXXXXA")),
    "starttls-421": refuses("STARTTLS", "421 4.7.0 TLS is down, good bye"),
    "starttls-454": refuses("STARTTLS", "454 4.7.0 TLS not available due to temporary reason"),
    "starttls-501": refuses("STARTTLS", "501 5.5.4 syntax error, no parameters allowed"),
    "starttls-502": refuses("STARTTLS", "502 5.5.1 command not implemented"),
    "starttls-554": refuses("STARTTLS", "554 5.7.3 unable to initialize security subsystem"),
    "starttls-garbage": Behaviour(raw={"STARTTLS": b"\x16\x03\x01 what is that?\r\n"}),
    "starttls-stalls": Behaviour(drop={"STARTTLS": "stall"}),
    "starttls-resets": Behaviour(drop={"STARTTLS": "reset"}),
    "starttls-closes": Behaviour(drop={"STARTTLS": "close"}),
    "starttls-injects": Behaviour(raw={"STARTTLS": b"220 2.0.0 go ahead\r\n250-injected\r\n250 SIZE 1\r\n"}),
    # in the handshake
    "tls-closes-at-once": Behaviour(handshake="close-at-once"),
    "tls-closes": Behaviour(handshake="close"),
    "tls-resets": Behaviour(handshake="reset"),
    "tls-garbage": Behaviour(handshake="garbage"),
    "tls-cleartext": Behaviour(handshake="cleartext"),
    "tls-alert": Behaviour(handshake="alert"),
    "tls-alert-protocol-version": Behaviour(handshake="alert", alert=70),
    "tls-alert-internal-error": Behaviour(handshake="alert", alert=80),
    "tls-alert-unrecognized-name": Behaviour(handshake="alert", alert=112),
    "tls-demands-certificate": Behaviour(tls=demands_certificate),
    "tls-stalls": Behaviour(handshake="stall"),
    "tls-1.0-only": only(ssl.TLSVersion.TLSv1),
    "tls-1.1-only": only(ssl.TLSVersion.TLSv1_1),
    "tls-1.2-only": only(ssl.TLSVersion.TLSv1_2, "DEFAULT"),
    "tls-1.3-only": only(ssl.TLSVersion.TLSv1_3),
    "tls-no-shared-cipher": only(ssl.TLSVersion.TLSv1_2, "NULL:@SECLEVEL=0"),
    "chokes-on-size": Behaviour(handshake="choke-on-size"),
    "chokes-on-post-quantum": Behaviour(handshake="choke-on-post-quantum"),
    # in the session
    "banner-554": refuses("CONNECT", "554 5.7.1 no SMTP service for you"),
    "banner-421": refuses("CONNECT", "421 4.3.2 too busy"),
    "banner-closes": Behaviour(drop={"CONNECT": "close"}),
    "banner-silent": Behaviour(drop={"CONNECT": "stall"}),
    "banner-endless": Behaviour(endless_banner=True),
    "ehlo-endless": Behaviour(endless="EHLO"),
    "mail-endless": Behaviour(endless="MAIL"),
    "end-endless": Behaviour(endless="END"),
    "reply-one-long-line": Behaviour(raw={"MAIL": b"250 " + b"x" * 1_000_000}),
    "talks-unasked": Behaviour(raw={"CONNECT": b"220 hello\r\n" + b"250 and more\r\n" * 20_000}),
    "banner-garbage": Behaviour(raw={"CONNECT": b"\x00\x01\x02\xff\xfe not SMTP\r\nat all\r\n"}),
    "ehlo-garbage": Behaviour(raw={"EHLO": b"250-ok\r\n999 what\r\n250 \xff\xff\r\n"}),
    "ehlo-mixed-codes": Behaviour(raw={"EHLO": b"250-here.test\r\n550-changed my mind\r\n250 SIZE\r\n"}),
    "ehlo-refused-in-tls": Behaviour(
        replies={"EHLO/tls": "502 5.5.1 not implemented", "HELO/tls": "502 5.5.1 not implemented"}
    ),
    "ehlo-closes-in-tls": Behaviour(drop={"EHLO/tls": "close"}),
    "mail-451": refuses("MAIL", "451 4.3.0 try again later"),
    "mail-550": refuses("MAIL", "550 5.7.1 not from you"),
    "rcpt-450": refuses("RCPT", "450 4.2.1 mailbox busy"),
    "rcpt-550": refuses("RCPT", "550 5.1.1 no such user"),
    "data-451": refuses("DATA", "451 4.3.0 not now"),
    "data-554": refuses("DATA", "554 5.5.1 no valid recipients"),
    "content-closes": Behaviour(drop={"CONTENT": "close"}),
    "end-452": refuses("END", "452 4.3.1 out of storage"),
    "end-554": refuses("END", "554 5.6.0 content refused"),
    "end-closes": Behaviour(drop={"END": "close"}),
    "end-stalls": Behaviour(drop={"END": "stall"}),
    "mail-closes": Behaviour(drop={"MAIL": "close"}),
    "rcpt-resets": Behaviour(drop={"RCPT": "reset"}),
    "quit-closes": Behaviour(drop={"QUIT": "close"}),
    "trickles": Behaviour(trickle=True),
    "no-pipelining": Behaviour(extensions=("SIZE 52428800", "8BITMIME")),
    "small": Behaviour(extensions=("PIPELINING", "SIZE 1000", "8BITMIME")),
    "no-smtputf8": Behaviour(extensions=("PIPELINING", "8BITMIME")),
}
"""Name to script; further ones are made with `lab.script.Behaviour`."""


class Hostile(Sink):
    """A sink that follows one of BEHAVIOURS, given by name or as a value."""

    def __init__(
        self,
        behaviour: Behaviour | str,
        *,
        certificate: Issued | None = None,
        hostname: str = "hostile.lab.test",
    ) -> None:
        """Without `certificate`: a self-signed one for `hostname`."""
        super().__init__(
            certificate=certificate or self_signed(hostname),
            hostname=hostname,
            behaviour=BEHAVIOURS[behaviour] if isinstance(behaviour, str) else behaviour,
        )


def bad_certificates(authority: Authority, name: str) -> dict[str, Issued]:
    """Certificates that a careful client refuses for host `name`, by what is wrong with them."""
    intermediate = authority.intermediate()
    whole = intermediate.issue(name)
    return {
        "self-signed": self_signed(name),
        "expired": authority.issue(name, validity=Validity(expired=True)),
        "not-yet-valid": authority.issue(name, validity=Validity(future=True)),
        "other-name": authority.issue("other.lab.test"),
        "unknown-authority": Authority("Somebody Else").issue(name),
        "client-only": authority.issue(name, usages=("client",)),
        "intermediate-missing": Issued(
            certificate=whole.certificate, key=whole.key, chain=(whole.certificate,), root=whole.root
        ),
    }
