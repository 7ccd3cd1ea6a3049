"""What the tests of `mxseal.examine` share: servers on addresses of their own, trust, a run to its end."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lab.ca import Authority
from lab.hostile import Hostile
from lab.script import Behaviour
from mxseal.clock import SystemClock
from mxseal.config.model import Dns
from mxseal.examine.receiver import Examination, Wish
from mxseal.examine.report import DomainReport, HostReport
from mxseal.examine.stages import Trust
from mxseal.examine.talk import Manners, Place
from mxseal.relay.resolver import DnsResolver
from mxseal.tls.contexts import ClientTls, client_context

MANNERS = Manners(
    hello="tester.lab.test",
    sender="postmaster@tester.lab.test",
    reply_seconds=20.0,
    pause_seconds=0.0,
    busy_seconds=0.0,
)


class At(Hostile):
    """A next hop on an address and port that are given, as MX records need it."""

    def __init__(
        self, host: str, port: int, behaviour: Behaviour | str = "no-pipelining", **how: Any
    ) -> None:
        super().__init__(behaviour, **how)
        self._host = host
        self.port = port

    @property
    def address(self) -> tuple[str, int]:
        return self._host, self.port


def trusting(authority: Authority, folder: Path) -> Trust:
    """Believes this root alone, and speaks every version."""
    path = folder / "roots.pem"
    path.write_bytes(authority.pem)
    values = ClientTls(trust=str(path), min_version="TLSv1", ciphers="ALL:COMPLEMENTOFALL")
    return Trust(context=client_context(values), roots=[authority.certificate])


def resolver(port: int, *, allow_local: bool = True) -> DnsResolver:
    return DnsResolver(Dns(servers=(f"127.0.0.1:{port}",), allow_local=allow_local), SystemClock())


async def examined(
    found: Sequence[Place], trust: Trust, *, manners: Manners = MANNERS, **wish: Any
) -> tuple[DomainReport, list[str]]:
    """The report, and what was told on the way."""
    examination = Examination(Wish(**({"subject": "lab.test"} | wish)), manners, trust, SystemClock())
    told: list[str] = []
    async for item in examination.run(found):
        if isinstance(item, DomainReport):
            return item, told
        told.append(item)
    raise AssertionError("no report")


async def one(server: Any, trust: Trust, host: str = "mx.lab.test", **how: Any) -> HostReport:
    """The report about one server of the laboratory, under a name."""
    place = Place(host=host, port=server.port, addresses=(server.address[0],))
    report, _ = await examined([place], trust, **how)
    return report.hosts[0]


def states(host: HostReport) -> list[str]:
    return [stage.state for stage in host.stages]


def codes(host: HostReport) -> set[str]:
    assert host.certificate is not None
    return {problem.code for problem in host.certificate.problems}
