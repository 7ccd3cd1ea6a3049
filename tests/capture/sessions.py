"""A dialogue between two engines in memory, recorded as the gateway's side would."""

from __future__ import annotations

import os
from pathlib import Path

from OpenSSL import SSL

from mxseal.capture.masking import SmtpMasking
from mxseal.capture.packets import Endpoint
from mxseal.capture.tape import Tape
from mxseal.tls.engine import Engine

LOCAL, REMOTE = Endpoint("192.0.2.1", 25), Endpoint("198.51.100.7", 40123)
SECRET = b"the combination is 31-8-24"
CONTENT = b"Subject: secret\r\n\r\n" + SECRET + b"\r\n" + b"..stuffed\r\n" * 3000 + b".\r\n"


class Recorded:
    """A server whose connection is recorded, and its client."""

    def __init__(
        self,
        server: SSL.Context,
        client: SSL.Context,
        *,
        content: bool = False,
        session: object = None,
        most: int = 1 << 20,
    ) -> None:
        self.at = 1_790_000_000.0
        masking = None if content else SmtpMasking()
        self.tape = Tape(self.at, we_are_client=False, masking=masking, fresh=os.urandom, most=most)
        self.server = Engine(server, server_side=True)
        self.client = Engine(client, server_side=False, server_name="mx.test", session=session)
        self.heard = b""

    def clear(self, who: str, data: bytes) -> None:
        self.at += 0.001
        self.tape.note(self.at, data, ours=who == "server")
        self.tape.settle()

    def handshake(self) -> Recorded:
        self.clear("server", b"220 mx.test ESMTP\r\n")
        self.clear("client", b"EHLO client.test\r\n")
        self.clear("server", b"250-mx.test\r\n250 STARTTLS\r\n")
        self.clear("client", b"STARTTLS\r\n")
        self.clear("server", b"220 go ahead\r\n")
        self.server.tell_secrets(self.tape.secret)
        self.tape.secure()
        self.client.start()
        self.pump()
        return self

    def pump(self) -> None:
        """Carry bytes until both are silent, what comes from the client first."""
        while True:
            up = self.client.output()
            self.at += 0.001
            if up:
                self.tape.note(self.at, up, ours=False)
                self.heard += self.server.receive(up)
            down = self.server.output()
            if down:
                self.tape.note(self.at, down, ours=True)
                self.client.receive(down)
            self.tape.settle()
            if not up and not down:
                return

    def say(self, who: str, data: bytes) -> None:
        (self.server if who == "server" else self.client).write(data)
        self.pump()

    def message(self, content: bytes = CONTENT) -> None:
        self.say("client", b"EHLO client.test\r\n")
        self.say("server", b"250-mx.test\r\n250 CHUNKING\r\n")
        self.say("client", b"MAIL FROM:<a@client.test> SIZE=1000\r\nRCPT TO:<b@mx.test>\r\nDATA\r\n")
        self.say("server", b"250 ok\r\n250 ok\r\n354 go ahead\r\n")
        self.say("client", content)
        self.say("server", b"250 stored\r\n")
        self.say("client", b"QUIT\r\n")
        self.say("server", b"221 bye\r\n")

    def end(self) -> None:
        self.server.close()
        self.pump()
        self.tape.end(self.at, "closed", ours=True)
        self.server.keep_secrets()

    def write(self, path: Path, local: Endpoint = LOCAL, remote: Endpoint = REMOTE) -> Path:
        path.write_bytes(self.tape.file(local, remote, "MXSeal test", "A connection of a test"))
        return path
