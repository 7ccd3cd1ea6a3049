"""A gateway under attack, in small: it serves who behaves, and neither memory nor descriptors run away.

`make strangers` has the full sizes, and what is left of the throughput.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from bench.machine import proportional_bytes, tree
from bench.strangers import files
from lab.attacker import ARRIVING, NAMES, Attacker
from lab.ca import self_signed
from lab.client import Client, Envelope, send
from lab.gateway import Gateway
from lab.place import LOOPBACK, free_port
from lab.process import until
from lab.sink import Sink

MANY, FEW = 150, 4
CROWDS = {"silent", "slow-command", "half-handshake", "idle-in-tls", "slow-content"}
MEGA = 1024 * 1024
DOCUMENT = """\
hostname = "mx.lab.test"

[[listeners]]
name = "IncomingMail"
port = {port}
reverse_dns = false

[listeners.limits]
connections = 400

[[mail_flow_policies]]
name = "ACCEPTED"
tls = "preferred"

[recipient_access]
domains = ["example.test"]

[smtp_routes]
"example.test" = ["127.0.0.1:{hop}"]
"""


class Site:
    """The gateway, its port, and the next hop behind it."""

    def __init__(self, gateway: Gateway, port: int, hop: Sink) -> None:
        self.gateway, self.port, self.hop = gateway, port, hop
        self.mark = 0

    def serves(self) -> None:
        """A message goes through over TLS, from the client to the next hop."""
        self.mark += 1
        sender = f"honest{self.mark}@client.lab.test"
        assert send((LOOPBACK, self.port), Envelope(sender=sender)).reply.startswith("250")
        until(
            lambda: any(message.sender == sender for message in self.hop.messages()),
            lambda: f"{sender} has not come through: {self.gateway.log()[-3000:]}",
        )

    def memory(self) -> int:
        return proportional_bytes(tree(self.gateway.pid))

    def files(self) -> int:
        return files(tree(self.gateway.pid))


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    port = free_port()
    with (
        Sink(certificate=self_signed("sink.lab.test")) as hop,
        Gateway(DOCUMENT.format(port=port, hop=hop.port)) as gateway,
    ):
        found = Site(gateway, port, hop)
        found.serves()
        yield found


@pytest.mark.parametrize("attack", NAMES)
def test_who_behaves_is_served_under_each_attack_and_nothing_runs_away(attack: str, site: Site) -> None:
    count = MANY if attack in CROWDS else FEW
    memory, descriptors = site.memory(), site.files()
    with Attacker(attack, port=site.port, count=count):
        site.serves()
        assert site.memory() < memory + 32 * MEGA + count * 200 * 1024
        assert site.files() <= descriptors + count + ARRIVING
    until(
        lambda: site.files() < descriptors + 20,
        lambda: f"{site.files()} descriptors are left of {descriptors} before {attack}",
    )


@pytest.mark.parametrize(
    ("attack", "told"),
    [
        ("key-updates", "#4.7.0 TLS records without content"),
        ("endless-line", "#5.5.2 command line without end, closing the connection"),
    ],
)
def test_who_sends_nothing_of_use_without_end_is_hung_up_on_and_the_log_says_so(
    attack: str, told: str, site: Site
) -> None:
    with Attacker(attack, port=site.port, count=1):
        site.gateway.wait_log(rf"Info: ICID \d+ Connection refused: {re.escape(told)}\n")


def test_ten_thousand_recipients_are_taken_as_far_as_the_limit_goes(site: Site) -> None:
    with Client((LOOPBACK, site.port)) as client:
        client.ehlo()
        client.mail("honest@client.lab.test")
        client.send(b"".join(b"RCPT TO:<u%d@example.test>\r\n" % number for number in range(9000)))
        codes = [client.getreply()[0] for _ in range(9000)]
        assert (codes.count(250), codes.count(452)) == (1000, 8000)
        assert client.data(b"Subject: many\r\n\r\nHi.\r\n")[0] == 250
    until(
        lambda: sum(len(m.recipients) for m in site.hop.messages() if m.sender.startswith("honest@")) == 1000,
        lambda: "the thousand recipients have not got the message",
    )
