"""The laboratory starts a real gateway, ends it in both ways and serves its home again."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from lab import Trouble
from lab.client import Envelope, send
from lab.gateway import Gateway
from lab.place import LOOPBACK, free_port

StartGateway = Callable[..., Gateway]
DOCUMENT = """\
hostname = "mx.lab.test"

[[listeners]]
name = "IncomingMail"
port = {port}

[[mail_flow_policies]]
name = "ACCEPTED"
tls = "off"

[recipient_access]
domains = ["example.test"]
"""


def test_a_gateway_takes_mail_on_the_port_of_its_document(gateway: StartGateway) -> None:
    port = free_port()
    running = gateway(DOCUMENT.format(port=port))
    assert send((LOOPBACK, port), Envelope(), None).reply.startswith("250")
    running.wait_log(r"Info: New SMTP ICID \d+ ")


def test_a_gateway_ends_cleanly_and_serves_its_home_again(gateway: StartGateway) -> None:
    port = free_port()
    running = gateway(DOCUMENT.format(port=port))
    assert running.stop() == 0
    assert not running.running
    running.start()
    assert send((LOOPBACK, port), Envelope(), None).reply.startswith("250")


def test_a_killed_gateway_serves_its_home_again(gateway: StartGateway) -> None:
    port = free_port()
    running = gateway(DOCUMENT.format(port=port))
    running.kill9()
    with pytest.raises(Trouble, match="not running"):
        running.hang_up()
    running.start()
    assert send((LOOPBACK, port), Envelope(), None).reply.startswith("250")


def test_a_command_gives_its_answer_as_json(gateway: StartGateway) -> None:
    running = gateway(DOCUMENT.format(port=free_port()))
    assert isinstance(running.command("status"), dict | list)


def test_a_refused_document_is_told_with_the_gateways_words(gateway: StartGateway) -> None:
    running = gateway(DOCUMENT.format(port=free_port()))
    with pytest.raises(Trouble, match="tsl"):
        running.load('tsl = "off"')
    assert running.running
