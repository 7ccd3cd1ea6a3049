"""`mxseal explain` of a gateway that runs: real clients and next hops, asked afterwards in both languages."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from lab import Trouble
from lab.ca import Authority
from lab.client import Trust, s_client, send
from lab.gateway import Gateway
from lab.hostile import Hostile
from lab.place import free_port
from tests.e2e.estate import HOSTNAME, Starter, at, document, envelope, hop, mid_of, put_to_use


class Site:
    def __init__(self, gateway: Gateway, port: int) -> None:
        self.gateway, self.address = gateway, at(port)

    def explained(self, *words: str) -> str:
        """The text without its line breaks, which depend on the terminal."""
        return " ".join(self.gateway.text("explain", *words).split())


@pytest.fixture(scope="module")
def site(lasting: Starter, authority: Authority, ground: Path) -> Site:
    masked = lasting(lambda: Hostile("starttls-masked"))
    port = free_port()
    text = document(
        port,
        recipient_access={"domains": ["masked.test"]},
        smtp_routes={"masked.test": [hop(masked)]},
        destinations=[{"domain": "masked.test", "tls": "required"}],
        sender_groups=[{"name": "PARTNERS", "certificates": ["relay.partner.test"], "policy": "VERIFIED"}],
        mail_flow_policies=[
            {"name": "ACCEPTED", "tls": "preferred"},
            {"name": "VERIFIED", "tls": "required-verify"},
        ],
        trust={
            "system": False,
            "custom": True,
            "authorities": [{"name": "Partner", "certificate": authority.pem.decode()}],
            "crl_inbound": True,
            # Nobody is there, so that there is no list for any issuer.
            "crl_sources": [{"name": "partner", "url": f"http://127.0.0.1:{free_port()}/ca.crl"}],
        },
    )
    gateway = lasting(lambda: Gateway(text))
    put_to_use(gateway, "Main", authority.intermediate().issue(HOSTNAME), ground)
    return Site(gateway, port)


def test_a_client_of_openssl_that_failed_is_explained_in_both_languages(site: Site) -> None:
    assert s_client(site.address, "-tls1_2", "-cipher", "AES256-SHA").protocol == ""
    site.gateway.wait_log("no shared cipher")
    found = re.search(r"ICID (\d+) TLS failed: .*no shared cipher", site.gateway.log())
    assert found
    english = site.explained("icid", found[1])
    assert "The client offers only cipher suites without forward secrecy" in english
    assert "TLS_RSA_WITH_AES_256_CBC_SHA" in english
    assert "only-rsa-key-exchange" in english
    assert re.search(r"Seconds: +handshake 0", english)
    dutch = site.explained("icid", found[1], "--lang", "nl")
    assert "De client biedt alleen cipher suites zonder forward secrecy aan" in dutch
    assert f"ICID {found[1]} close" in dutch


def test_a_message_that_waits_is_explained_with_its_connections(site: Site) -> None:
    send(site.address, envelope("masked", "b@masked.test"))
    mid = mid_of(site.gateway, "masked")
    site.gateway.wait_log(rf"Delayed: DCID \d+ MID {mid} ")
    told = site.explained("mid", str(mid))
    assert "It is still in the queue." in told
    assert "has overwritten the offer of STARTTLS (XXXXXXXA)" in told
    value = json.loads(site.gateway.text("--json", "explain", "mid", str(mid)))
    kinds = [(each["kind"], each["outcome"]) for each in value["connections"]]
    assert kinds[0] == ("icid", "no-certificate")  # it was asked for one, for the sake of the group
    assert kinds[1] == ("dcid", "tls-failed")
    last = value["connections"][1]
    assert last["diagnosis"]["cause"] == "starttls-masked"
    assert last["decision"]["level"] == "required"
    assert last["decision"]["level_from"] == "destination masked.test"
    assert last["times"]["connect"] >= 0


def test_a_client_with_a_certificate_is_explained_with_all_that_it_was_held_against(
    site: Site, authority: Authority, ground: Path
) -> None:
    files = authority.issue("relay.partner.test", usages=("client",)).write(ground, "partner")
    shown = Trust(certificate=(str(files.chain), str(files.key)))
    send(site.address, envelope("partner", "b@masked.test"), trust=shown)
    mid = mid_of(site.gateway, "partner")
    site.gateway.wait_log(rf"Delayed: DCID \d+ MID {mid} ")
    value = json.loads(site.gateway.text("--json", "explain", "mid", str(mid)))
    icid = str(value["connections"][0]["number"])
    told = site.explained("icid", icid)
    assert "Encrypted and verified." in told
    assert "Sender group: PARTNERS" in re.sub(r": +", ": ", told)
    assert "Trusted: custom list" in re.sub(r": +", ": ", told)
    assert "no list: not each certificate of the chain has a list in date" in told
    assert value["connections"][0]["check"]["revocation"] == "no-list"
    assert value["connections"][0]["check"]["chain"][0]["subject"] == "CN=relay.partner.test,O=MXSeal Lab"


def test_a_number_that_never_was_is_refused_with_a_sentence(site: Site) -> None:
    with pytest.raises(Trouble, match="has no DCID 999999"):
        site.gateway.text("explain", "dcid", "999999")
