"""All servers of a domain through the test, several at a time; what happens is told while it happens."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import AsyncIterator, Sequence

import msgspec

from mxseal.clock import Clock
from mxseal.examine.ciphers import Surveying
from mxseal.examine.own import name_row
from mxseal.examine.report import DomainReport, HostReport
from mxseal.examine.score import assure_score, domain_score, host_score
from mxseal.examine.stages import Run, Trust
from mxseal.examine.talk import Manners, Place
from mxseal.relay.resolver import DnsFault, Resolver

SMTP = 25
_AT_ONCE = 4
_MOST_HOSTS = 20
_ADDRESSES = 6


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be found out."""

    subject: str
    versions: bool = False
    """Also versions and ciphers, with many connections."""
    assure: bool = False
    """Whether clear text is refused, in place of all else."""
    interfaces: tuple[str, ...] | None = None
    """Host names of this gateway's listeners, for the rule about one's own domain; None: not asked."""


class NoPlace(Exception):
    """There is nothing to test; the text is a sentence."""


async def places(resolver: Resolver, domain: str, port: int = SMTP) -> tuple[Place, ...]:
    """The domain's exchangers by preference; without MX records the domain itself (RFC 5321 §5.1).

    Addresses that lead into this machine are left out, as on delivery. Raises NoPlace.
    """
    records = await resolver.exchangers(domain)
    if isinstance(records, DnsFault):
        raise NoPlace(f"{domain} can't be tested: {records.text}")
    if not records:
        return (await outside(resolver, domain, None, port),)
    ordered = sorted({(record.preference, record.host) for record in records})[:_MOST_HOSTS]
    return tuple([await outside(resolver, host, preference, port) for preference, host in ordered])


async def outside(resolver: Resolver, host: str, preference: int | None, port: int = SMTP) -> Place:
    """A stranger's host, without addresses inside this machine or network link."""
    found = await resolver.host(host, port)
    if isinstance(found, DnsFault):
        return Place(host=host, port=port, preference=preference, problem=f"{host}: {found.text}.")
    addresses = resolver.permitted(found.addresses)[:_ADDRESSES]
    problem = "" if addresses else f"{host} has only addresses inside this machine or network link."
    return Place(host=host, port=port, preference=preference, addresses=addresses, problem=problem)


async def named(resolver: Resolver, host: str, port: int) -> Place:
    """A host that an administrator wrote: any address and port."""
    found = await resolver.host(host, port)
    if isinstance(found, DnsFault):
        return Place(host=host, port=port, problem=f"{host}: {found.text}.")
    return Place(host=host, port=port, addresses=found.addresses[:_ADDRESSES])


class Examination:
    """The test of some places. `run` gives sentences while it lasts and the report at the end, once."""

    def __init__(self, wish: Wish, manners: Manners, trust: Trust, clock: Clock) -> None:
        self._wish = wish
        self._manners = manners
        self._trust = trust
        self._clock = clock
        self._turn = asyncio.Semaphore(_AT_ONCE)
        self._told: asyncio.Queue[str] = asyncio.Queue()
        self._greeted: dict[str, str] = {}

    async def run(self, found: Sequence[Place]) -> AsyncIterator[str | DomainReport]:
        loop = asyncio.get_running_loop()
        tasks = [loop.create_task(self._one(place)) for place in found]
        everything = asyncio.gather(*tasks)
        everything.add_done_callback(lambda _: self._told.put_nowait(""))
        try:
            while text := await self._told.get():
                yield text
            yield self._report(await everything)
        finally:
            everything.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _one(self, place: Place) -> HostReport:
        async with self._turn:
            at = f"{place.host} port {place.port}" if place.port != 25 else place.host
            self._told.put_nowait(f"Testing {at} …")
            run = Run(place, self._manners, self._trust, self._clock)
            if self._wish.assure:
                report = await run.clear(f"postmaster@{_mail_domain(self._wish.subject)}")
            else:
                report = await run.whole()
                report = await self._surveyed(report)
                report = msgspec.structs.replace(report, score=host_score(report))
            self._greeted[place.host] = run.banner.split(" ")[0].lower()
            self._told.put_nowait(told(report))
            return report

    async def _surveyed(self, report: HostReport) -> HostReport:
        if not self._wish.versions or not any(s.name == "TLS" and s.state == "ok" for s in report.stages):
            return report
        self._told.put_nowait(f"Asking {report.host} for versions and ciphers …")
        surveying = Surveying(report.host, report.address, report.port, self._manners, self._clock)
        surveying.left = max(0, self._manners.connections - report.connections)
        survey = await surveying.run()
        count = report.connections + surveying.connections
        return msgspec.structs.replace(report, survey=survey, connections=count)

    def _report(self, hosts: Sequence[HostReport]) -> DomainReport:
        wish = self._wish
        rows = [
            name_row(host, self._greeted.get(host.host, ""), wish.interfaces)
            for host in hosts
            if wish.interfaces is not None
        ]
        return DomainReport(
            subject=wish.subject,
            at=self._clock.now(),
            kind="assure" if wish.assure else "receiver",
            hosts=tuple(hosts),
            score=assure_score(hosts) if wish.assure else domain_score(hosts),
            own=tuple(rows),
        )


def told(report: HostReport) -> str:
    """One server's outcome in a line."""
    trouble = report.trouble
    what = f"{report.protocol}, {report.cipher}" if report.protocol else trouble.why if trouble else ""
    refused = report.stage("Refused")
    verdict = report.verdict
    if refused is not None:
        words = {"ok": "clear text is refused", "fail": "clear text is taken", "untested": "untested"}
        return f"{report.host}: {words[refused.state]}{f' ({what})' if what else ''}"
    return f"{report.host}: {verdict}{f' ({what})' if what else ''}"


def _mail_domain(subject: str) -> str:
    try:
        address = ipaddress.ip_address(subject)
    except ValueError:
        return subject
    return f"[{'IPv6:' if address.version == 6 else ''}{address}]"
