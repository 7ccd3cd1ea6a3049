"""Files in mail through the whole gateway, judged by the real c-icap and ClamAV over TLS."""

from __future__ import annotations

import smtplib
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from lab.appliance import KEY, Appliance
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


def document(port: int, sink: Sink, scanner: Cicap | None = None, authority: Path | None = None) -> str:
    """Files go to the scanner over verified TLS, where there is one; mail to the sink."""
    plain: dict[str, Any] = {
        "hostname": "mx.lab.test",
        "workers": 2,
        "listeners": [{"name": "IncomingMail", "port": port, "reverse_dns": False}],
        "mail_flow_policies": [{"name": "ACCEPTED", "action": "accept"}],
        "recipient_access": {"domains": ["example.com"]},
        "smtp_routes": {"all": [f"127.0.0.1:{sink.port}"]},
        "destinations": [{"domain": "default", "tls": "off"}],
        "log_subscriptions": [{"name": "amp", "kind": "amp"}],
    }
    if scanner is not None and authority is not None:
        plain["analysis_servers"] = [
            {
                "name": "scanner",
                "kind": "icap",
                "host": "127.0.0.1",
                "port": scanner.tls_port,
                "authority": authority.read_text(),
                "rest_time": 0.1,
            }
        ]
        plain["analysis"] = {"enabled": True, "servers": ["scanner"]}
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


def test_an_appliance_that_is_set_up_by_commands_alone_has_its_score_in_the_header(
    start: Starter, authority: Authority, tmp_path: Path
) -> None:
    port = free_port()
    appliance = start(lambda: Appliance(authority.issue("127.0.0.1")))
    appliance.knows(b"a known evil", score=100)
    appliance.knows(b"a known good", score=3)
    sink = start(lambda: Sink(certificate=authority.issue("sink.lab.test")))
    root = authority.issue("127.0.0.1").write(tmp_path, "appliance").root
    plain = document(port, sink)
    gateway = start(lambda: Gateway(plain))
    place = ("threatgrid", "127.0.0.1", "--port", str(appliance.port), "--authority", str(root))
    gateway.text("ampconfig", "new", "Appliance", *place, "--api-key", f"pass:{KEY}")
    assert "verified" in gateway.text("testanalysis", "Appliance")
    gateway.text("analysisconfig", "setup", "--enabled", "yes", "--servers", "Appliance")
    gateway.text("commit", "files are analysed")
    mail(port, "good", b"a known good")
    mail(port, "evil", b"a known evil")
    gateway.wait_log(r"AMP file reputation verdict : MALICIOUS \(file 'evil.pdf'")
    (good,) = sink.wait()
    assert good.subject == "good"
    assert "score=3" in str(good.parsed[FIELD])
    assert [each["file"] for each in gateway.command("quarantine", "list")] == ["evil.pdf"]
    assert not [request for request in appliance.requests if request.startswith("POST")]
    assert KEY not in gateway.log() + gateway.log("amp") + gateway.output()


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
