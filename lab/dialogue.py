"""One SMTP connection of the sink and of the hostile next hop: blocking, in a thread, as its script says."""

from __future__ import annotations

import re
import socket
import ssl
import struct
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any, NoReturn

from lab import clienthello
from lab.script import POLITE, Behaviour, Session, Taken, Tls

PATIENCE = 60.0
"""Seconds of silence after which a connection is given up."""
_LIMIT = 256 * 1024 * 1024
_PATH = re.compile(r"(?:FROM|TO):\s*<([^>]*)>\s*(.*)", re.IGNORECASE)
_USUAL = {
    "CONNECT": "220 {hostname} ESMTP ready",
    "HELO": "250 {hostname}",
    "MAIL": "250 2.1.0 sender ok",
    "RCPT": "250 2.1.5 recipient ok",
    "DATA": "354 go ahead, end with a dot",
    "END": "250 2.0.0 taken",
    "RSET": "250 2.0.0 reset",
    "NOOP": "250 2.0.0 ok",
    "QUIT": "221 2.0.0 bye",
    "STARTTLS": "220 2.0.0 ready to start TLS",
}


class ServerTls:
    """A server's context, shared by its connections so that tickets resume, and the names asked for."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self.context = context
        self.names: dict[int, str] = {}
        context.sni_callback = self._note

    def _note(
        self, connection: ssl.SSLObject | ssl.SSLSocket, name: str | None, _context: ssl.SSLContext
    ) -> None:
        if name is not None and isinstance(connection, ssl.SSLSocket):
            self.names[connection.fileno()] = name


class Over(Exception):
    """The dialogue ends here; the text says why."""


class Dialogue:
    """Speaks with one client; what happened is in `session`."""

    def __init__(self, connection: socket.socket, session: Session, hostname: str) -> None:
        self.session = session
        self._connection = connection
        self._hostname = hostname
        self._behaviour = POLITE
        self._tls: ServerTls | None = None
        self._buffer = b""
        self._keep: Callable[[Taken], None] = lambda _taken: None
        self._forget()

    def run(self, behaviour: Behaviour, tls: ServerTls | None, keep: Callable[[Taken], None]) -> None:
        """Until the end of the connection; `keep` is given content. Never raises for what the peer does."""
        self._behaviour, self._tls, self._keep = behaviour, tls, keep
        try:
            self._connection.settimeout(PATIENCE)
            self._connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._talk()
        except Over as end:
            self.session.ended = str(end)
        except (OSError, ValueError) as error:  # ValueError: the TLS socket was closed by `close` meanwhile
            self.session.ended = f"{type(error).__name__}: {error}"
        finally:
            self.close()

    def close(self) -> None:
        """End the connection from any thread; a reader wakes up."""
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)
        self._connection.close()

    def _forget(self) -> None:
        self._sender: str | None = None
        self._parameters = ""
        self._recipients: list[str] = []

    def _talk(self) -> None:
        if self._behaviour.endless_banner:
            self._endless("220")
        welcome = self._answer("CONNECT", _USUAL["CONNECT"]).startswith("2")
        while True:
            line = self._line().decode("utf-8", "surrogateescape")
            self.session.commands.append(line)
            verb, _, rest = line.partition(" ")
            if welcome or verb.upper() == "QUIT":
                self._command(verb.upper(), rest.strip())
            else:
                self._send(b"503 5.5.1 no service here\r\n")  # RFC 5321 §3.1

    def _command(self, verb: str, rest: str) -> None:
        match verb:
            case "EHLO":
                self._answer("EHLO", self._capabilities())
            case "STARTTLS" if self._tls is not None and self.session.tls is None:
                if self._answer("STARTTLS", _USUAL["STARTTLS"]).startswith("2"):
                    self._start_tls(self._tls)
            case "MAIL":
                self._mail(rest)
            case "RCPT":
                self._recipient(rest)
            case "DATA":
                self._data()
            case "QUIT":
                self._answer("QUIT", _USUAL["QUIT"])
                self._end_tls()
                raise Over("quit")
            case "RSET" | "HELO" | "NOOP":
                self._forget()
                self._answer(verb, _USUAL[verb])
            case _:
                self._answer(verb, "502 5.5.1 unknown command")

    def _mail(self, rest: str) -> None:
        found = _PATH.fullmatch(rest)
        if found is None:
            self._answer("MAIL", "501 5.5.4 MAIL FROM:<address>")
        elif self._answer("MAIL", _USUAL["MAIL"]).startswith("2"):
            self._forget()
            self._sender, self._parameters = found[1], found[2]

    def _recipient(self, rest: str) -> None:
        found = _PATH.fullmatch(rest)
        if found is None or self._sender is None:
            self._answer("RCPT", "503 5.5.1 MAIL first")
        elif self._answer("RCPT", _USUAL["RCPT"], found[1]).startswith("2"):
            self._recipients.append(found[1])

    def _data(self) -> None:
        usual = _USUAL["DATA"] if self._recipients else "503 5.5.1 RCPT first"
        if not self._answer("DATA", usual).startswith("3"):
            return
        if (how := self._looked_up(self._behaviour.drop, "CONTENT")) is not None:
            self._more()
            self._drop(how)
        content = self._content()
        taken = Taken(
            sender=self._sender or "",
            parameters=self._parameters,
            recipients=tuple(self._recipients),
            content=content,
            reply=self._choose("END", _USUAL["END"]),
            tls=self.session.tls,
        )
        if self._looked_up(self._behaviour.drop, "END") is not None:
            taken = replace(taken, reply="")
        self.session.taken.append(taken)
        self._keep(taken)
        self._forget()
        self._answer("END", _USUAL["END"])

    def _capabilities(self) -> str:
        offered = list(self._behaviour.extensions)
        if self._behaviour.starttls and self._tls is not None and self.session.tls is None:
            offered.append("STARTTLS")
        return "\n".join(f"250 {word}" for word in (self._hostname, *offered))

    def _looked_up(self, table: Mapping[str, Any], step: str, recipient: str = "") -> Any:
        """The script's entry for a step: the recipient's own, then the one inside TLS, then the step's."""
        inside = f"{step}/tls" if self.session.tls else step
        return next((table[key] for key in (f"{step}:{recipient}", inside, step) if key in table), None)

    def _choose(self, step: str, usual: str, recipient: str = "") -> str:
        text = self._looked_up(self._behaviour.replies, step, recipient)
        return str(text if text is not None else usual).replace("{hostname}", self._hostname)

    def _answer(self, step: str, usual: str, recipient: str = "") -> str:
        """Answer as the script says, and give back the reply that the dialogue goes on with."""
        drop = self._looked_up(self._behaviour.drop, step, recipient)
        if drop is not None:
            self._drop(drop)
        reply = self._choose(step, usual, recipient)
        if step == self._behaviour.endless:
            self._endless(reply[:3])
        raw = self._looked_up(self._behaviour.raw, step, recipient)
        lines = reply.split("\n")
        text = "".join(f"{line[:3]}-{line[4:]}\r\n" for line in lines[:-1]) + f"{lines[-1]}\r\n"
        self._send(raw if raw is not None else text.encode("utf-8", "surrogateescape"))
        if reply.startswith("421"):
            raise Over("dropped")  # RFC 5321 §3.8: the server closes behind a 421
        return reply

    def _drop(self, how: str) -> NoReturn:
        if how == "reset":
            # An abortive close: RFC 9293 §3.10.4 ABORT, through a linger time of zero.
            self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._connection.close()
        elif how == "stall":
            while self._connection.recv(1 << 16):
                pass
        raise Over("dropped")

    def _endless(self, code: str) -> NoReturn:
        line = f"{code}-{self._hostname} welcomes you once more\r\n".encode() * 100
        for _ in range(64 * 1024 * 1024 // len(line)):
            self._connection.sendall(line)
        raise Over("dropped")

    def _start_tls(self, server: ServerTls) -> None:
        how = self._behaviour.handshake
        if how == "close-at-once":
            self._drop("close")
        self.session.hello = hello = clienthello.peek(self._connection)
        large = hello is not None and hello.size > 1200
        hybrid = hello is not None and clienthello.X25519MLKEM768 in hello.groups
        if how == "cleartext":
            self._drain()
            self._send(b"500 5.5.1 what is that?\r\n")
        elif (how == "choke-on-size" and large) or (how == "choke-on-post-quantum" and hybrid):
            self._spoil("close")
        elif how in {"close", "reset", "stall", "garbage", "alert"}:
            self._spoil(how)
        else:
            self._handshake(server)

    def _spoil(self, how: str) -> NoReturn:
        self._drain()
        if how == "garbage":
            self._connection.sendall(b"\x00\xffthis is not TLS\r\n" * 8)
        elif how == "alert":
            self._connection.sendall(bytes((21, 3, 3, 0, 2, 2, self._behaviour.alert)))
        self._drop(how if how in {"reset", "stall"} else "close")

    def _drain(self) -> None:
        """Read what is there: closing a socket with unread bytes would send a reset in place of the end."""
        self._connection.recv(1 << 16)

    def _handshake(self, server: ServerTls) -> None:
        self._buffer = b""  # RFC 3207 §4.2: what came in clear text behind STARTTLS is not used
        try:
            secured = server.context.wrap_socket(self._connection, server_side=True)
        except OSError as error:
            self.session.tls_error = str(error)
            raise Over(f"no TLS: {error}") from None
        self._connection = secured
        cipher = secured.cipher()
        self.session.tls = Tls(
            protocol=secured.version() or "",
            cipher=cipher[0] if cipher else "",
            resumed=bool(secured.session_reused),
            server_name=server.names.pop(secured.fileno(), None),
            client_certificate=secured.getpeercert(binary_form=True),
        )
        self._forget()

    def _end_tls(self) -> None:
        """Our close_notify, without waiting for the peer's."""
        if isinstance(self._connection, ssl.SSLSocket):
            self._connection.settimeout(0)
            with suppress(OSError, ValueError):
                self._connection.unwrap()

    def _line(self) -> bytes:
        while b"\r\n" not in self._buffer:
            self._more()
        line, _, self._buffer = self._buffer.partition(b"\r\n")
        return line

    def _content(self) -> bytes:
        # The CRLF of DATA itself counts: a lone dot right behind it ends an empty message.
        self._buffer = b"\r\n" + self._buffer
        searched = 0
        while (end := self._buffer.find(b"\r\n.\r\n", searched)) < 0:
            searched = max(0, len(self._buffer) - 4)
            self._more()
        content, self._buffer = self._buffer[2 : end + 2], self._buffer[end + 5 :]
        return (b"\r\n" + content).replace(b"\r\n.", b"\r\n")[2:]

    def _more(self) -> None:
        if len(self._buffer) > _LIMIT:
            raise Over("the peer sends without end")
        data = self._connection.recv(1 << 16)
        if not data:
            raise Over("gone")
        self._buffer += data

    def _send(self, data: bytes) -> None:
        pieces = [data[i : i + 1] for i in range(len(data))] if self._behaviour.trickle else [data]
        for piece in pieces:
            self._connection.sendall(piece)
