"""An analysis server in the test's hand, and messages with files for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from email.message import EmailMessage
from typing import Any

from mxseal.analysis.values import AnalysisFault, Item, Pending, Verdict
from mxseal.crew.worker import Worker
from tests.relay.harness import listening, route

Said = Verdict | Pending | AnalysisFault
SERVER = "grid"


def verdict(disposition: str, score: int | None = None, threat: str = "") -> Verdict:
    return Verdict(disposition, score, threat, SERVER, "sample-1")  # type: ignore[arg-type]


CLEAN = verdict("clean", 0)
BAD = verdict("malicious", 100, "Lab.Threat")
UNKNOWN = verdict("unknown")
DOWN = AnalysisFault("unreachable", "connection refused", SERVER)


class Server:
    """The port Analyser; what it says is set by tests, by a file's name."""

    def __init__(self, usual: Said | None = CLEAN) -> None:
        """`usual`: None: it is silent."""
        self.usual = usual
        self.says: dict[str, Said] = {}
        self.asked: list[str] = []
        self.polled: list[str] = []
        self.finished: Said | None = None
        """What a poll gives; None: it is still at it."""
        self.at_once = 0
        self.most_at_once = 0
        self._spoke = asyncio.Event()

    async def judge(self, item: Item) -> Said:
        self.asked.append(item.name)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            while self.usual is None and item.name not in self.says:
                self._spoke.clear()
                await self._spoke.wait()
            found = self.says.get(item.name) or self.usual
            assert found is not None
            if isinstance(found, Pending):
                return Pending(SERVER, f"sample-{item.sha256[:6]}", item.sha256)
            return found
        finally:
            self.at_once -= 1

    async def poll(self, pending: Pending) -> Said:
        self.polled.append(pending.reference)
        return self.finished or pending

    def speak(self, said: Said) -> None:
        """From now on it says this."""
        self.usual = said
        self._spoke.set()


PENDING = Pending(SERVER, "", "")


def asking(server: Any, name: str = SERVER) -> Callable[[Worker], None]:
    """For `prepare`: the worker's one analysis server."""

    def prepare(worker: Worker) -> None:
        worker.servers_of = lambda _document: {name: server}

    return prepare


def document(port: int, next_hop: int, *, action: str = "accept", **analysis: Any) -> dict[str, Any]:
    """A listener that analyses files, and one next hop."""
    plain = listening(port, action=action) | route(next_hop, tls="off")
    return plain | {"analysis": {"enabled": True, "servers": [SERVER], **analysis}}


def message(*names: str, content: bytes = b"file content", text: str = "Hello.") -> bytes:
    """A message with files of these names, each with a content of its own."""
    made = EmailMessage()
    made["Subject"] = "files"
    made["Message-ID"] = "<files@lab.test>"
    made.set_content(text)
    for name in names:
        made.add_attachment(
            content + name.encode(), maintype="application", subtype="octet-stream", filename=name
        )
    return made.as_bytes().replace(b"\n", b"\r\n")
