"""The real c-icap with ClamAV over TLS: what it says of files, and what the gateway makes of it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from lab.ca import Authority
from lab.cicap import THREAT, Cicap
from mxseal.analysis.samples import eicar, harmless, item
from mxseal.analysis.values import Pending
from mxseal.events.scanning import AnalysisConnected, AnalysisConnectionFailed
from mxseal.scanning.scanner import Scanner
from tests.conftest import Starter
from tests.scanning.bench import bench, scanner


async def test_the_test_file_is_found_over_verified_tls_and_a_harmless_one_is_not(
    cicap: Cicap, authority: Authority
) -> None:
    async with bench(authority, scanner(cicap.tls_port)) as made:
        found = await made.verdict(eicar())
        assert (found.disposition, found.threat, found.score) == ("malicious", THREAT, None)
        assert (found.server, found.reference) == ("Lab", "")
        assert (await made.verdict(harmless())).disposition == "clean"
        (connected,) = made.of(AnalysisConnected)  # and the second file went over the same connection
        assert connected.verified
        assert connected.verdict == "verified, 127.0.0.1 (the subject alternative name) matches the host"
        assert connected.facts is not None
        assert connected.facts.protocol == "TLSv1.3"
        assert isinstance(made.analyser, Scanner)
        assert made.analyser.service is not None
        assert made.analyser.service.preview == 1024


@pytest.mark.parametrize("size", [0, 1, 2, 1023, 1024, 1025, 70_000, 3_000_000])
async def test_a_file_of_any_size_is_scanned_whole(cicap: Cicap, authority: Authority, size: int) -> None:
    async with bench(authority, scanner(cicap.tls_port)) as made:
        clean = await made.verdict(b"a" * size)
        # A scanner may take nothing for what it need not look into.
        assert clean.disposition in ({"clean"} if size > 1 else {"clean", "unknown"})
        bad = await made.verdict(b"a" * size + eicar().content)
        assert bad.disposition == "malicious"


async def test_a_kind_of_file_that_the_scanner_does_not_look_into_is_not_called_clean(
    running: Starter, authority: Authority
) -> None:
    def narrow() -> Cicap:
        made = Cicap(authority.issue("127.0.0.1"))
        made.types = "EXECUTABLE"
        return made

    cicap = running(narrow)
    async with bench(authority, scanner(cicap.tls_port)) as made:
        found = await made.verdict(item("a.txt", "text/plain", b"only a text of some length, " * 99))
        assert found.disposition == "unknown"


async def test_files_go_side_by_side_over_a_bounded_number_of_connections(
    cicap: Cicap, authority: Authority
) -> None:
    async with bench(authority, scanner(cicap.tls_port, connections=3)) as made:
        found = await asyncio.gather(*(made.verdict(eicar() if n % 2 else harmless()) for n in range(12)))
        assert [each.disposition for each in found] == ["clean", "malicious"] * 6
        assert len(made.of(AnalysisConnected)) == 3
        (state,) = made.made.states()
        assert (state.connections, state.answered, state.working) == (3, 12, 0)


async def test_a_service_that_the_server_lacks_is_told_by_name(cicap: Cicap, authority: Authority) -> None:
    async with bench(authority, scanner(cicap.tls_port, service="nothing")) as made:
        fault = await made.fault()
        assert fault.kind == "refused"
        assert fault.text == "the server answered 404 Service not found: is the name of the service right?"
        (failed,) = made.of(AnalysisConnectionFailed)
        assert failed.stage == "answer"


async def test_a_scanner_without_tls_is_asked_only_where_the_document_says_so(
    cicap: Cicap, authority: Authority
) -> None:
    async with bench(authority, scanner(cicap.port, security="none")) as made:
        assert (await made.verdict(eicar())).disposition == "malicious"
        (connected,) = made.of(AnalysisConnected)
        assert (connected.facts, connected.verified, connected.security) == (None, False, "none")
    async with bench(authority, scanner(cicap.port, connect_time=0.3)) as made:
        fault = await made.fault()
        assert fault.kind == "tls"
        (failed,) = made.of(AnalysisConnectionFailed)
        assert failed.diagnosis is not None


async def test_a_client_certificate_that_the_scanner_demands_is_shown_or_its_absence_diagnosed(
    running: Starter, authority: Authority, tmp_path: Path
) -> None:
    clients = Authority("Clients")
    cicap = running(lambda: Cicap(authority.issue("127.0.0.1"), clients.issue("gateway")))
    ours = clients.issue("gateway", usages=["client"])
    async with bench(authority, scanner(cicap.tls_port), shown=(ours, tmp_path)) as made:
        assert (await made.verdict(eicar())).disposition == "malicious"
        assert made.of(AnalysisConnected)[0].certificate == "gateway"
    async with bench(authority, scanner(cicap.tls_port)) as made:
        assert (await made.fault()).kind == "tls"
        (failed,) = made.of(AnalysisConnectionFailed)
        assert failed.diagnosis is not None
        assert failed.diagnosis.cause in {"client-certificate-required", "peer-closed-later"}
        assert not made.of(AnalysisConnected)


async def test_a_scanner_whose_engine_is_gone_calls_nothing_clean(
    running: Starter, authority: Authority
) -> None:
    cicap = running(lambda: Cicap(authority.issue("127.0.0.1")))
    async with bench(authority, scanner(cicap.tls_port)) as made:
        assert (await made.verdict(harmless())).disposition == "clean"
        cicap.kill_engine()
        fault = await made.fault(harmless())
        assert fault.kind == "busy"
        assert "500" in fault.text


async def test_a_scanner_is_not_asked_later(cicap: Cicap, authority: Authority) -> None:
    async with bench(authority, scanner(cicap.tls_port)) as made:
        fault = await made.analyser.poll(Pending("Lab", "x", "00"))
        assert getattr(fault, "kind", "") == "protocol"
