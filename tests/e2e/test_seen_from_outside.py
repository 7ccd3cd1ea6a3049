"""What a client of another make sees of a listener: versions, certificates, groups, sessions."""

from __future__ import annotations

import re
import socket
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from lab.ca import Authority, Issued
from lab.client import Client, Seen, Trust, s_client
from lab.gateway import Gateway
from lab.place import free_port
from mxseal.tls.contexts import ClientTls, client_context
from mxseal.tls.engine import Engine
from mxseal.tls.facts import TlsFacts
from tests.e2e.estate import HOSTNAME, LISTENER, Starter, at, document, events, put_to_use

EVERYTHING = "ALL:@SECLEVEL=0"
RSA_ONLY, ECDSA_ONLY = "ECDHE-RSA-AES256-GCM-SHA384", "ECDHE-ECDSA-AES256-GCM-SHA384"
PATIENCE = 30


class Site:
    """The gateway and the certificates that it serves."""

    def __init__(self, gateway: Gateway, port: int, **served: Issued) -> None:
        self.gateway, self.port, self.served = gateway, port, served
        self.address = at(port)

    def client(self, *options: str) -> Seen:
        return s_client(self.address, *options)


@pytest.fixture(scope="module")
def site(lasting: Starter, authority: Authority, ground: Path, roots: Path) -> Site:
    """RSA and ECDSA side by side, each below an intermediate of its own; a third and a fourth by name.

    The first profile holds its intermediate three times and an unrelated one.
    """
    port = free_port()
    gateway = lasting(lambda: Gateway(document(port, delivery={"ca_file": str(roots)})))
    above, beside = authority.intermediate("Above RSA"), authority.intermediate("Above ECDSA")
    served = {
        "rsa": above.issue(HOSTNAME, kind="rsa2048"),
        "ecdsa": beside.issue(HOSTNAME),
        "other": beside.issue("mail.other.test"),
        "wild": above.issue("*.wild.test", kind="rsa2048"),
    }
    put_to_use(gateway, "Rsa", served["rsa"], ground)
    intermediates = ground / "intermediates.pem"
    intermediates.write_bytes(above.pem + beside.pem + above.pem)
    gateway.text("certconfig", "intermediates", "add", "Rsa", str(intermediates))
    put_to_use(gateway, "Ecdsa", served["ecdsa"], ground, "--second")
    put_to_use(gateway, "Other", served["other"], ground, "--sni")
    put_to_use(gateway, "Wild", served["wild"], ground, "--sni")
    return Site(gateway, port, **served)


def is_exactly(seen: Seen, issued: Issued) -> bool:
    """Leaf first, then the path, each once, and a client that trusts the root alone is content."""
    assert (seen.verify_code, seen.verify_text) == (0, "ok")
    return b"".join(entry.strip() + b"\n" for entry in seen.chain) == issued.chain_pem


# --- versions -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("option", "version"), [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")])
def test_current_versions_are_spoken(site: Site, option: str, version: str) -> None:
    assert site.client(option).protocol == version


@pytest.mark.parametrize("option", ["-tls1", "-tls1_1"])
def test_versions_of_old_are_refused_with_the_alert_that_says_so(site: Site, option: str) -> None:
    seen = site.client(option, "-cipher", EVERYTHING)
    assert (seen.protocol, seen.cipher) == ("", "")
    assert "alert protocol version" in seen.text


@pytest.mark.parametrize(
    "cipher", ["AES256-SHA", "AES128-GCM-SHA256", "aNULL", "eNULL", "DHE-RSA-AES256-SHA"]
)
def test_ciphers_without_forward_secrecy_or_authentication_are_refused(site: Site, cipher: str) -> None:
    seen = site.client("-tls1_2", "-cipher", f"{cipher}:@SECLEVEL=0")
    assert (seen.protocol, seen.cipher) == ("", "")


# --- certificates -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("rsa", ("-tls1_2", "-cipher", RSA_ONLY)),
        ("ecdsa", ("-tls1_2", "-cipher", ECDSA_ONLY)),
        ("rsa", ("-tls1_3", "-sigalgs", "RSA-PSS+SHA256")),
        ("ecdsa", ("-tls1_3", "-sigalgs", "ECDSA+SHA256")),
        ("other", ("-servername", "mail.other.test")),
        ("wild", ("-servername", "any.wild.test")),
        ("ecdsa", ("-servername", "unknown.test", "-sigalgs", "ECDSA+SHA256")),
        ("ecdsa", ("-servername", "wild.test", "-sigalgs", "ECDSA+SHA256")),
        ("rsa", ("-noservername", "-sigalgs", "RSA-PSS+SHA256")),
    ],
)
def test_the_chain_that_is_sent_is_the_leaf_and_its_own_path(
    site: Site, roots: Path, name: str, options: tuple[str, ...]
) -> None:
    seen = site.client("-CAfile", str(roots), *options)
    assert is_exactly(seen, site.served[name])


def test_the_profile_whose_chain_is_sent_in_order_holds_duplicates(site: Site) -> None:
    listed = site.gateway.command("certconfig", "intermediates", "list", "Rsa")
    names = [link["common_name"] for link in listed]
    assert names == ["Above RSA", "Above RSA", "Above ECDSA", "Above RSA"]


def test_the_gateway_itself_sees_what_is_served_on_the_wire(site: Site) -> None:
    seen = site.gateway.command("certconfig", "served")
    assert all(entry["expected"] for entry in seen)
    assert [entry["fingerprint"].replace(":", "").lower() for entry in seen] == [
        site.served[name].sha256 for name in ("rsa", "ecdsa", "other", "wild")
    ]


# --- key exchange, sessions ---------------------------------------------------------------------------------


def handshake(site: Site, values: ClientTls) -> TlsFacts:
    """EHLO, STARTTLS and a handshake with the gateway's own TLS library, which knows the newest groups."""
    engine = Engine(client_context(values), server_side=False, server_name=HOSTNAME)
    with socket.create_connection(site.address, timeout=PATIENCE) as connection:
        for line, last in (
            (b"", b"ESMTP\r\n"),
            (b"EHLO client.test\r\n", b"STARTTLS\r\n"),
            (b"STARTTLS\r\n", b""),
        ):
            connection.sendall(line)
            text = connection.recv(4096)
            assert text.endswith(last)
        engine.start()
        while not engine.established:
            connection.sendall(engine.output())
            data = connection.recv(65536)
            assert data, engine.fault
            engine.receive(data)
        connection.sendall(engine.output())
        engine.close()
        connection.sendall(engine.output())
        return engine.facts()


def test_the_post_quantum_group_is_agreed_upon_with_clients_that_have_it(site: Site) -> None:
    facts = handshake(site, ClientTls())
    assert (facts.protocol, facts.group) == ("TLSv1.3", "X25519MLKEM768")
    site.gateway.wait_log('"group":"X25519MLKEM768"', name="json_logs")


def test_clients_without_the_post_quantum_group_get_a_classic_one(site: Site) -> None:
    assert site.client("-groups", "X25519:P-256").group == "X25519"
    assert site.client("-groups", "P-256").protocol == "TLSv1.3"
    assert handshake(site, ClientTls(post_quantum=False)).group == "x25519"


def test_nothing_is_compressed(site: Site) -> None:
    for version in ("-tls1_2", "-tls1_3"):
        assert "Compression: NONE" in site.client(version, "-comp").text


def test_renegotiation_is_refused(site: Site) -> None:
    words = ["openssl", "s_client", "-connect", f"127.0.0.1:{site.port}", "-starttls", "smtp", "-tls1_2"]
    done = subprocess.run(words, input=b"R\n", capture_output=True, timeout=PATIENCE, check=False)
    text = (done.stdout + done.stderr).decode()
    assert "Secure Renegotiation IS supported" in text
    assert "RENEGOTIATING" in text
    assert "no renegotiation" in text


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_sessions_are_resumed(site: Site, ground: Path, version: str) -> None:
    file = str(ground / f"session{version}")
    # -ign_eof: stay until the server closes, as TLS 1.3 sends its ticket behind the handshake.
    options = (version, "-ign_eof", "-servername", HOSTNAME)
    assert "\nNew, TLSv1" in site.client(*options, "-sess_out", file).text
    # A ticket is good at the worker that gave it: with two workers every other time.
    looks = (site.client(*options, "-sess_in", file).text for _ in range(30))
    assert any(re.search(r"^Reused, TLSv1", text, re.MULTILINE) for text in looks)
    resumed = [event for event in events(site.gateway, "InboundTlsSucceeded") if event["facts"]["resumed"]]
    assert resumed


def test_a_commit_swaps_certificates_and_drops_no_open_session(
    site: Site, authority: Authority, ground: Path
) -> None:
    fresh = authority.issue("fresh.other.test")
    trust = Trust(roots=authority.pem, name="fresh.other.test")
    with Client(site.address) as before:
        before.secure()
        before.mail("a@sender.test")
        put_to_use(site.gateway, "Fresh", fresh, ground, "--sni")
        with Client(site.address) as after:
            after.secure(trust)
            assert after.tls()[2] == fresh.certificate.public_bytes(Encoding.DER)
        assert before.rcpt("b@example.test")[0] == 250
        assert before.data(b"Subject: begun before\r\n\r\nHello.\r\n")[0] == 250
    site.gateway.wait_log(rf"Listener {LISTENER} serves the certificate Fresh, SHA-256 ")
