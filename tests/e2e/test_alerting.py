"""A required TLS connection fails: people hear of it, from the gateway's processes, by mail of its own."""

from __future__ import annotations

import re
from contextlib import ExitStack

from lab.ca import Authority
from lab.client import send
from lab.gateway import Gateway
from lab.place import free_port
from lab.sink import Sink
from tests.e2e.estate import at, document, envelope, hop


def test_a_partner_without_tls_raises_an_alert_and_a_second_one_says_that_its_mail_flows_again() -> None:
    port = free_port()
    with ExitStack() as stack:
        partner = stack.enter_context(Sink(hostname="mx.bank.test"))  # it has no certificate, so no STARTTLS
        desk = stack.enter_context(Sink(certificate=Authority().issue("desk.ops.test")))
        text = document(
            port,
            recipient_access={"domains": ["bank.test"]},
            smtp_routes={"bank.test": [hop(partner)], "ops.test": [hop(desk)]},
            destinations=[
                {"domain": "default", "tls": "preferred"},
                {"domain": "bank.test", "tls": "required"},
            ],
            delivery={"alert_on_tls_failure": True},
            alerts={"recipients": [{"address": "postmaster@ops.test"}], "calm_time": 1},
        )
        gateway = stack.enter_context(Gateway(text))
        send(at(port), envelope("secret", "clerk@bank.test"))
        letters = [letter for letter in desk.wait(1) if "bank.test" in letter.subject]
        (letter,) = letters
        assert letter.subject.startswith(
            "Warning <System> mx.lab.test: TLS connection to bank.test was required"
        )
        body = letter.content.decode()
        assert "STARTTLS" in body
        assert re.search(r"^Messages waiting: 1\r?$", body, re.MULTILINE)
        gateway.wait_log(
            r'A System/Warning alert was sent to postmaster@ops\.test with subject "Warning <System>'
        )
        assert "bank.test" in gateway.text("displayalerts")
        assert partner.messages() == ()
        assert "STARTTLS" in gateway.text("explain", "mid", "1")

        partner.stop()
        better = Sink(hostname="mx.bank.test", certificate=Authority().issue("mx.bank.test"))
        better.port = partner.port
        stack.enter_context(better)
        gateway.text("delivernow", "bank.test")
        better.wait(1)
        (again,) = [letter for letter in desk.wait(2) if "can be established again" in letter.subject]
        assert again.subject.startswith(
            "Information <System> mx.lab.test: TLS connections to bank.test can be"
        )
        assert "its mail flows" in again.subject
        assert re.search(r"^Host: .+\r?$", again.content.decode(), re.MULTILINE)
        assert "can be established again" in gateway.text("displayalerts")
