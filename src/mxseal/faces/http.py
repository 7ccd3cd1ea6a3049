"""The HTTP ports: the web GUI, the API and the metrics, in the leading process, as the interfaces say.

The connections are the library's (uvicorn) with our own sockets: strangers are counted before a handshake
costs anything, and a certificate that a commit assigns is presented from the next handshake on, while
connections that are open go on.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Mapping

import msgspec
from starlette.types import ASGIApp

from mxseal.certs.keys import KeyStore
from mxseal.certs.webtls import WebTlsRefused, web_context
from mxseal.clock import Timer
from mxseal.commands.running import Runner
from mxseal.config.model import Document, Interface
from mxseal.config.problem import Problem, key_path
from mxseal.faces.http_guard import Guard
from mxseal.faces.http_port import HttpPort, Places, Service, listening
from mxseal.faces.http_redirect import to_https
from mxseal.faces.http_services import HttpServices
from mxseal.faces.http_site import Site
from mxseal.faces.login import Login

_RETRY = 30.0
_PATIENCE = 3.0
log = logging.getLogger(__name__)

Place = tuple[str, int]


class _Wanted(msgspec.Struct, frozen=True):
    """A port that a document asks for."""

    interface: Interface
    secure: bool

    @property
    def place(self) -> Place:
        interface = self.interface
        return interface.address, interface.https_port if self.secure else interface.http_port

    @property
    def path(self) -> str:
        return key_path("interfaces", self.interface.name, "https_port" if self.secure else "http_port")


class HttpFace:
    """The ports. `start` with the gateway; `prepare` and `configure` with each document."""

    def __init__(self, runner: Runner, services: HttpServices, counted: Login | None = None) -> None:
        """`counted`: the login of another face, with which wrong passwords are counted together."""
        self._services = services
        self._clock = services.clock
        self.site = Site(runner, services, counted)
        self._places = Places()
        self._ports: dict[Place, HttpPort] = {}
        self._prepared: dict[Place, socket.socket] = {}
        self._asked: set[Place] = set()
        """What the document in force wants, open or not."""
        self._retry: Timer | None = None
        self._again: asyncio.Task[None] | None = None
        # strangers who send what is not HTTP fill no log; faults of the application are told
        logging.getLogger("uvicorn.error").setLevel(logging.ERROR)

    @property
    def open(self) -> Mapping[Place, HttpPort]:
        """The ports that are open now."""
        return self._ports

    # --- life -----------------------------------------------------------------------------------------------

    async def start(self) -> list[Problem]:
        """Listen where the document in force says. A port that can't be had is told, and tried again every
        half minute: mail does not depend on it."""
        return self._apply(self._services.history.current().document)

    def prepare(self, document: Document) -> list[Problem]:
        """Open the ports of a document that is to come in force, and see that their certificates work: what
        stands against it. Nothing in force changes. `configure` follows, or `forget`."""
        self.forget()
        problems: list[Problem] = []
        for wanted in _wanted(document):
            found = self._service(document, wanted)
            if isinstance(found, Problem):
                problems.append(found)
            # one that was wanted before and can't be had is tried again by itself, and keeps nobody from
            # committing; where another address has the port, perhaps only our own socket is in the way
            new = wanted.place not in self._asked
            if new and all(place[1] != wanted.place[1] for place in self._ports):
                try:
                    self._prepared[wanted.place] = listening(*wanted.place)
                except OSError as error:
                    problems.append(_taken(wanted, error))
        return problems

    def forget(self) -> None:
        """The document of `prepare` does not come in force."""
        for sock in self._prepared.values():
            sock.close()
        self._prepared.clear()

    async def configure(self, document: Document) -> list[Problem]:
        """The document is in force: new ports are opened, others closed, and certificates swapped. Requests
        that are being answered are answered."""
        return self._apply(document)

    async def stop(self) -> None:
        """Close the ports; what is being answered has a moment to end."""
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        self.forget()
        ports, self._ports = list(self._ports.values()), {}
        self.site.leave()
        await asyncio.gather(*(port.stop(_PATIENCE) for port in ports))

    def _apply(self, document: Document) -> list[Problem]:
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        wanted = {entry.place: entry for entry in _wanted(document)}
        self._asked = set(wanted)
        for place in set(self._ports) - set(wanted):
            self._ports.pop(place).close()
        problems: list[Problem] = []
        for place, entry in wanted.items():
            service = self._service(document, entry)
            problem = self._serve(place, entry, service) if isinstance(service, Service) else service
            if problem is not None:
                problems.append(problem)
                log.warning("%s", problem)
        self.forget()
        if problems:
            self._retry = self._clock.call_later(_RETRY, self._try_again)
        return problems

    def _serve(self, place: Place, wanted: _Wanted, service: Service) -> Problem | None:
        if place in self._ports:
            self._ports[place].service = service
            return None
        try:
            sock = self._prepared.pop(place, None) or listening(*place)
        except OSError as error:
            return _taken(wanted, error)
        self._ports[place] = HttpPort(sock, service, self._places, self._clock)
        return None

    def _try_again(self) -> None:
        self._apply(self._services.history.current().document)

    def _service(self, document: Document, wanted: _Wanted) -> Service | Problem:
        interface = wanted.interface
        if not wanted.secure:
            hostname = document.interface_hostname(interface)
            app: ASGIApp = to_https(hostname, interface.https_port, redirect=interface.redirect)
            return Service(Guard(app, self._services.now), None)
        try:
            context: ssl.SSLContext = web_context(
                document, interface, KeyStore(self._services.secrets), self._services.now()
            )
        except WebTlsRefused as refused:
            return refused.problem
        return Service(self.site, context, interface.name, self.site.untrusted)


def _wanted(document: Document) -> list[_Wanted]:
    return [
        _Wanted(interface, secure)
        for interface in document.interfaces
        for secure, on in ((True, interface.https), (False, interface.http))
        if on
    ]


def _taken(wanted: _Wanted, error: OSError) -> Problem:
    address, port = wanted.place
    what = "HTTPS" if wanted.secure else "HTTP"
    return Problem(
        wanted.path,
        f"{address} port {port} can't be opened for {what}: {(error.strerror or str(error)).lower()}",
        "Choose another address or port, or stop what uses it",
    )
