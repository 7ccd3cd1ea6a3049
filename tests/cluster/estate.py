"""Three gateways and their engine, as tests of a cluster have them."""

from __future__ import annotations

import base64
import json
import tomllib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import tomli_w

from lab.ca import Authority, Issued
from lab.gateway import Gateway
from lab.nats import Nats
from lab.place import free_port
from lab.process import until
from mxseal.faces.client import Line, connect

CLUSTER = "americas"


class Failed(Exception):
    """A command ended with a failure; the text is what it said."""


class Machine:
    """A gateway with its port, its name, and its certificate for the engine."""

    def __init__(self, name: str, engine: Nats, folder: Path, issued: Issued) -> None:
        """`issued` is the certificate "mail" of its listener."""
        self.name = name
        self.port = free_port()
        self.engine = engine
        self.folder = folder
        _, files = engine.client(name)
        self.authority = files.root
        self._bundle("engine", files.key.read_bytes() + files.chain.read_bytes())
        self._bundle("mail", issued.key_pem + issued.chain_pem)
        self.gateway = Gateway()

    def _bundle(self, what: str, content: bytes) -> Path:
        path = self.folder / f"{self.name}-{what}"
        path.write_bytes(content)
        return path

    def prepare(self) -> None:
        """Put its document in force."""
        for name in ("engine", "mail"):
            self.run("certconfig", "import", name, str(self.folder / f"{self.name}-{name}"))
        document = tomli_w.dumps(plain(self.port) | {"hostname": self.name})
        self.run("commit", "certificates")
        self.run("loadconfig", str(self._bundle("document", document.encode())))
        self.run("commit", "prepared")

    @property
    def way(self) -> list[str]:
        """Options that say how the engine is reached."""
        servers = [word for url in self.engine.urls for word in ("--server", url)]
        return [*servers, "--certificate", "engine", "--authority", str(self.authority)]

    def run(self, *words: str) -> Any:
        """A command's result as JSON; it is asked over the socket, which takes less than a process. Raises
        Failed."""
        return json.loads(self._asked(words, as_json=True) or "null")

    def text(self, *words: str) -> str:
        """The same, as people see it."""
        return self._asked(words, as_json=False)

    def refused(self, *words: str) -> str:
        """What a command says that fails."""
        try:
            self.text(*words)
        except Failed as failed:
            return str(failed)
        raise AssertionError(f"{words} did not fail")

    def _asked(self, words: tuple[str, ...], *, as_json: bool) -> str:
        line = Line(connect(self.gateway.home))
        line.send({"words": list(words), "json": as_json})
        said: list[str] = []
        while (message := line.receive()) is not None:
            if "read" in message:
                content = base64.b64encode(Path(message["read"]["path"]).read_bytes()).decode()
                line.send({"content": content})
            elif "exit" in message:
                line.close()
                if message["exit"]:
                    raise Failed("".join(said))
                break
            else:
                said.append(message.get("out", "") + message.get("err", ""))
        return "".join(said)

    def document(self) -> dict[str, Any]:
        """What is in force."""
        return tomllib.loads(self.text("showconfig"))

    def join(self, token: str, *keep: str) -> Any:
        kept = [word for name in keep for word in ("--keep", name)]
        return self.run("clusterconfig", "join", "--token", f"pass:{token}", *self.way, *kept)

    @property
    def number(self) -> int:
        """The revision that is in force."""
        return int(self.run("version")["revision"])


class Estate:
    """`machines` of one cluster, of which the first has made it."""

    def __init__(self, engine: Nats, machines: list[Machine]) -> None:
        self.engine = engine
        self.machines = machines

    def converged(self, machines: list[Machine] | None = None) -> None:
        """Return when all machines do the same revision."""
        among = machines or self.machines
        until(
            lambda: len({machine.number for machine in among}) == 1,
            lambda: f"they do revisions {[machine.number for machine in among]}",
        )


def plain(port: int) -> dict[str, Any]:
    return {
        "workers": 1,
        "listeners": [{"name": "In", "port": port, "certificate": "mail"}],
        "mail_flow_policies": [{"name": "ACCEPTED", "tls": "preferred"}],
        "recipient_access": {"domains": ["example.test"]},
        "destinations": [{"domain": "default", "tls": "preferred"}],
        "delivery": {"certificate": "mail"},
    }


@contextmanager
def estate(folder: Path, count: int = 3, servers: int = 3) -> Iterator[Estate]:
    """A cluster of `count` machines; each keeps its listeners, since they share one address."""
    root = Authority("MXSeal Lab Mail Root")
    shared = root.issue("mx.lab.test")
    with ExitStack() as stack:
        engine = stack.enter_context(Nats(servers))
        machines = [Machine(f"mx{number}.lab.test", engine, folder, shared) for number in range(1, count + 1)]
        for machine in machines:
            stack.enter_context(machine.gateway)
            machine.prepare()
        first, *others = machines
        first.run("clusterconfig", "create", CLUSTER, *first.way)
        for other in others:
            other.join(first.run("clusterconfig", "token")["token"], "listeners")
        made = Estate(engine, machines)
        made.converged()
        yield made
