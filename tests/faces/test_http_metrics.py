"""GET /metrics: who reads it, and that what it says comes from the gateway that runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
from prometheus_client.parser import text_string_to_metric_families

from lab.hostile import Hostile
from lab.place import free_port
from mxseal.commands import configuration, metrics
from mxseal.commands.registry import Registry
from mxseal.config.check import check
from mxseal.config.model import MetricsAccess
from mxseal.events.types import MessageFinished, OutboundTlsFailed
from mxseal.faces.http_metrics import within
from tests.commands.desk import Desk
from tests.commands.gateway import FakeServices
from tests.faces.http_serving import answer, http_serving, request
from tests.relay.harness import route, running

COMMANDS = Registry((metrics, configuration))


def get(root: Path, *allowed: str) -> tuple[int, dict[str, str], bytes]:
    with http_serving(root) as server:
        new = server.services.document(server.interface, metrics=MetricsAccess(allowed=allowed))
        assert server.put_in_force(new) == []
        with server.secure() as client:
            client.sendall(request("/metrics"))
            return answer(client)


def test_nobody_reads_them_unless_the_document_says_so(tmp_path: Path) -> None:
    status, _, body = get(tmp_path)
    assert status in (401, 403)
    assert b"mxseal_" not in body


def test_an_address_that_is_allowed_reads_them(tmp_path: Path) -> None:
    status, headers, body = get(tmp_path, "192.0.2.1", "127.0.0.0/8")
    assert status == 200
    assert headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert body == b"mxseal_ready 1.0\n"


def test_an_address_that_is_not_allowed_does_not(tmp_path: Path) -> None:
    assert get(tmp_path, "127.0.0.2", "::/8")[0] in (401, 403)


def test_a_token_of_the_api_reads_them_from_anywhere(tmp_path: Path) -> None:
    with http_serving(tmp_path) as server:
        text = server.do(lambda: server.services.token("prometheus", "read-only"))
        answers = []
        for header in (f"Authorization: Bearer {text}", f"Authorization: Bearer {text[:-1]}"):
            with server.secure() as client:
                client.sendall(request("/metrics", header))
                answers.append(answer(client))
    assert [status for status, _, _ in answers] == [200, 401]
    assert answers[0][2] == b"mxseal_ready 1.0\n"


@pytest.mark.parametrize(
    ("remote", "networks", "inside"),
    [
        ("192.0.2.7", ("192.0.2.0/29",), True),
        ("192.0.2.8", ("192.0.2.0/29",), False),
        ("::ffff:192.0.2.7", ("192.0.2.7",), True),
        ("2001:db8::1", ("192.0.2.7", "2001:db8::/64"), True),
        ("testclient", ("0.0.0.0/8",), False),
        ("", (), False),
    ],
)
def test_an_address_is_in_a_network_or_not(remote: str, networks: tuple[str, ...], inside: bool) -> None:
    assert within(remote, networks) is inside


async def test_metricsconfig_says_who_may_read() -> None:
    desk = Desk(COMMANDS)
    await desk.ok("metricsconfig", "show")
    assert "Nobody" in desk.text
    await desk.ok("metricsconfig", "allow", "192.0.2.40")
    await desk.ok("metricsconfig", "allow", "2001:DB8::/64")
    assert await desk.ok("metricsconfig", "show") == [{"network": "192.0.2.40"}, {"network": "2001:db8::/64"}]
    assert "already" in await desk.refused("metricsconfig", "allow", "192.0.2.40")
    assert "is not an IP address" in await desk.refused("metricsconfig", "allow", "prometheus")
    await desk.ok("metricsconfig", "remove", "192.0.2.40")
    assert desk.document.metrics.allowed == ("2001:db8::/64",)
    assert "not among" in await desk.refused("metricsconfig", "remove", "192.0.2.40")
    assert await Desk(COMMANDS, "operator").run("metricsconfig", "allow", "192.0.2.40") == "refused"


async def test_a_network_of_half_the_world_is_refused() -> None:
    document = FakeServices().history.current().document
    wide = document.model_copy(update={"metrics": MetricsAccess(allowed=("0.0.0.0/0",))})
    assert [problem.path for problem in check(wide)] == ["metrics.allowed"]


async def test_everybody_who_may_look_reads_them_as_a_command() -> None:
    desk = Desk(COMMANDS, "read-only")
    await desk.ok("metrics")
    assert desk.text == "mxseal_ready 1.0"


async def test_they_tell_what_the_gateway_did(tmp_path: Path, hostile: Callable[..., Hostile]) -> None:
    good, bad = hostile("tls-1.2-only"), hostile("no-starttls")
    routes = {"good.example": (f"127.0.0.1:{good.port}",), "bad.example": (f"127.0.0.1:{bad.port}",)}
    document: dict[str, Any] = route(good.port, tls="required") | {"smtp_routes": routes}
    async with running(tmp_path / "home", free_port(), document) as relay:
        await relay.submit("to@good.example")
        await relay.submit("to@bad.example")
        await relay.told.until(MessageFinished)
        await relay.told.until(OutboundTlsFailed)
        page = await cast("Any", relay.gateway).metrics()
    found = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
    }
    expected = {
        ("mxseal_ready",): 1,
        ("mxseal_workers_running",): 1,
        ("mxseal_queue_messages",): 1,
        ("mxseal_recipients_delivered_total",): 1,
        ("mxseal_outgoing_tls_handshakes_total", "TLSv1.2", "no"): 1,
        ("mxseal_outgoing_tls_required_failures_total", "required"): 1,
        ("mxseal_outgoing_tls_failures_total", "no-starttls"): 1,
        ("mxseal_certificate_days_left", "Demo", "yes"): found["mxseal_certificate_days_left", "Demo", "yes"],
    }
    assert {key: found.get(key) for key in expected} == expected
    assert found["mxseal_process_resident_memory_bytes", "leader"] > 0
