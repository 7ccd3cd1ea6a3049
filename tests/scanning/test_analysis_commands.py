"""`ampconfig` and `testanalysis` at a gateway that runs, with the real scanner and an appliance's double."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from lab.appliance import KEY, Appliance
from lab.ca import Authority, self_signed
from lab.cicap import THREAT, Cicap
from lab.place import free_port
from lab.tshark import fields, tshark
from mxseal.alerts.kinds import find
from mxseal.analysis.samples import eicar, harmless
from mxseal.analysis.values import Verdict
from mxseal.certs.live import split_pem
from mxseal.events.scanning import AnalysisConnectionFailed
from tests.conftest import Starter
from tests.directory.estate import trust
from tests.directory.test_ldap_commands import Office
from tests.relay.harness import keeping, listening
from tests.relay.harness import running as serving


async def test_a_scanner_is_set_up_by_commands_alone_and_the_workers_ask_it(
    cicap: Cicap, authority: Authority, tmp_path: Path
) -> None:
    port = free_port()
    async with serving(tmp_path / "home", port, listening(port), prepare=keeping) as relay:
        office = Office(relay, files={"ca.pem": authority.pem})
        place = ("icap", "127.0.0.1", "--port", str(cicap.tls_port))
        await office.ok("ampconfig", "new", "Scanner", *place, "--authority", "ca.pem")
        (listed,) = await office.ok("ampconfig", "list")
        assert (listed["kind"], listed["port"], listed["api_key"]) == ("icap", cicap.tls_port, False)
        assert "MXSeal Lab Root" in office.text
        await office.ok("testanalysis", "scanner")
        for words in (
            f"Connecting to 127.0.0.1 on port {cicap.tls_port}, TLS.",
            "TLS connection established: protocol TLSv1.3, cipher TLS_AES_256_GCM_SHA384.",
            "Server certificate: CN=127.0.0.1,O=MXSeal Lab, SHA-256 ",
            "Server certificate: verified, 127.0.0.1 (the subject alternative name) matches the host.",
            "Client certificate: none.",
            "Service: C-ICAP/0.5.10 server - Antivirus service",
            "mxseal-test.txt: clean, in ",
            f"eicar.com: malicious, {THREAT}, in ",
            "Result for Scanner: success.",
        ):
            assert words in office.text, words
        assert {"server": "Scanner", "result": "success"} in office.chunks
        await office.ok("commit", "a scanner")
        analyser = relay.gateway.worker.analysers.analyser("Scanner")
        assert analyser is not None
        found = await analyser.judge(eicar())
        assert isinstance(found, Verdict)
        assert found.disposition == "malicious"
        assert any("File Analysis: connected to server Scanner" in line for line in relay.lines())
        await office.ok("ampconfig", "delete", "Scanner")
        await office.ok("commit", "none")
        assert relay.gateway.worker.analysers.analyser("Scanner") is None


async def test_an_appliance_gets_its_key_and_the_certificate_that_is_assigned_and_neither_is_shown(
    running: Starter, authority: Authority, tmp_path: Path
) -> None:
    clients = Authority("Clients")
    thing = running(lambda: Appliance(authority.issue("127.0.0.1"), clients.issue("gateway")))
    port = free_port()
    home = tmp_path / "home"
    async with serving(home, port, listening(port) | {"trust": trust(authority)}, prepare=keeping) as relay:
        mine = clients.issue("gateway.lab.test")
        office = Office(relay, files={"pair.pem": mine.key_pem + mine.chain_pem + mine.root_pem})
        place = ("threatgrid", "127.0.0.1", "--port", str(thing.port))
        text = await office.refused("ampconfig", "new", "Appliance", *place, "--api-key", "pass:two words")
        assert "An API key is one word" in text
        await office.ok("ampconfig", "new", "Appliance", *place, "--api-key", f"pass:{KEY}")
        await office.ok("testanalysis")
        assert "Result for Appliance: failed." in office.text
        assert "What to do: " in office.text
        await office.ok("certconfig", "import", "gateway", "pair.pem")
        await office.ok("certconfig", "assign", "gateway", "analysis:Appliance")
        await office.ok("testanalysis", "--submit")
        assert "Account: gateway" in office.text
        assert "mxseal-test.txt: submitted as " in office.text
        assert "Client certificate: gateway." in office.text
        await office.ok("commit", "an appliance")
        for words in (("ampconfig", "show", "Appliance"), ("ampconfig", "list"), ("showconfig",)):
            await office.run(*words)
            assert KEY not in office.text
        await office.refused("certconfig", "delete", "gateway")
        analyser = relay.gateway.worker.analysers.analyser("Appliance")
        assert analyser is not None
        thing.knows(harmless().content, "succ", 100)
        found = await analyser.judge(harmless())
        assert isinstance(found, Verdict)
        assert found.score == 100


async def test_a_self_signed_certificate_of_the_server_can_be_its_authority_and_nobody_else_s(
    running: Starter, tmp_path: Path, authority: Authority
) -> None:
    own = self_signed("127.0.0.1")
    thing = running(lambda: Appliance(own))
    assert split_pem(own.cert_pem.decode()) == (own.cert_pem.decode(),)
    await _with_pinned(tmp_path / "a", thing, own.cert_pem, "success")
    await _with_pinned(tmp_path / "b", thing, authority.pem, "failed")


async def _with_pinned(home: Path, thing: Appliance, pem: bytes, result: str) -> None:
    port = free_port()
    async with serving(home, port, listening(port), prepare=keeping) as relay:
        office = Office(relay, files={"ca.pem": pem})
        place = ("threatgrid", "127.0.0.1", "--port", str(thing.port), "--authority", "ca.pem")
        await office.ok("ampconfig", "new", "Appliance", *place, "--api-key", f"pass:{KEY}")
        await office.ok("testanalysis", "Appliance")
        assert {"server": "Appliance", "result": result} in office.chunks


async def test_what_keeps_a_server_away_is_an_alert_with_its_remedy(
    running: Starter, authority: Authority, tmp_path: Path
) -> None:
    thing = running(lambda: Appliance(Authority("Elsewhere").issue("127.0.0.1")))
    port = free_port()
    document = listening(port) | {"trust": trust(authority)}
    async with serving(tmp_path / "home", port, document, prepare=keeping) as relay:
        office = Office(relay)
        place = ("threatgrid", "127.0.0.1", "--port", str(thing.port))
        await office.ok("ampconfig", "new", "Appliance", *place, "--api-key", f"pass:{KEY}")
        await office.ok("commit", "an appliance")
        analyser = relay.gateway.worker.analysers.analyser("Appliance")
        assert analyser is not None
        await analyser.judge(harmless())
        (failed,) = await relay.told.until(AnalysisConnectionFailed)
        alert = find(failed)
        assert alert is not None
        assert getattr(alert, "kind", "") == "analysis-unreachable"
        assert getattr(alert, "remedy", "") == getattr(failed.diagnosis, "remedy", None)


@pytest.mark.parametrize("content", [False, True])
async def test_a_recorded_connection_opens_in_tshark_and_shows_files_and_keys_only_if_wanted(
    cicap: Cicap, authority: Authority, tmp_path: Path, content: bool
) -> None:
    port = free_port()
    document = listening(port) | {"trust": trust(authority)}
    async with serving(tmp_path / "home", port, document, prepare=keeping) as relay:
        office = Office(relay)
        place = ("icap", "127.0.0.1", "--port", str(cicap.tls_port))
        await office.ok("ampconfig", "new", "Scanner", *place)
        await office.ok("commit", "a scanner")
        more = ("--with-content",) if content else ()
        await office.ok("sessioncapture", "arm", "--analysis", "scanner", *more)
        await office.ok("testanalysis", "Scanner")
        captures = relay.gateway.captures
        async with asyncio.timeout(20):
            while not captures.kept():
                await asyncio.sleep(0.005)
        (about,) = captures.kept()
        assert about.number == "ANALYSIS Scanner"
        file = tmp_path / "x.pcapng"
        file.write_bytes(captures.store.read(about.name))
        told = tshark(file, "-V", "-x", "-d", f"tls.port=={cicap.tls_port},icap")
        assert "RESPMOD icap://127.0.0.1" in told
        assert "X-Infection-Found" in told
        shown = tshark(file, "-q", "-z", "follow,tls,ascii,0")
        assert ("ANTIVIRUS-TEST" in shown) == content
        assert ("harmless" in shown) == content
        assert fields(file, "tls.handshake.certificate")
