"""A double of an appliance that speaks the Threat Grid API v2 over TLS: the real one can't be had.

What it does is set while it runs: states, scores, errors, slowness and silence. Its TLS and its HTTP are the
standard library's, so it shares nothing with the gateway's.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import socket
import ssl
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from lab.ca import Issued
from lab.place import LOOPBACK, free_port, new_folder

KEY = "lab0key1of2the3appliance"
_PATIENCE = 60.0
_STATES = ("wait", "prep", "run", "proc")


@dataclass
class Sample:
    """A file that the appliance has."""

    reference: str
    sha256: str
    state: str = "wait"
    score: int = 0
    content: bytes = b""
    fields: dict[str, str] = field(default_factory=dict)


@dataclass
class Behaviour:
    """How it behaves from now on."""

    scores: dict[str, int] = field(default_factory=dict)
    """By SHA-256: what a run will find; 0 for any other."""
    fails: set[str] = field(default_factory=set)
    """Files whose run fails."""
    looks: int = 2
    """How often a state is asked until the run is over."""
    status: int = 200
    """Another one is answered to everything."""
    headers: dict[str, str] = field(default_factory=dict)
    raw: bytes | None = None
    """Is sent in the place of any answer; the connection then ends."""
    body: bytes | None = None
    """Stands in the place of the JSON of any answer."""
    silent: bool = False
    """Requests are taken and never answered."""
    hangs_up: int = 0
    """So many requests are answered by closing the connection."""


class Appliance:
    """`with Appliance(certificate) as appliance:` or start() and stop()."""

    def __init__(self, certificate: Issued, clients: Issued | None = None) -> None:
        """`clients`: the root whose client certificates are demanded."""
        self.port = free_port()
        self.behaviour = Behaviour()
        self.samples: dict[str, Sample] = {}
        """By reference."""
        self.requests: list[str] = []
        """Method and path, without the query."""
        self.connections = 0
        """TLS connections that stood."""
        self.accepted = 0
        self._folder = new_folder("appliance")
        self._context = _context(certificate, clients, self)
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> Self:
        """Listen."""
        self._server = _Server((LOOPBACK, self.port), self, self._context)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        return self

    def stop(self) -> None:
        """Close the port and all connections."""
        if self._server is not None:
            self._server.shutdown()
            self._server.hang_up()
            self._server.server_close()
            self._server = None
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def knows(self, content: bytes, state: str = "succ", score: int = 0) -> Sample:
        """Have a file as if it had been submitted before."""
        digest = hashlib.sha256(content).hexdigest()
        sample = Sample(f"{len(self.samples) + 1:032x}", digest, state, score, content)
        self.samples[sample.reference] = sample
        return sample

    def look(self, sample: Sample) -> str:
        """The state as it is told now; each look brings it on."""
        if sample.state in ("succ", "fail"):
            return sample.state
        told = sample.state
        done = _STATES.index(told) + 1 >= min(self.behaviour.looks, len(_STATES))
        if done:
            sample.state = "fail" if sample.sha256 in self.behaviour.fails else "succ"
            sample.score = self.behaviour.scores.get(sample.sha256, 0)
        else:
            sample.state = _STATES[_STATES.index(told) + 1]
        return told


def _context(certificate: Issued, clients: Issued | None, appliance: Appliance) -> ssl.SSLContext:
    files = certificate.write(appliance._folder / "tls", "server")  # noqa: SLF001
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.chain, files.key)
    if clients is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(cadata=clients.root_pem.decode())
    return context


class _Server(ThreadingHTTPServer):
    daemon_threads = False  # those that are left are waited for: `hang_up` ends what they wait for

    def __init__(self, place: tuple[str, int], appliance: Appliance, context: ssl.SSLContext) -> None:
        self.appliance = appliance
        self.context = context
        self.stopping = threading.Event()
        self._open: set[socket.socket] = set()
        super().__init__(place, _Handler)

    def get_request(self) -> tuple[Any, Any]:
        connection, address = super().get_request()
        self.appliance.accepted += 1
        self._open.add(connection)
        return connection, address

    def finish_request(self, request: Any, client_address: Any) -> None:
        """In the connection's own thread: the handshake holds nobody else up."""
        request.settimeout(_PATIENCE)
        with suppress(OSError), self.context.wrap_socket(request, server_side=True) as secured:
            self._open.add(secured)
            self.appliance.connections += 1
            _Handler(secured, client_address, self)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is no news."""

    def hang_up(self) -> None:
        self.stopping.set()
        for connection in list(self._open):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, *_: Any) -> None:
        """Quiet."""

    def do_GET(self) -> None:
        self._answer(b"")

    def do_POST(self) -> None:
        self._answer(self.rfile.read(int(self.headers.get("Content-Length", "0"))))

    def _answer(self, content: bytes) -> None:
        appliance = self.server.appliance
        behaviour = appliance.behaviour
        url = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(url.query).items()}
        appliance.requests.append(f"{self.command} {url.path}")
        if behaviour.silent:
            self.server.stopping.wait(_PATIENCE)
            self.close_connection = True
            return
        if behaviour.hangs_up:
            behaviour.hangs_up -= 1
            self.close_connection = True
            return
        if behaviour.raw is not None:
            self.wfile.write(behaviour.raw)
            self.close_connection = True
            return
        form = _form(self.headers.get("Content-Type", ""), content)
        given = self.headers.get("Authorization", "").removeprefix("bearer ")
        given = given or query.get("api_key", "") or form.get("api_key", b"").decode()
        status, data = (401, None) if given != KEY else self._data(url.path, query, form)
        status = behaviour.status if behaviour.status != 200 else status
        body = json.dumps({"api_version": 2, "id": 7, "data": data}).encode()
        self._send(status, behaviour.body if behaviour.body is not None else body)

    def _data(self, path: str, query: dict[str, str], form: dict[str, bytes]) -> tuple[int, Any]:
        appliance = self.server.appliance
        if path == "/api/v3/session/whoami":
            return 200, {"login": "gateway", "role": "device"}
        if path == "/api/v2/samples" and self.command == "POST":
            sample = appliance.knows(form.get("sample", b""), "wait")
            sample.fields = {key: value.decode() for key, value in form.items() if key != "sample"}
            return 200, _record(sample)
        if path == "/api/v2/samples":
            wanted = query.get("sha256")
            found = [_record(each) for each in appliance.samples.values() if each.sha256 == wanted]
            return 200, {"items": [{"item": each} for each in found], "current_item_count": len(found)}
        called = re.fullmatch(r"/api/v2/samples/([0-9a-f]+)/(state|threat)", path)
        known = appliance.samples.get(called[1]) if called else None
        if called is None or known is None:
            return 404, None
        if called[2] == "state":
            return 200, {"id": known.reference, "state": appliance.look(known)}
        return 200, {"sample": known.reference, "score": known.score}

    def _send(self, status: int, body: bytes) -> None:
        self.send_response(status)
        for name, value in self.server.appliance.behaviour.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _record(sample: Sample) -> dict[str, Any]:
    return {"id": sample.reference, "sha256": sample.sha256, "state": sample.state, "filename": "x"}


def _form(kind: str, content: bytes) -> dict[str, bytes]:
    """The fields of a multipart form."""
    found = re.search(r"boundary=(\S+)", kind)
    if found is None:
        return {}
    fields: dict[str, bytes] = {}
    for part in content.split(b"--" + found[1].encode())[1:-1]:
        head, _, value = part.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        name = re.search(rb'name="([^"]*)"', head)
        if name is not None:
            fields[name[1].decode()] = value.removesuffix(b"\r\n")
    return fields
