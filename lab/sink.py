"""An SMTP server of our own that takes all mail and writes it into a folder: a stand-in, not a mail server.

It is there for machines on which no real one can be had, and for what a real one can't be made to do. Its TLS
is the standard library's, so it shares nothing with the gateway's. It can follow a script: `lab.script`.
"""

from __future__ import annotations

import json
import shutil
import socket
import ssl
import threading
from contextlib import suppress
from email.utils import formatdate
from pathlib import Path
from typing import Self

from lab.ca import Issued
from lab.dialogue import Dialogue, ServerTls
from lab.mailbox import Message, wait_for_messages
from lab.place import LOOPBACK, free_port, new_folder
from lab.process import PATIENCE, until
from lab.script import POLITE, Behaviour, Session, Taken


class Sink:
    """`with Sink(certificate=...) as sink:` or start() and stop(). A thread per connection."""

    def __init__(
        self,
        *,
        certificate: Issued | None = None,
        hostname: str = "sink.lab.test",
        folder: Path | None = None,
        behaviour: Behaviour = POLITE,
    ) -> None:
        """Without `certificate` no STARTTLS. `folder` is kept; without it one is made and removed."""
        self.hostname = hostname
        self.port = free_port()
        self.sessions: list[Session] = []
        """All connections so far, in order; the last may still be going on."""
        self.behaviour = behaviour
        """May be replaced at any time; holds for the connections that follow."""
        self._own = folder is None
        self.folder = folder or new_folder("sink")
        self._certificate = certificate
        self._tls: dict[int, tuple[Behaviour, ServerTls]] = {}
        self._talking: dict[threading.Thread, Dialogue] = {}
        self._messages: list[Message] = []
        self._lock = threading.Lock()
        self._listener: socket.socket | None = None
        self._accepting: threading.Thread | None = None

    @property
    def address(self) -> tuple[str, int]:
        """Host and port on which it takes mail."""
        return LOOPBACK, self.port

    @property
    def taken(self) -> tuple[Taken, ...]:
        """All content that arrived, whatever was answered to it, over all connections."""
        return tuple(taken for session in list(self.sessions) for taken in list(session.taken))

    def start(self) -> Self:
        """Listen; connections are taken as soon as this returns."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._server_tls(self.behaviour)
        self._server_tls(POLITE)
        self._listener = socket.create_server(self.address, backlog=256)
        self._accepting = threading.Thread(target=self._accept, args=(self._listener,), daemon=True)
        self._accepting.start()
        return self

    def stop(self) -> None:
        """Close the port and all connections; remove the folder unless it was given."""
        if self._listener is not None and self._accepting is not None:
            # Closing alone would leave the accepting thread asleep.
            with suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._accepting.join(PATIENCE)
            self._listener = None
        with self._lock:
            talking = dict(self._talking)
        for thread, dialogue in talking.items():
            dialogue.close()
            thread.join(PATIENCE)
        if self._own:
            shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def messages(self) -> tuple[Message, ...]:
        """The messages accepted with a 2xx reply, oldest first: files NNNNN.eml, envelopes in NNNNN.json."""
        with self._lock:
            return tuple(self._messages)

    def wait(self, count: int = 1, seconds: float = PATIENCE) -> tuple[Message, ...]:
        """`messages()` once there are `count`."""
        return wait_for_messages(self.messages, count, self.log, seconds)

    def wait_sessions(self, count: int = 1, seconds: float = PATIENCE) -> tuple[Session, ...]:
        """The first `count` connections, once they have ended."""
        until(
            lambda: sum(bool(session.ended) for session in list(self.sessions)) >= count,
            lambda: f"no {count} connections have ended in {seconds:g} s:\n{self.log()}",
            seconds,
        )
        return tuple(self.sessions[:count])

    def log(self) -> str:
        """The connections in readable form."""
        return "\n".join(
            f"{session.number}: {session.commands} tls={session.tls or session.tls_error} {session.ended}"
            for session in list(self.sessions)
        )

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with self._lock:
                session = Session(number=len(self.sessions) + 1)
                self.sessions.append(session)
                dialogue = Dialogue(connection, session, self.hostname)
                thread = threading.Thread(target=self._serve, args=(dialogue,), daemon=True)
                self._talking[thread] = dialogue
            thread.start()

    def _serve(self, dialogue: Dialogue) -> None:
        limit = self.behaviour.connections
        polite = limit is not None and dialogue.session.number > limit
        behaviour = POLITE if polite else self.behaviour
        dialogue.run(behaviour, self._server_tls(behaviour), self._keep)
        with self._lock:
            del self._talking[threading.current_thread()]

    def _server_tls(self, behaviour: Behaviour) -> ServerTls | None:
        if self._certificate is None:
            return None
        with self._lock:
            if id(behaviour) not in self._tls:
                context = _context(self._certificate, behaviour, self.folder)
                self._tls[id(behaviour)] = (behaviour, ServerTls(context))
            return self._tls[id(behaviour)][1]

    def _keep(self, taken: Taken) -> None:
        if not taken.reply.startswith("2"):
            return
        tls = taken.tls
        protocol = f"with ESMTPS ({tls.protocol}, {tls.cipher})" if tls else "with ESMTP (no TLS)"
        trace = f"Return-Path: <{taken.sender}>\r\n"
        trace += f"Received: by {self.hostname} (stand-in) {protocol}; {formatdate()}"
        content = trace.encode("utf-8", "surrogateescape") + b"\r\n" + taken.content
        envelope = {"sender": taken.sender, "recipients": taken.recipients, "parameters": taken.parameters}
        with self._lock:
            path = self.folder / f"{len(self._messages) + 1:05}.eml"
            path.write_bytes(content)
            path.with_suffix(".json").write_text(json.dumps(envelope | {"tls": protocol}))
            message = Message(sender=taken.sender, recipients=taken.recipients, content=content, path=path)
            self._messages.append(message)


def _context(certificate: Issued, behaviour: Behaviour, folder: Path) -> ssl.SSLContext:
    files = certificate.write(folder / "tls", "server")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.chain, files.key)
    if behaviour.client_roots:
        context.verify_mode = ssl.CERT_OPTIONAL
        context.load_verify_locations(cadata=behaviour.client_roots.decode())
    if behaviour.tls is not None:
        behaviour.tls(context)
    return context
