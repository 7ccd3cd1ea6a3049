"""Files in mail through the whole gateway, judged by the real c-icap and ClamAV over TLS."""

from __future__ import annotations

import smtplib
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from lab.ca import Authority
from lab.cicap import THREAT, Cicap
from lab.gateway import Gateway
from lab.place import free_port
from lab.sink import Sink
from mxseal.analysis.samples import eicar
from tests.e2e.estate import Starter, starter

FIELD = "X-MXSeal-Analysis"


@pytest.fixture(scope="module")
def start() -> Iterator[Starter]:
    with starter() as started:
        yield started


def document(port: int, sink: Sink, scanner: Cicap, authority: Path) -> str:
    """Files go to the scanner over verified TLS; mail to the sink."""
    plain: dict[str, Any] = {
        "hostname": "mx.lab.test",
        "workers": 2,
        "listeners": [{"name": "IncomingMail", "port": port, "reverse_dns": False}],
        "mail_flow_policies": [{"name": "ACCEPTED", "action": "accept"}],
        "recipient_access": {"domains": ["example.com"]},
        "smtp_routes": {"all": [f"127.0.0.1:{sink.port}"]},
        "destinations": [{"domain": "default", "tls": "off"}],
        "analysis_servers": [
            {
                "name": "scanner",
                "kind": "icap",
                "host": "127.0.0.1",
                "port": scanner.tls_port,
                "authority": authority.read_text(),
                "rest_time": 0.1,
            }
        ],
        "analysis": {"enabled": True, "servers": ["scanner"]},
        "log_subscriptions": [{"name": "amp", "kind": "amp"}],
    }
    return tomli_w.dumps(plain)


def mail(port: int, subject: str, content: bytes) -> None:
    """A message with one file."""
    made = EmailMessage()
    made["Subject"], made["From"], made["To"] = subject, "s@lab.test", "r@example.com"
    made[FIELD] = "clean"
    made.set_content("See the file.")
    made.add_attachment(content, maintype="application", subtype="pdf", filename=f"{subject}.pdf")
    with smtplib.SMTP("127.0.0.1", port) as client:
        client.send_message(made)


def test_a_test_virus_is_kept_back_and_released_on_request_and_a_clean_file_goes_on(
    start: Starter, authority: Authority, tmp_path: Path
) -> None:
    port = free_port()
    scanner = start(lambda: Cicap(authority.issue("127.0.0.1")))
    sink = start(lambda: Sink(certificate=authority.issue("sink.lab.test")))
    root = authority.issue("127.0.0.1").write(tmp_path, "scanner").root
    gateway = start(lambda: Gateway(document(port, sink, scanner, root)))
    mail(port, "harmless", b"nothing to see here")
    (clean,) = sink.wait()
    assert [each.split(";")[0] for each in clean.parsed.get_all(FIELD, [])] == ["clean"]
    mail(port, "virus", eicar().content)
    gateway.wait_log(rf"AMP file reputation verdict : MALICIOUS .*{THREAT}.* action quarantine")
    (kept,) = gateway.command("quarantine", "list")
    assert (kept["verdict"], kept["file"], kept["threat"]) == ("malicious", "virus.pdf", THREAT)
    assert "Subject: virus" in gateway.text("quarantine", "headers", str(kept["mid"]))
    assert gateway.command("showrecipients") == []
    assert "Disposition = MALICIOUS" in gateway.log("amp")
    gateway.text("quarantine", "release", str(kept["mid"]))
    released = sink.wait(2)[-1]
    assert released.subject == "virus"
    assert str(released.parsed[FIELD]).startswith("malicious")
    assert gateway.command("quarantine", "list") == []
    gateway.wait_log(r"released from quarantine by")
    assert gateway.log("amp").count("File reputation query initiating") == 2


def test_a_message_that_is_held_survives_kill_9_and_is_judged_once_the_scanner_is_there(
    start: Starter, authority: Authority, tmp_path: Path
) -> None:
    port = free_port()
    scanner = Cicap(authority.issue("127.0.0.1"))
    sink = start(lambda: Sink(certificate=authority.issue("sink.lab.test")))
    root = authority.issue("127.0.0.1").write(tmp_path, "scanner").root
    gateway = start(lambda: Gateway(document(port, sink, scanner, root)))
    mail(port, "virus", eicar().content)
    mail(port, "harmless", b"nothing to see here")
    gateway.wait_log(r"MID 1 held for the verdict on 'virus.pdf' \(fault")
    gateway.wait_log(r"MID 2 held for the verdict")
    gateway.kill9()
    assert sink.messages() == ()
    start(lambda: scanner)
    gateway.start()
    gateway.text("delivernow", "all")
    (clean,) = sink.wait()
    assert clean.subject == "harmless"
    gateway.wait_log(r"MID 1 AMP file reputation verdict : MALICIOUS")
    assert [each["mid"] for each in gateway.command("quarantine", "list")] == [1]
    assert len(sink.messages()) == 1
