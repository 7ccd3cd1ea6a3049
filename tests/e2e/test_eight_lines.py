"""The reference document's eight TLS lines, made by real connections and found with its own four searches."""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest

from lab.ca import Authority
from lab.client import Client, Trust, s_client, send
from lab.gateway import Gateway
from lab.hostile import Hostile, only
from lab.knot import Knot
from lab.place import free_port
from lab.sink import Sink
from tests.e2e.estate import (
    HOSTNAME,
    STAMP,
    Starter,
    at,
    delivered,
    document,
    envelope,
    events,
    hop,
    mid_of,
    put_to_use,
)

DOCUMENT = {
    "ICID.*TLS failed": """\
Sat Feb 14 19:20:28 2026 Info: ICID 111396123 TLS failed: [Errno 0] Error
Sat Feb 14 19:20:28 2026 Info: ICID 111396456 TLS failed: \
('SSL routines:tls_early_post_process_client_hello:no shared cipher')
""",
    "ICID.*TLS success": """\
Sat Feb 14 19:14:38 2026 Info: ICID 111395123 TLS success protocol TLSv1.2 cipher ECDHE-RSA-AES256-GCM-SHA384
Sat Feb 14 19:14:41 2026 Info: ICID 111395456 TLS success protocol TLSv1.3 cipher TLS_AES_256_GCM_SHA384
""",
    "DCID.*TLS success": """\
Sat Feb 14 19:12:56 2026 Info: DCID 21966123 TLS success protocol TLSv1.2 cipher ECDHE-RSA-AES256-GCM-SHA384 \
the.cpq.host
Sat Feb 14 19:13:00 2026 Info: DCID 21966456 TLS success protocol TLSv1.3 cipher TLS_AES_256_GCM_SHA384
""",
    "DCID.*TLS failed": """\
Sat Feb 14 19:58:43 2026 Info: DCID 21967123 TLS failed: TLS required, STARTTLS unavailable, \
destination is TLS disabled
Sat Feb 14 20:58:44 2026 Info: DCID 21967456 TLS failed: TLS required, STARTTLS unavailable, \
destination is TLS disabled
""",
}
"""The document's searches and what they print there."""
GCM = "ECDHE-RSA-AES256-GCM-SHA384"


class Site:
    """The gateway and its port."""

    def __init__(self, gateway: Gateway, port: int) -> None:
        self.gateway, self.port = gateway, port
        self.address = at(port)


def highest(version: ssl.TLSVersion, ciphers: str = "") -> Callable[[ssl.SSLContext], None]:
    def tweak(context: ssl.SSLContext) -> None:
        context.maximum_version = version
        if ciphers:
            context.set_ciphers(ciphers)

    return tweak


@pytest.fixture(scope="module")
def site(lasting: Starter, authority: Authority, ground: Path, roots: Path) -> Site:
    """One next hop for each of the document's cases; one is asked by a name inside the appliance."""
    issue = authority.intermediate().issue
    rsa = issue("the.cpq.host", kind="rsa2048")
    old = lasting(lambda: Hostile(only(ssl.TLSVersion.TLSv1_2, GCM), certificate=rsa))
    new = lasting(lambda: Sink(certificate=issue("sink.lab.test")))
    clear = lasting(lambda: Hostile("no-starttls"))
    knot = lasting(lambda: Knot({"cpq.host": "the A 127.0.0.1"}))
    routes = {"old.test": [f"the.cpq.host:{old.port}"], "new.test": [hop(new)], "clear.test": [hop(clear)]}
    port = free_port()
    text = document(
        port,
        recipient_access={"domains": list(routes)},
        smtp_routes=routes,
        delivery={"ca_file": str(roots)},
        dns={"servers": [hop(knot)]},
    )
    gateway = lasting(lambda: Gateway(text))
    put_to_use(gateway, "Rsa", issue(HOSTNAME, kind="rsa2048"), ground)
    return Site(gateway, port)


def the_documents(question: str) -> list[str]:
    """What the document prints for a search, without times and numbers."""
    return [bare(line) for line in DOCUMENT[question].splitlines()]


def bare(line: str) -> str:
    """A line behind its number, with the kind of the number."""
    assert STAMP.match(line), line
    return re.sub(r"CID \d+", "CID n", STAMP.sub("", line))


def found(site: Site, question: str) -> list[str]:
    """The last lines that the search prints, as many as the document has."""
    lines = site.gateway.text("grep", question, "mail_logs").splitlines()
    return [bare(line) for line in lines][-len(the_documents(question)) :]


def all_are_diagnosed(site: Site, kind: str) -> None:
    """Behind each failure stands one more line with the same number."""
    failures = re.findall(rf"({kind} \d+) TLS failed", site.gateway.log())
    assert len(failures) == 2
    for connection in failures:
        diagnosis = site.gateway.text("grep", f"{connection} TLS diagnosis", "mail_logs")
        assert diagnosis.count("\n") == 1
        assert len(diagnosis) > 120


def test_inbound_failures(site: Site) -> None:
    with Client(site.address) as client:
        client.ehlo()
        assert client.docmd("STARTTLS") == (220, b"Go ahead with TLS")
        client.close()
    site.gateway.wait_log(r"ICID \d+ TLS failed: \[Errno 0\] Error")
    refused = s_client(site.address, "-tls1_2", "-cipher", "AES256-SHA")
    assert (refused.protocol, refused.cipher) == ("", "")
    site.gateway.wait_log("no shared cipher")
    question = "ICID.*TLS failed"
    assert found(site, question) == the_documents(question)
    all_are_diagnosed(site, "ICID")


def test_inbound_successes(site: Site, authority: Authority) -> None:
    subjects = {"in-1.2": highest(ssl.TLSVersion.TLSv1_2, GCM), "in-1.3": None}
    for subject, tweak in subjects.items():
        trust = Trust(roots=authority.pem, name=HOSTNAME, tweak=tweak)
        send(site.address, envelope(subject, "b@new.test"), trust)
        mid_of(site.gateway, subject)
    question = "ICID.*TLS success"
    assert found(site, question) == the_documents(question)


def test_outbound_successes(site: Site) -> None:
    for subject, domain in (("out-1.2", "old.test"), ("out-1.3", "new.test")):
        send(site.address, envelope(subject, f"b@{domain}"))
        delivered(site.gateway, subject)
    question = "DCID.*TLS success"
    assert found(site, question) == the_documents(question)
    (first,) = events(site.gateway, "OutboundTlsSucceeded", host="the.cpq.host")
    assert first["facts"]["verified"]


def test_outbound_failures_of_required_tls(site: Site) -> None:
    send(site.address, envelope("clear", "b@clear.test"))
    delayed = rf"Delayed: DCID \d+ MID {mid_of(site.gateway, 'clear')} "
    site.gateway.wait_log(delayed)
    site.gateway.text("delivernow", "b@clear.test")
    site.gateway.wait_log(rf"(?s){delayed}.*{delayed}")
    question = "DCID.*TLS failed"
    assert found(site, question) == the_documents(question)
    all_are_diagnosed(site, "DCID")
