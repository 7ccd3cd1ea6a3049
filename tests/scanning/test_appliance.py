"""An appliance over TLS, by a double of its API: states, scores, errors, slowness, silence, certificates."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from lab import ca
from lab.appliance import Appliance
from lab.ca import Authority, Issued, Validity
from lab.place import free_port
from mxseal.analysis.samples import item
from mxseal.analysis.values import Pending, Verdict
from mxseal.clock import ManualClock
from mxseal.events.scanning import AnalysisConnected, AnalysisConnectionFailed
from tests.conftest import Starter
from tests.scanning.bench import appliance, bench

FILE = b"MZ this is the content of a program"


async def test_a_file_that_is_unknown_is_submitted_and_has_its_score_when_its_run_is_over(
    thing: Appliance, authority: Authority
) -> None:
    file = item('a "name"\r\n.exe', "application/x-dosexec", FILE)
    thing.behaviour.scores[file.sha256] = 95
    async with bench(authority, appliance(thing.port, vm="win10", playbook="none")) as made:
        pending = await made.judge(file)
        assert isinstance(pending, Pending)
        (sample,) = thing.samples.values()
        assert (sample.content, sample.reference) == (FILE, pending.reference)
        assert sample.fields == {"private": "true", "vm": "win10", "playbook": "none"}
        for _ in range(2):
            assert await made.analyser.poll(pending) == pending
        found = await made.analyser.poll(pending)
        assert found == Verdict("malicious", 95, "", "Lab", sample.reference)
        assert await made.verdict(file) == found  # and it is not submitted again
        assert thing.requests.count("POST /api/v2/samples") == 1
        assert thing.connections == 1
        assert len(made.of(AnalysisConnected)) == 1


@pytest.mark.parametrize(
    ("score", "threshold", "disposition"), [(89, 90, "clean"), (90, 90, "malicious"), (60, 50, "malicious")]
)
async def test_a_known_file_has_the_verdict_of_its_score(
    thing: Appliance, authority: Authority, score: int, threshold: int, disposition: str
) -> None:
    thing.knows(FILE, "succ", score)
    async with bench(authority, appliance(thing.port, malicious_from=threshold)) as made:
        found = await made.verdict(FILE)
        assert (found.disposition, found.score) == (disposition, score)
        assert not any(each.startswith("POST") for each in thing.requests)


async def test_a_run_that_fails_leaves_the_file_unknown_and_is_not_begun_again(
    thing: Appliance, authority: Authority
) -> None:
    thing.knows(FILE, "fail")
    async with bench(authority, appliance(thing.port)) as made:
        found = await made.verdict(FILE)
        assert (found.disposition, found.score) == ("unknown", None)
        assert thing.requests == ["GET /api/v2/samples"]


async def test_the_key_goes_as_a_parameter_where_that_is_wanted(
    thing: Appliance, authority: Authority
) -> None:
    async with bench(authority, appliance(thing.port, key_as="parameter", private=False)) as made:
        assert isinstance(await made.judge(FILE), Pending)
        (sample,) = thing.samples.values()
        assert sample.fields["private"] == "false"


ERRORS = [
    (401, {}, "refused", "the server does not take the API key (401 Unauthorized)"),
    (403, {}, "refused", "the server does not take the API key (403 Forbidden)"),
    (404, {}, "refused", "the server answered 404 Not Found"),
    (429, {"Retry-After": "20"}, "busy", "the server asks for patience (429 Too Many Requests)"),
    (500, {}, "busy", "the server has a trouble of its own (500 Internal Server Error)"),
    (503, {}, "busy", "the server has a trouble of its own (503 Service Unavailable)"),
]


@pytest.mark.parametrize(("status", "headers", "kind", "text"), ERRORS, ids=[str(e[0]) for e in ERRORS])
async def test_an_error_is_no_verdict_and_says_what_to_do(
    thing: Appliance, authority: Authority, *, status: int, headers: dict[str, str], kind: str, text: str
) -> None:
    thing.behaviour.status, thing.behaviour.headers = status, headers
    async with bench(authority, appliance(thing.port)) as made:
        fault = await made.fault(FILE)
        assert fault.kind == kind
        assert fault.text.startswith(text)
        assert fault.server == "Lab"


ODD = [
    b"",
    b"no JSON",
    b"[]",
    b'{"data": 7}',
    b'{"data": {}}',
    b"[" * 100_000,
    b'{"data": [[null]]}',
    b"\xff",
]


@pytest.mark.parametrize("body", ODD)
async def test_json_that_is_not_expected_is_a_fault_or_nothing_known(
    thing: Appliance, authority: Authority, body: bytes
) -> None:
    thing.behaviour.body = body
    async with bench(authority, appliance(thing.port)) as made:
        fault = await made.fault(FILE)
        assert fault.kind == "protocol"
        assert fault.text.startswith("the server answered with ")


async def test_what_is_no_http_ends_the_connection(thing: Appliance, authority: Authority) -> None:
    async with bench(authority, appliance(thing.port)) as made:
        for raw in (
            b"220 mx.test ESMTP\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 9999999\r\n\r\n" + b"x" * 3_000_000,
        ):
            thing.behaviour.raw = raw
            assert (await made.fault(FILE)).kind == "protocol"


async def test_three_odd_answers_in_a_row_put_a_server_to_rest_and_one_does_not(
    thing: Appliance, authority: Authority
) -> None:
    clock = ManualClock()
    async with bench(authority, appliance(thing.port, rest_time=60), clock=clock) as made:
        thing.behaviour.status = 500
        for _ in range(3):
            assert "500" in (await made.fault(FILE)).text
        asked = len(thing.requests)
        assert "it rests after a failure" in (await made.fault(FILE)).text
        assert len(thing.requests) == asked
        thing.behaviour.status = 200
        clock.advance(61)
        assert isinstance(await made.judge(FILE), Pending)


async def test_a_server_that_asks_for_patience_gets_it(thing: Appliance, authority: Authority) -> None:
    clock = ManualClock()
    thing.behaviour.status, thing.behaviour.headers = 429, {"Retry-After": "20"}
    async with bench(authority, appliance(thing.port), clock=clock) as made:
        assert (await made.fault(FILE)).kind == "busy"
        thing.behaviour.status = 200
        clock.advance(19)
        assert "rests" in (await made.fault(FILE)).text
        clock.advance(2)
        assert isinstance(await made.judge(FILE), Pending)


async def test_a_silent_server_costs_its_time_once_and_is_then_tried_by_one(
    thing: Appliance, authority: Authority
) -> None:
    clock = ManualClock()
    thing.behaviour.silent = True
    async with bench(authority, appliance(thing.port, answer_time=30), clock=clock) as made:
        first = asyncio.ensure_future(made.judge(FILE))
        await _until(lambda: bool(thing.requests))
        clock.advance(31)
        fault = await first
        assert getattr(fault, "kind", "") == "silent"
        assert getattr(fault, "text", "") == "no answer within 30 s"
        for _ in range(5):
            assert (await made.fault(FILE)).kind == "busy"
        assert thing.accepted == 1
        (failed,) = made.of(AnalysisConnectionFailed)
        assert failed.stage == "answer"
        clock.advance(61)
        second = asyncio.ensure_future(made.judge(FILE))
        await _until(lambda: len(thing.requests) == 2)
        assert "being tried again" in (await made.fault(FILE)).text
        clock.advance(31)
        assert getattr(await second, "kind", "") == "silent"


async def test_a_connection_that_was_closed_while_it_was_idle_is_no_failure(
    thing: Appliance, authority: Authority
) -> None:
    thing.knows(FILE, "succ", 3)
    async with bench(authority, appliance(thing.port)) as made:
        await made.verdict(FILE)
        thing.behaviour.hangs_up = 1
        assert (await made.verdict(FILE)).score == 3
        assert thing.connections == 2
        assert not made.of(AnalysisConnectionFailed)


async def test_a_server_that_is_not_there_is_told_and_rests(authority: Authority) -> None:
    async with bench(authority, appliance(free_port())) as made:
        fault = await made.fault()
        assert fault.text.startswith("server unreachable: unable to connect (")
        assert "refused" in fault.text
        assert (await made.fault()).kind == "busy"
        (failed,) = made.of(AnalysisConnectionFailed)
        assert failed.stage == "connect"
    async with bench(authority, appliance(443, host="nowhere.lab.test")) as made:
        assert "DNS lookup failure (no such name)" in (await made.fault()).text


async def test_without_its_key_nobody_is_asked(thing: Appliance, authority: Authority) -> None:
    async with bench(authority, appliance(thing.port), key=None) as made:
        assert "the API key is not known" in (await made.fault()).text
        assert not thing.accepted


WRONG: list[tuple[str, Callable[[Authority], Issued], str]] = [
    (
        "an authority that is not ours",
        lambda _: Authority("Elsewhere").issue("127.0.0.1"),
        "intermediate-missing",
    ),
    ("self-signed", lambda _: ca.self_signed("127.0.0.1"), "certificate-self-signed"),
    ("expired", lambda ours: ours.issue("127.0.0.1", validity=Validity(expired=True)), "certificate-expired"),
    ("another name", lambda ours: ours.issue("tg.lab.test"), "name-mismatch"),
]


@pytest.mark.parametrize(("issue", "cause"), [each[1:] for each in WRONG], ids=[each[0] for each in WRONG])
async def test_a_certificate_that_does_not_verify_ends_it_before_any_key_or_file_is_sent(
    issue: Callable[[Authority], Issued], cause: str, running: Starter, authority: Authority
) -> None:
    thing = running(lambda: Appliance(issue(authority)))
    async with bench(authority, appliance(thing.port)) as made:
        fault = await made.fault()
        assert fault.kind == "tls"
        (failed,) = made.of(AnalysisConnectionFailed)
        assert failed.stage == "verification"
        assert failed.diagnosis is not None
        assert failed.diagnosis.cause == cause
        assert failed.diagnosis.remedy
        assert not thing.requests
    async with bench(authority, appliance(thing.port, verify=False)) as made:
        assert isinstance(await made.judge(FILE), Pending)
        (connected,) = made.of(AnalysisConnected)
        assert not connected.verified
        assert connected.diagnosis is not None
        assert connected.diagnosis.cause == cause


async def test_a_client_certificate_is_shown_and_its_absence_told_with_its_cause(
    running: Starter, authority: Authority, tmp_path: Path
) -> None:
    clients = Authority("Clients")
    thing = running(lambda: Appliance(authority.issue("127.0.0.1"), clients.issue("gateway")))
    ours = clients.issue("gateway", usages=["client"])
    async with bench(authority, appliance(thing.port), shown=(ours, tmp_path)) as made:
        assert isinstance(await made.judge(FILE), Pending)
    async with bench(authority, appliance(thing.port)) as made:
        assert (await made.fault()).kind == "tls"
        (failed,) = made.of(AnalysisConnectionFailed)
        assert failed.diagnosis is not None
        assert failed.diagnosis.cause in {"client-certificate-required", "peer-closed-later"}
        assert not made.of(AnalysisConnected)


async def _until(look: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not look():
            await asyncio.sleep(0.005)
