"""Mail through the gateway: from a client, from Postfix and from Exim, to Exim and to Postfix, over TLS."""

from __future__ import annotations

import select
import smtplib
import socket
import threading
from contextlib import suppress
from pathlib import Path
from typing import Self

import pytest

from lab import exim as exim_server
from lab import postfix as postfix_server
from lab.ca import Authority
from lab.client import Trust, send
from lab.exim import Exim
from lab.gateway import Gateway
from lab.knot import Knot
from lab.place import free_port
from lab.postfix import Postfix
from tests.e2e.estate import (
    HOSTNAME,
    Starter,
    Story,
    at,
    delivered,
    document,
    envelope,
    events,
    hop,
    put_to_use,
)

GOLDEN_IN = """\
Info: New SMTP ICID 1 interface IncomingMail (127.0.0.1) address 127.0.0.1 reverse dns host localhost \
verified yes
Info: ICID 1 ACCEPT SG None match ALL SBRS not enabled country not enabled
Info: ICID 1 TLS success protocol TLSv1.3 cipher TLS_AES_256_GCM_SHA384
Info: Start MID 1 ICID 1
Info: MID 1 ICID 1 From: <a@sender.test>
Info: MID 1 ICID 1 RID 0 To: <b@{domain}>
Info: MID 1 Message-ID '<{subject}@sender.test>'
Info: MID 1 Subject "{subject}"
Info: MID 1 ready N bytes from <a@sender.test>
Info: MID 1 matched all recipients for per-recipient policy DEFAULT in the inbound table
Info: MID 1 queued for delivery
Info: ICID 1 close
"""
GOLDEN_OUT = """\
Info: New SMTP DCID 1 interface 127.0.0.1 address 127.0.0.1 port P
Info: DCID 1 TLS success protocol TLSv1.3 cipher TLS_AES_256_GCM_SHA384
Info: Delivery start DCID 1 MID 1 to RID [0]
Info: Message done DCID 1 MID 1 to RID [0]
Info: MID 1 RID [0] Response '{response}'
Info: Message finished MID 1 done
Info: DCID 1 close
"""
GOLDEN_RELAYED = """\
Info: New SMTP ICID 1 interface IncomingMail (127.0.0.1) address 127.0.0.9 reverse dns host localhost \
verified yes
Info: ICID 1 RELAY SG RELAYLIST match 127.0.0.9 SBRS not enabled country not enabled
Info: Start MID 1 ICID 1
Info: MID 1 ICID 1 From: <a@sender.test>
Info: MID 1 ICID 1 RID 0 To: <b@far.test>
Info: MID 1 Message-ID '<by-mx@sender.test>'
Info: MID 1 Subject "by-mx"
Info: MID 1 ready N bytes from <a@sender.test>
Info: MID 1 matched all recipients for per-recipient policy DEFAULT in the outbound table
Info: MID 1 queued for delivery
Info: ICID 1 close
"""
GOLDEN_SECOND_MX = """\
Info: Connection Error: DCID 1 domain: far.test IP: {first} port: 25 details: [Errno 61] Connection refused \
interface: unknown reason: network error
Info: New SMTP DCID 2 interface 127.0.0.1 address {second} port 25
Info: DCID 2 TLS success protocol TLSv1.3 cipher TLS_AES_256_GCM_SHA384
Info: Delivery start DCID 2 MID 1 to RID [0]
Info: Message done DCID 2 MID 1 to RID [0]
Info: MID 1 RID [0] Response '2.0.0 Ok: queued as Q'
Info: Message finished MID 1 done
Info: DCID 2 close
"""
POSTFIX_SAYS, EXIM_SAYS = "2.0.0 Ok: queued as Q", "OK id=Q"
FIRST_MX, SECOND_MX = "127.25.0.1", "127.25.0.2"


class OnPort25:
    """Hands connections to an address's port 25, where a domain's MX is always asked, to another port."""

    def __init__(self, address: str, port: int) -> None:
        self._port = port
        self._listener = socket.create_server((address, 25))
        self._threads = [threading.Thread(target=self._accept)]

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                thread = threading.Thread(target=self._carry, args=(client,))
                self._threads.append(thread)
                thread.start()

    def _carry(self, client: socket.socket) -> None:
        with client, socket.create_connection(("127.0.0.1", self._port)) as server, suppress(OSError):
            other = {client: server, server: client}
            while True:
                ready, _, _ = select.select(list(other), [], [])
                for end in ready:
                    data = end.recv(65536)
                    if not data:
                        return
                    other[end].sendall(data)


class Site:
    """The gateway between a Postfix and an Exim, each of which both sends and receives."""

    def __init__(self, gateway: Gateway, port: int, postfix: Postfix, exim: Exim) -> None:
        self.gateway, self.port, self.postfix, self.exim = gateway, port, postfix, exim


@pytest.fixture(scope="module")
def site(lasting: Starter, authority: Authority, ground: Path, roots: Path) -> Site:
    port, issue = free_port(), authority.intermediate().issue
    postfix = lasting(
        lambda: Postfix(
            postfix_server.Settings(
                domains=["postfix.test", "far.test"],
                certificate=issue("postfix.lab.test", "mx2.far.test"),
                relay=at(port),
                relay_tls="secure",
                relay_names=[HOSTNAME],
                trust=authority.pem,
            )
        )
    )
    exim = lasting(
        lambda: Exim(
            exim_server.Settings(
                domains=["exim.test"],
                certificate=issue("exim.lab.test", kind="rsa2048"),
                relay=at(port),
                relay_tls="secure",
                relay_names=[HOSTNAME],
                trust=authority.pem,
            )
        )
    )
    zone = f"@ MX 10 mx1\n@ MX 20 mx2\nmx1 A {FIRST_MX}\nmx2 A {SECOND_MX}"
    knot = lasting(lambda: Knot({"far.test": zone}))
    lasting(lambda: OnPort25(SECOND_MX, postfix.port))
    text = document(
        port,
        recipient_access={"domains": ["postfix.test", "exim.test"]},
        smtp_routes={"postfix.test": [hop(postfix)], "exim.test": [hop(exim)]},
        delivery={"ca_file": str(roots)},
        dns={"servers": [hop(knot)], "allow_local": True},
    )
    gateway = lasting(lambda: Gateway(text))
    put_to_use(gateway, "Mx", issue(HOSTNAME), ground)
    return Site(gateway, port, postfix, exim)


def facts_of(site: Site, subject: str) -> tuple[bool, str | None]:
    """Whether the next hop's certificate was verified, and why not."""
    dcid = delivered(site.gateway, subject)
    (event,) = events(site.gateway, "OutboundTlsSucceeded", dcid=dcid)
    return event["facts"]["verified"], event["facts"]["verify_error"]


def from_client(site: Site, authority: Authority, subject: str, domain: str) -> None:
    sent = send(at(site.port), envelope(subject, f"b@{domain}"), Trust(roots=authority.pem, name=HOSTNAME))
    assert sent.reply.startswith("250 ok:  Message ")
    assert sent.protocol == "TLSv1.3"


def test_a_message_reaches_postfix_over_verified_tls_and_the_log_tells_it(
    site: Site, authority: Authority
) -> None:
    from_client(site, authority, "to-postfix", "postfix.test")
    story = Story(site.gateway, "to-postfix")
    golden = GOLDEN_IN.format(domain="postfix.test", subject="to-postfix")
    assert story.incoming == golden.splitlines()
    assert story.outgoing == GOLDEN_OUT.format(response=POSTFIX_SAYS).splitlines()
    assert facts_of(site, "to-postfix") == (True, None)


def test_a_message_arrives_whole_with_one_received_line_of_the_gateway(
    site: Site, authority: Authority
) -> None:
    from_client(site, authority, "whole", "postfix.test")
    delivered(site.gateway, "whole")
    (message,) = (found for found in site.postfix.messages() if found.subject == "whole")
    assert (message.sender, message.recipients) == ("a@sender.test", ("b@postfix.test",))
    assert message.content.endswith(b"\nSubject: whole\n\nHello.\n.dot\n")
    ours = message.received[-1]
    assert len(message.received) == 2
    assert "with ESMTPS id" in ours
    assert "(using TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256 bits)" in ours
    assert f"by {HOSTNAME}" in ours


def test_a_message_reaches_exim_over_verified_tls_and_the_log_tells_it(
    site: Site, authority: Authority
) -> None:
    from_client(site, authority, "to-exim", "exim.test")
    story = Story(site.gateway, "to-exim")
    assert story.incoming == GOLDEN_IN.format(domain="exim.test", subject="to-exim").splitlines()
    assert story.outgoing == GOLDEN_OUT.format(response=EXIM_SAYS).splitlines()
    assert facts_of(site, "to-exim") == (True, None)


def test_postfix_sends_through_the_gateway_to_exim(site: Site) -> None:
    site.postfix.submit("a@sender.test", ["b@exim.test"], envelope("postfix-to-exim").content)
    story = Story(site.gateway, "postfix-to-exim")
    assert story.outgoing == GOLDEN_OUT.format(response=EXIM_SAYS).splitlines()
    assert facts_of(site, "postfix-to-exim") == (True, None)
    site.postfix.wait_log(r"Verified TLS connection established to 127\.0\.0\.1")
    site.postfix.wait_log(r"to=<b@exim\.test>.*status=sent \(250 ok:  Message \d+ accepted\)")
    assert "postfix-to-exim" in [message.subject for message in site.exim.messages()]


def test_exim_sends_through_the_gateway_to_postfix(site: Site) -> None:
    site.exim.submit("a@sender.test", ["b@postfix.test"], envelope("exim-to-postfix").content)
    story = Story(site.gateway, "exim-to-postfix")
    assert story.outgoing == GOLDEN_OUT.format(response=POSTFIX_SAYS).splitlines()
    assert facts_of(site, "exim-to-postfix") == (True, None)
    site.exim.wait_log(r"=> b@postfix\.test .*X=TLS1\.3.* CV=yes .*C=\"250 ok:  Message \d+ accepted\"")
    assert "exim-to-postfix" in [message.subject for message in site.postfix.messages()]


def test_mail_of_a_relaying_host_goes_by_mx_to_the_second_exchanger_when_the_first_is_closed(
    site: Site,
) -> None:
    with smtplib.SMTP(*at(site.port), source_address=("127.0.0.9", 0)) as client:
        client.sendmail("a@sender.test", "b@far.test", envelope("by-mx").content)
    delivered(site.gateway, "by-mx")
    refused = events(site.gateway, "DeliveryFailed", domain="far.test")
    story = Story(site.gateway, "by-mx", *(event["dcid"] for event in refused))
    assert story.incoming == GOLDEN_RELAYED.splitlines()
    # Behind the reference's line comes ours, with the times that it took.
    (diagnosis,) = [line for line in story.outgoing if line.startswith("Info: DCID 1 Connection diagnosis: ")]
    story.outgoing.remove(diagnosis)
    assert "The server mx1.far.test refused the connection" in diagnosis
    assert story.outgoing == GOLDEN_SECOND_MX.format(first=FIRST_MX, second=SECOND_MX).splitlines()
    assert facts_of(site, "by-mx") == (True, None)
    (event,) = events(site.gateway, "OutboundTlsSucceeded", domain="far.test")
    assert (event["host"], event["facts"]["server_name"]) == ("mx2.far.test", "mx2.far.test")


def test_a_host_outside_the_relay_list_may_not_relay(site: Site) -> None:
    with smtplib.SMTP(*at(site.port)) as client:
        client.ehlo()
        client.mail("a@sender.test")
        assert client.rcpt("b@far.test") == (550, b"#5.1.0 Address rejected.")
    site.gateway.wait_log(r"MID \d+ ICID \d+ To: <b@far\.test> Rejected by RAT")
