"""Clients that share no code with the gateway: the standard library's smtplib, and OpenSSL's command."""

from __future__ import annotations

import re
import smtplib
import ssl
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from lab import Trouble, Unavailable
from lab.process import PATIENCE

Address = tuple[str, int]
_PEM = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----\n?", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Trust:
    """How a client judges the server. Without `roots` (PEM) it takes any certificate."""

    roots: bytes = b""
    name: str | None = None
    """The name asked for (SNI) and, with roots, expected in the certificate."""
    certificate: tuple[str, str] | None = None
    """Files of the client's own chain and key."""
    tweak: Callable[[ssl.SSLContext], None] | None = None
    """Changes the context before use: versions, ciphers."""

    def context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        if self.roots:
            context.load_verify_locations(cadata=self.roots.decode())
        if not self.roots or self.name is None:
            context.check_hostname = False
        if not self.roots:
            context.verify_mode = ssl.CERT_NONE
        if self.certificate is not None:
            context.load_cert_chain(*self.certificate)
        if self.tweak is not None:
            self.tweak(context)
        return context


ANY = Trust()


@dataclass(frozen=True, kw_only=True)
class Sent:
    """How a message went in. `refused`: recipient to (code, text)."""

    protocol: str | None
    """TLSv1.3 or such; None without TLS."""
    cipher: str | None
    server_certificate: bytes | None
    """DER."""
    refused: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    reply: str
    """The server's words at the end of the message."""


class Client(smtplib.SMTP):
    """smtplib with our way to say which name is asked for; `connect` is done by the constructor."""

    def __init__(
        self, address: Address, *, hello: str = "client.lab.test", seconds: float = PATIENCE
    ) -> None:
        super().__init__(*address, local_hostname=hello, timeout=seconds)

    def secure(self, trust: Trust = ANY) -> tuple[str, str]:
        """EHLO, STARTTLS, EHLO: (protocol, cipher). Raises smtplib's and ssl's errors."""
        # smtplib takes the name for SNI and the check from the host that it connected to.
        if trust.name is not None:
            self._host = trust.name
        self.ehlo()
        code, text = self.starttls(context=trust.context())
        if code != 220:
            raise smtplib.SMTPResponseException(code, text)
        self.ehlo()
        protocol, cipher, _ = self.tls()
        return protocol or "", cipher or ""

    def tls(self) -> tuple[str | None, str | None, bytes | None]:
        """(protocol, cipher, server's certificate as DER), three None outside TLS."""
        if not isinstance(self.sock, ssl.SSLSocket):
            return None, None, None
        cipher = self.sock.cipher()
        name = cipher[0] if cipher else None
        return self.sock.version(), name, self.sock.getpeercert(binary_form=True)


@dataclass(frozen=True, kw_only=True)
class Envelope:
    """What to send; line ends of `content` are made CRLF."""

    sender: str = "sender@client.lab.test"
    recipients: Sequence[str] = ("user@example.test",)
    content: bytes = b"Subject: test\r\n\r\nHello.\r\n"
    options: Sequence[str] = ()
    """Parameters of MAIL, e.g. BODY=8BITMIME, SMTPUTF8."""


def send(address: Address, envelope: Envelope, trust: Trust | None = ANY) -> Sent:
    """One connection, one message; over STARTTLS unless `trust` is None. Raises smtplib's, ssl's errors."""
    with Client(address) as client:
        if trust is not None:
            client.secure(trust)
        client.ehlo_or_helo_if_needed()
        code, text = client.mail(envelope.sender, list(envelope.options))
        if code >= 400:
            raise smtplib.SMTPSenderRefused(code, text, envelope.sender)
        answers = {name: client.rcpt(name) for name in envelope.recipients}
        refused = {name: answer for name, answer in answers.items() if answer[0] >= 400}
        if len(refused) == len(answers):
            raise smtplib.SMTPRecipientsRefused(refused)
        code, text = client.data(envelope.content)
        if code >= 400:
            raise smtplib.SMTPDataError(code, text)
        protocol, cipher, certificate = client.tls()
        return Sent(
            protocol=protocol,
            cipher=cipher,
            server_certificate=certificate,
            refused=refused,
            reply=f"{code} {text.decode(errors='replace')}",
        )


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What `openssl s_client` saw. Empty strings where there was no handshake."""

    protocol: str
    cipher: str
    group: str
    """Key exchange group as OpenSSL names it: "X25519, 253 bits" gives X25519."""
    chain: tuple[bytes, ...]
    """PEM, as the server sent them."""
    verify_code: int | None
    verify_text: str
    status: int
    text: str
    """All that the command printed."""


def s_client(address: Address, *options: str, starttls: bool = True) -> Seen:
    """Run `openssl s_client` against a server, with further options: "-tls1_2", "-servername", "mx.test" ...

    Raises Unavailable without the openssl command, Trouble when it takes too long.
    """
    words = ["openssl", "s_client", "-connect", f"{address[0]}:{address[1]}", "-showcerts", *options]
    if starttls:
        words += ["-starttls", "smtp", "-name", "client.lab.test"]
    try:
        done = subprocess.run(words, input=b"QUIT\r\n", capture_output=True, timeout=PATIENCE, check=False)
    except FileNotFoundError:
        raise Unavailable("The command openssl is not here: apt install openssl") from None
    except subprocess.TimeoutExpired:
        raise Trouble(f"'{' '.join(words)}' has not ended after {PATIENCE:g} s") from None
    text = (done.stdout + done.stderr).decode(errors="replace")
    verified = re.search(r"Verif(?:y return code|ication error): (?:(\d+) \()?([^)\n]+)", text)
    code = re.search(r"Verify return code: (\d+) \(([^)]+)\)", text)
    negotiated = re.search(r"New, (\S+), Cipher is (\S+)", text)
    found = negotiated is not None and negotiated[2] != "(NONE)"
    exact = re.search(r"^\s*Protocol\s*: (\S+)", text, re.MULTILINE)
    return Seen(
        protocol=(exact[1] if exact else negotiated[1]) if found and negotiated else "",
        cipher=negotiated[2] if found and negotiated else "",
        group=_group(text),
        chain=tuple(entry.encode() for entry in _PEM.findall(done.stdout.decode(errors="replace"))),
        verify_code=int(code[1]) if code else None,
        verify_text=code[2] if code else (verified[2] if verified else ""),
        status=done.returncode,
        text=text,
    )


def _group(text: str) -> str:
    found = re.search(
        r"(?:Server Temp Key|Negotiated TLS1\.3 group|Peer Temp Key): (?:ECDH, )?([\w-]+)", text
    )
    return found[1] if found else ""
