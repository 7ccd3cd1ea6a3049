"""Which certificates the listeners show, seen from outside: after a commit, soon after the start, daily.

What was seen is an event: another certificate than the assigned one raises an alert by it, and ends it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

import msgspec

from mxseal.certs.facts import fingerprint, key_type
from mxseal.certs.live import server_names
from mxseal.certs.profiles import parse
from mxseal.clock import Clock, Timer
from mxseal.config.model import Document, Interface, Listener
from mxseal.events.bus import Bus
from mxseal.events.types import CertificateServed
from mxseal.relay.probe import Announce, Probe, Seen, Wanted

SOON_SECONDS = 5.0
DAY_SECONDS = 86_400.0
log = logging.getLogger(__name__)


class Around(msgspec.Struct, frozen=True, kw_only=True):
    """What the looks need to know."""

    document: Callable[[], Document]
    """The one in force."""
    settled: Callable[[], int | None]
    """Its number; None while another is being put in force."""
    announce: Announce
    workers: Callable[[], int]
    """How many processes accept the connections of one port."""


class Looks:
    """`start` and `stop` it with the gateway."""

    def __init__(self, clock: Clock, bus: Bus, around: Around) -> None:
        self._clock = clock
        self._bus = bus
        self._around = around
        self._probe = Probe(clock, around.announce)
        self._timer: Timer | None = None
        self._looking: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._arm(SOON_SECONDS)

    async def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.wait([self._looking])

    @property
    def looking(self) -> bool:
        """Whether a look of its own is under way."""
        return self._looking is not None

    async def look(self) -> list[Seen]:
        """What each listener serves: each certificate of it, also by server name. Told as events."""
        seen = await self._seen(times=1)
        self._tell(seen)
        return seen

    async def see(self) -> list[Seen]:
        """The same without telling."""
        return await self._seen(times=1)

    # --- by itself ------------------------------------------------------------------------------------------

    def _arm(self, seconds: float) -> None:
        self._timer = self._clock.call_later(seconds, self._begin)

    def _begin(self) -> None:
        self._looking = asyncio.get_running_loop().create_task(self._look_by_itself())
        self._looking.add_done_callback(self._looked)

    async def _look_by_itself(self) -> None:
        """A commit in between would make what is assigned and what was seen two different things."""
        before = self._around.settled()
        if before is not None:
            # Who accepts is chance: as many looks as there are processes that may.
            seen = await self._seen(times=self._around.workers())
            if self._around.settled() == before:
                self._tell(seen)
                self._arm(DAY_SECONDS)
                return
        self._arm(SOON_SECONDS)

    def _looked(self, task: asyncio.Task[None]) -> None:
        self._looking = None
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("what the listeners show could not be looked at", exc_info=error)
            self._arm(DAY_SECONDS)

    # --- both -----------------------------------------------------------------------------------------------

    async def _seen(self, times: int) -> list[Seen]:
        document = self._around.document()
        wanted = [want for listener in document.listeners for want in _wanted(document, listener)]
        wanted += [want for interface in document.interfaces for want in _wanted_https(document, interface)]
        found = [await self._probe.look(wanted) for _ in range(times)]
        worst = [_worst(looks) for looks in zip(*found, strict=True)]
        return [
            msgspec.structs.replace(each, certificate=want.certificate)
            for want, each in zip(wanted, worst, strict=True)
        ]

    def _tell(self, seen: Sequence[Seen]) -> None:
        for each in seen:
            if each.sha256 is not None:
                self._bus.publish(
                    CertificateServed(
                        at=self._clock.now(),
                        listener=each.listener,
                        service=each.service,
                        certificate=each.certificate,
                        sha256=each.sha256,
                        expected=each.expected,
                    )
                )


def _worst(looks: Sequence[Seen]) -> Seen:
    """Of several looks at one thing the one that saw something else, if there is one."""
    wrong = (each for each in looks if each.sha256 is not None and not each.expected)
    return next(wrong, looks[-1])


def _assigned(listener: Listener) -> list[str]:
    names = [listener.certificate]
    if listener.second_certificate:
        names.append(listener.second_certificate)
    return names


class _Want(Wanted, frozen=True, kw_only=True):
    certificate: str


def _wanted(document: Document, listener: Listener) -> list[_Want]:
    """One probe for each certificate of a listener; those chosen by name are asked for by name."""
    found: list[_Want] = []
    for name in (*_assigned(listener), *listener.sni_certificates):
        profile = document.certificate(name)
        bundle = parse(profile) if profile is not None else []
        if isinstance(bundle, list):
            continue
        server_name = None
        if name in listener.sni_certificates:
            names = server_names(bundle.leaf)
            server_name = names[0].replace("*", "probe", 1) if names else None
        found.append(
            _Want(
                listener=listener,
                hostname=document.hostname,
                server_name=server_name,
                fingerprint=fingerprint(bundle.leaf),
                key_type=key_type(bundle.leaf),
                certificate=name,
            )
        )
    return found


def _wanted_https(document: Document, interface: Interface) -> list[_Want]:
    profile = document.certificate(interface.certificate)
    bundle = parse(profile) if profile is not None else []
    if isinstance(bundle, list) or not interface.https:
        return []
    place = Listener(
        name=interface.name, address=interface.address, port=interface.https_port, implicit_tls=True
    )
    return [
        _Want(
            listener=place,
            service="interface",
            hostname=document.interface_hostname(interface),
            server_name=None,
            fingerprint=fingerprint(bundle.leaf),
            key_type=key_type(bundle.leaf),
            certificate=interface.certificate,
        )
    ]


async def served(looks: Looks) -> dict[str, list[str]]:
    """The certificates that are assigned, and the fingerprints seen where they are; "" where nothing was."""
    found: dict[str, list[str]] = {}
    for seen in await looks.see():
        found.setdefault(seen.certificate, []).append(seen.sha256 or "")
    return found


def told(seen: Seen) -> str:
    """One look, for whoever committed."""
    service = seen.service.capitalize()
    by_name = f" to clients that ask for {seen.server_name}" if seen.server_name else ""
    if seen.sha256 is None:
        return f"{service} {seen.listener}: {seen.certificate} was not seen{by_name}: {seen.problem}."
    if seen.expected:
        return (
            f"{service} {seen.listener} serves the certificate {seen.certificate}{by_name}: "
            f"SHA-256 {seen.sha256}."
        )
    return (
        f"Warning: {seen.service} {seen.listener} serves another certificate than {seen.certificate}"
        f"{by_name}: SHA-256 {seen.sha256}."
    )
