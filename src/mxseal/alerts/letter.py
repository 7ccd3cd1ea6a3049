"""An alert as a mail: RFC 5322, readable as plain text everywhere. PURE."""

from __future__ import annotations

from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP, SMTPUTF8

import msgspec

from mxseal.alerts.alert import Outgoing, subject, text
from mxseal.config.model import Document
from mxseal.smtp.grammar import split_address


class Letter(msgspec.Struct, frozen=True, kw_only=True):
    """A mail that is ready to be sent."""

    sender: str
    """Envelope sender and From: bounces come to whoever set it (reference §5)."""
    recipient: str
    subject: str
    content: bytes

    @property
    def smtputf8(self) -> bool:
        """Whether an address needs RFC 6531; the content is ASCII but for addresses in its header."""
        return not (self.sender + self.recipient).isascii()

    @property
    def eightbit(self) -> bool:
        return not self.content.isascii()


def sender_of(document: Document) -> str:
    return document.alerts.from_address or f"alert@{document.hostname}"


def letter(outgoing: Outgoing, document: Document, recipient: str, identifier: str) -> Letter:
    """`identifier`: chosen anew for each alert, unguessable or not; it becomes the Message-ID."""
    sender = sender_of(document)
    line = subject(outgoing, document.hostname)
    utf8 = not (sender + recipient).isascii()
    message = EmailMessage(policy=SMTPUTF8 if utf8 else SMTP)
    message["From"] = _header_address(sender)
    message["To"] = _header_address(recipient)
    message["Subject"] = line
    message["Date"] = datetime.fromtimestamp(int(outgoing.at), UTC)
    message["Message-ID"] = f"<{identifier}@{document.hostname}>"
    # RFC 3834 §5: nobody's vacation answers this.
    message["Auto-Submitted"] = "auto-generated"
    message["X-MXSeal-Alert"] = outgoing.alert.kind
    message.set_content(text(outgoing, document.hostname))
    return Letter(sender=sender, recipient=recipient, subject=line, content=message.as_bytes())


def _header_address(address: str) -> Address:
    local, domain = split_address(address)
    if local.startswith('"'):  # `Address` puts the quotes that a local part needs
        local = local[1:-1].replace('\\"', '"').replace("\\\\", "\\")
    return Address(username=local, domain=domain)
