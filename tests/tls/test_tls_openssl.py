"""The engine against a foreign implementation: the openssl program, over loopback."""

from __future__ import annotations

import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from OpenSSL import SSL

from mxseal.tls.contexts import SniCertificates
from mxseal.tls.engine import Engine
from tests.tls.pairs import Pki

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the openssl program")
PATIENCE = 20.0


class OneConnection:
    """A server for one connection: greets over TLS and keeps its engine for the test to look at."""

    def __init__(self, context: SSL.Context) -> None:
        self.engine = Engine(context, server_side=True)
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._socket.settimeout(PATIENCE)
        self.address = f"127.0.0.1:{self._socket.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        with self._socket, self._socket.accept()[0] as connection:
            connection.settimeout(PATIENCE)
            greeted = False
            while data := connection.recv(65536):
                self.engine.receive(data)
                if self.engine.established and not greeted:
                    greeted = True
                    self.engine.write(b"220 greetings\r\n")
                    self.engine.close()
                connection.sendall(self.engine.output())
                if self.engine.fault is not None:
                    return
            self.engine.eof()

    def join(self) -> None:
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()


@contextmanager
def serving(context: SSL.Context) -> Iterator[OneConnection]:
    server = OneConnection(context)
    try:
        yield server
    finally:
        server.join()


def s_client(server: OneConnection, *arguments: str) -> str:
    command = ["openssl", "s_client", "-connect", server.address, "-showcerts", *arguments]
    done = subprocess.run(command, input=b"", capture_output=True, timeout=PATIENCE, check=False)
    return (done.stdout + done.stderr).decode("utf-8", "replace")


@pytest.mark.parametrize(("option", "version"), [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")])
def test_s_client_gets_verified_tls_of_each_version(pki: Pki, option: str, version: str) -> None:
    with serving(pki.server()) as server:
        said = s_client(server, option, "-CAfile", pki.trust, "-servername", "mx.test", "-ign_eof")
    assert "220 greetings" in said
    assert "Verify return code: 0 (ok)" in said
    facts = server.engine.facts()
    assert (facts.protocol, facts.server_name) == (version, "mx.test")


@pytest.mark.parametrize(
    ("option", "kind", "authority"),
    [("ECDSA+SHA256", "id-ecPublicKey", "EC authority"), ("rsa_pss_rsae_sha256", "rsaEncryption", "RSA")],
)
def test_s_client_chooses_between_both_certificates(pki: Pki, option: str, kind: str, authority: str) -> None:
    with serving(pki.server()) as server:
        said = s_client(server, "-sigalgs", option, "-CAfile", pki.trust)
    assert f"a:PKEY: {kind}" in said
    assert f"i:CN = {authority}" in said
    assert said.count("BEGIN CERTIFICATE") >= 2


def test_s_client_is_served_by_name(pki: Pki) -> None:
    named = SniCertificates(names=("other.test",), certificates=(pki.other.files,))
    with serving(pki.server(sni=(named,))) as server:
        said = s_client(server, "-servername", "other.test", "-CAfile", pki.trust)
    assert "subject=CN = other.test" in said


def test_s_client_without_a_common_cipher_is_refused_with_an_alert(pki: Pki) -> None:
    with serving(pki.server()) as server:
        said = s_client(server, "-tls1_2", "-cipher", "AES128-SHA")
    assert "handshake failure" in said
    assert server.engine.fault is not None
    assert server.engine.fault.reason == "no shared cipher"
    assert server.engine.fault.offer is not None
    assert server.engine.fault.offer.ciphers == ("TLS_RSA_WITH_AES_128_CBC_SHA",)


def test_s_client_can_not_renegotiate(pki: Pki) -> None:
    with serving(pki.server()) as server:
        said = s_client(server, "-tls1_2", "-CAfile", pki.trust)
    assert "Secure Renegotiation IS supported" in said
    assert "Compression: NONE" in said
    assert server.engine.established
