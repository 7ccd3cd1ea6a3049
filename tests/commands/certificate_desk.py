"""A certificate officer at work: real history and real key store, in memory."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from mxseal.certs.keys import KeyStore
from mxseal.certs.make import demo_certificate
from mxseal.commands import (
    certificate_chains,
    certificate_import,
    certificate_new,
    certificate_use,
    certificates,
    configuration,
)
from mxseal.commands.context import Role
from mxseal.commands.registry import Registry
from mxseal.commands.results import Result
from mxseal.commands.running import AuditRecord, Ended, Runner
from mxseal.config.history import History, initial
from mxseal.config.model import Certificate, Document
from mxseal.faces.render import Style, as_json, as_text
from mxseal.relay.probe import Seen
from mxseal.storage.ports import StorageRefused
from tests.certs.authority import NOW, MemorySecrets, authority, cert_pem
from tests.commands.gateway import FakeClient, FakeServices, context
from tests.config.memory import MemoryDocuments

CERTIFICATE_COMMANDS = Registry((
    certificates, certificate_new, certificate_import, certificate_chains, certificate_use, configuration,
))  # fmt: skip
DEMO = demo_certificate("mx.example.com", NOW)


class FullSecrets(MemorySecrets):
    """A store whose disk is full once `full` is set."""

    full = False

    def put(self, name: str, value: bytes) -> None:
        if self.full:
            raise StorageRefused("full", "no space left")
        super().put(name, value)


class CertificateServices(FakeServices):
    """The gateway of a fresh home, with its demonstration certificate."""

    def __init__(self) -> None:
        super().__init__()
        self.secrets = FullSecrets()
        self.keys = KeyStore(self.secrets)
        self.keys.put(DEMO.key)
        self.documents = MemoryDocuments()
        self.history = History(self.documents)
        self.history.begin(initial("mx.example.com", demo=DEMO.certificate), "init", NOW)
        self.at = NOW
        self.seen: list[Seen] = []

    def now(self) -> float:
        return self.at

    async def probe(self) -> Sequence[Seen]:
        return self.seen


class Officer:
    """One caller. `files` are those on the caller's side, `answers` what is typed when asked."""

    def __init__(
        self,
        services: CertificateServices | None = None,
        files: dict[str, bytes] | None = None,
        answers: Iterable[str] = (),
        role: Role = "certificate-officer",
    ) -> None:
        self.services = services or CertificateServices()
        self.client = FakeClient(files, answers)
        self.context = context(self.services, self.client, CERTIFICATE_COMMANDS, role)
        self.audit: list[AuditRecord] = []
        self.shown: list[str] = []
        """Everything that was shown, as text and as JSON."""
        self.text = ""
        self.json: Any = None
        self._runner = Runner(CERTIFICATE_COMMANDS, self.audit.append)

    async def run(self, *words: str) -> Ended:
        async def keep(result: Result) -> None:
            self.text = as_text(result, Style(width=self.context.width))
            self.json = msgspec.json.decode(as_json(result.to_json()))
            self.shown += [self.text, as_json(result.to_json())]

        self.text, self.json = "", None
        ended = await self._runner.run(words, self.context, keep)
        self.text = self.text or ended.message
        return ended

    async def ok(self, *words: str) -> Any:
        """Run what has to succeed; what programs get to see."""
        ended = await self.run(*words)
        assert ended.outcome == "ok", self.text
        return self.json

    async def refused(self, *words: str) -> str:
        """Run what has to fail, and change nothing; what people get to see, on one line."""
        before = self.document, dict(self.services.secrets.kept)
        ended = await self.run(*words)
        assert ended.outcome in {"failed", "refused", "usage"}, self.text
        assert before == (self.document, dict(self.services.secrets.kept))
        return " ".join(self.text.split())

    @property
    def document(self) -> Document:
        return self.services.history.candidate(self.context.owner)

    def profile(self, name: str) -> Certificate:
        found = self.document.certificate(name)
        assert found is not None
        return found

    def trust(self, path: object) -> None:
        delivery = self.document.delivery.model_copy(update={"ca_file": str(path)})
        self.services.edit(self.context.owner, delivery=delivery)

    @property
    def codes(self) -> list[str]:
        """Of the problems or warnings in the last answer."""
        return [problem["code"] for problem in self.json.get("problems", self.json.get("warnings", []))]


UNRELATED = cert_pem(authority("Other Authority", None).certificate)
