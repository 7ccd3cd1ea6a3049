"""The messages of the demonstration, and the two things that go wrong on purpose."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import formatdate

from lab.client import Envelope

OWN_DOMAIN = "example.test"
PARTNER = "partner.test"
SENDER = "alice@client.lab.test"


@dataclass(frozen=True, kw_only=True)
class Letter:
    """A message, how the client sends it, and what stands in the table."""

    title: str
    """Its subject, by which it is found again."""
    body: bytes
    recipients: tuple[str, ...] = (f"bob@{OWN_DOMAIN}",)
    options: tuple[str, ...] = ()
    tweak: Callable[[ssl.SSLContext], None] | None = None

    def envelope(self) -> Envelope:
        """What goes over the wire."""
        charset = b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n"
        head = (
            f"From: <{SENDER}>\r\nTo: <{self.recipients[0]}>\r\nSubject: {self.title}\r\n"
            f"Message-ID: <{self.title.lower().replace(' ', '.')}@client.lab.test>\r\n"
            f"Date: {formatdate(localtime=True)}\r\nMIME-Version: 1.0\r\n"
        ).encode()
        return Envelope(
            sender=SENDER,
            recipients=self.recipients,
            content=head + charset + b"\r\n" + self.body,
            options=self.options,
        )


def _only_tls_1_2(context: ssl.SSLContext) -> None:
    context.maximum_version = ssl.TLSVersion.TLSv1_2


def old_client(context: ssl.SSLContext) -> None:
    """What a device from 2008 offers: TLS 1.2 at most, keys transported by RSA, no forward secrecy."""
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("AES128-SHA:AES256-SHA:@SECLEVEL=0")


LARGE = b"".join(b"%07d the quick brown fox jumps over the lazy dog\r\n" % number for number in range(56_000))

LETTERS = (
    Letter(title="TLS 1.3", body=b"The first one.\r\n"),
    Letter(title="TLS 1.2", body=b"For clients that have no newer one.\r\n", tweak=_only_tls_1_2),
    Letter(
        title="8 bits",
        body="Grüße aus Köln, ¡hola!, 你好.\r\n".encode(),
        options=("BODY=8BITMIME",),
    ),
    Letter(title="3 megabytes", body=LARGE),
    Letter(
        title="3 recipients",
        body=b".A line that begins with a dot, and one copy for each of you.\r\n",
        recipients=tuple(f"{name}@{OWN_DOMAIN}" for name in ("bob", "carol", "dave")),
    ),
)
CONFIDENTIAL = Letter(
    title="Confidential", body=b"Never to be sent in clear text.\r\n", recipients=(f"eve@{PARTNER}",)
)
OLD_CLIENT = "Old client"
