"""Contexts of a document: what is on the wire, what is taken over, what is refused."""

from __future__ import annotations

import contextlib
import functools
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from OpenSSL import SSL, crypto

from mxseal.certs.facts import fingerprint, spki_sha256
from mxseal.certs.keys import KeyStore
from mxseal.certs.live import ContextsRefused, Live, build, verifies_clients
from mxseal.config.model import (
    Authority,
    Certificate,
    Delivery,
    Document,
    Listener,
    MailFlowPolicy,
    SenderGroup,
    Ssl,
    TlsSettings,
    Trust,
)
from tests.certs.authority import (
    DAY,
    NOW,
    MemorySecrets,
    Signer,
    Wish,
    authority,
    cert_pem,
    ec_key,
    issue,
    path3,
    rsa_key,
)


class Site:
    """A document's certificates and their keys."""

    def __init__(self) -> None:
        self.secrets = MemorySecrets()
        self.keys = KeyStore(self.secrets)
        self.certificates: dict[str, Certificate] = {}

    def add(self, name: str, signer: Signer, *intermediates: x509.Certificate) -> str:
        self.keys.put(signer.key)
        self.certificates[name] = Certificate(
            name=name,
            certificate=cert_pem(signer.certificate).decode(),
            intermediates=tuple(cert_pem(entry).decode() for entry in intermediates),
        )
        return name

    def document(self, *listeners: Listener, delivery: Delivery | None = None) -> Document:
        return Document(
            certificates=tuple(self.certificates.values()),
            listeners=listeners,
            delivery=delivery or Delivery(certificate=None),
        )

    def build(self, *listeners: Listener, previous: Live | None = None, now: float = NOW) -> Live:
        return build(self.document(*listeners), self.keys, previous, now)

    def refusals(self, document: Document) -> list[tuple[str, str]]:
        with pytest.raises(ContextsRefused) as caught:
            build(document, self.keys, None, NOW)
        for problem in caught.value.problems:
            assert problem.severity == "error"
            assert problem.path in str(caught.value)
            assert problem.text.endswith(".")
            assert problem.remedy.endswith(".")
        return [(problem.code, problem.path) for problem in caught.value.problems]


@functools.cache
def rsa_leaf() -> Signer:
    return issue("mx.example.com", rsa_key("leaf"), rsa_issuer())


@functools.cache
def rsa_issuer() -> Signer:
    return authority("Rsa Issuer", path3().root)


@pytest.fixture
def site() -> Site:
    site = Site()
    near, far = path3().path
    site.add("ec", path3().leaf, far, near, path3().root.certificate, near)
    site.add("rsa", rsa_leaf(), rsa_issuer().certificate)
    return site


@contextlib.contextmanager
def served(context: SSL.Context) -> Iterator[int]:
    """A port on which each connection gets a handshake and one line."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=_accept, args=(server, context), daemon=True)
        thread.start()
        yield server.getsockname()[1]
        with contextlib.suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)
        thread.join(10)


def _accept(server: socket.socket, context: SSL.Context) -> None:
    while True:
        try:
            peer, _ = server.accept()
        except OSError:
            return
        with peer:
            peer.settimeout(10)
            connection = SSL.Connection(context, peer)
            connection.set_accept_state()
            peer.setblocking(True)
            with contextlib.suppress(SSL.Error):
                connection.do_handshake()
                connection.sendall(b"hello\n")
                connection.shutdown()


def client(port: int, *options: str) -> str:
    run = subprocess.run(
        ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-showcerts", "-ign_eof", *options],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=20,
        check=False,
    )
    return run.stdout.decode()


def chain_shown(port: int, *options: str) -> list[x509.Certificate]:
    text = client(port, *options)
    return x509.load_pem_x509_certificates(text.encode()) if "BEGIN CERTIFICATE" in text else []


def test_leaf_then_path_is_on_the_wire_each_once_for_both_key_types(site: Site) -> None:
    live = site.build(Listener(name="In", certificate="rsa", second_certificate="ec"))
    ec_chain = [path3().leaf.certificate, *path3().path]
    rsa_chain = [rsa_leaf().certificate, rsa_issuer().certificate]
    with served(live.server_context("In")) as port:
        assert chain_shown(port, "-sigalgs", "ECDSA+SHA256") == ec_chain
        assert chain_shown(port, "-sigalgs", "RSA-PSS+SHA256") == rsa_chain
        assert chain_shown(port, "-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256") == ec_chain
        assert chain_shown(port, "-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256") == rsa_chain
    assert live.expected_fingerprints("In") == {
        fingerprint(path3().leaf.certificate),
        fingerprint(rsa_leaf().certificate),
    }


def test_openssl_verifies_what_is_served_with_the_root_alone(site: Site, tmp_path: Path) -> None:
    root = tmp_path / "root.pem"
    root.write_bytes(cert_pem(path3().root.certificate))
    live = site.build(Listener(name="In", certificate="ec", second_certificate="rsa"))
    with served(live.server_context("In")) as port:
        for algorithm in ("ECDSA+SHA256", "RSA-PSS+SHA256"):
            options = ("-CAfile", str(root), "-verify_hostname", "mx.example.com", "-attime", f"{NOW:.0f}")
            assert "Verify return code: 0 (ok)" in client(port, "-sigalgs", algorithm, *options)


def test_other_certificates_are_chosen_by_the_name_that_the_client_asks_for(site: Site) -> None:
    wild = issue("*.example.org", ec_key("wild"), path3().near)
    wild_rsa = issue("*.example.org", rsa_key("leaf"), path3().near)
    exact = issue("mx.example.net", ec_key("net"), path3().near)
    for name, signer in (("wild", wild), ("wild-rsa", wild_rsa), ("exact", exact)):
        site.add(name, signer, *path3().path)
    live = site.build(Listener(name="In", certificate="ec", sni_certificates=("exact", "wild", "wild-rsa")))
    expected = {
        "mx.example.net": (exact, "ECDSA+SHA256"),
        "MX.example.ORG": (wild, "ECDSA+SHA256"),
        "mx.example.org": (wild_rsa, "RSA-PSS+SHA256"),
        "a.b.example.org": (path3().leaf, "ECDSA+SHA256"),
        "unknown.example": (path3().leaf, "ECDSA+SHA256"),
    }
    with served(live.server_context("In")) as port:
        for name, (signer, algorithm) in expected.items():
            shown = chain_shown(port, "-servername", name, "-sigalgs", algorithm)
            assert shown == [signer.certificate, *path3().path], name
            assert fingerprint(shown[0]) in live.expected_fingerprints("In", name)
        assert chain_shown(port, "-noservername")[0] == path3().leaf.certificate
    assert live.expected_fingerprints("In", "mx.example.org") == {
        fingerprint(wild.certificate),
        fingerprint(wild_rsa.certificate),
    }
    assert live.expected_fingerprints("In") == {fingerprint(path3().leaf.certificate)}


def test_contexts_that_a_commit_does_not_touch_are_taken_over(site: Site) -> None:
    first, second = Listener(name="A", certificate="ec"), Listener(name="B", certificate="rsa")
    before = site.build(first, second)
    renewed = issue("mx.example.com", rsa_key("leaf"), path3().near, Wish(end=900))
    site.add("rsa", renewed, *path3().path)
    after = site.build(first.model_copy(update={"port": 2526}), second, previous=before)
    assert after.server_context("A") is before.server_context("A")
    assert after.delivery is before.delivery
    assert after.server_context("B") is not before.server_context("B")
    assert after.expected_fingerprints("B") == {fingerprint(renewed.certificate)}


def test_an_added_listener_name_in_sni_or_intermediate_makes_a_new_context(site: Site) -> None:
    listener = Listener(name="A", certificate="ec")
    before = site.build(listener)
    assert site.build(listener, previous=before).servers["A"] is before.servers["A"]
    site.add("rsa", rsa_leaf())
    assert site.build(listener, previous=before).servers["A"] is before.servers["A"]
    with_sni = site.build(listener.model_copy(update={"sni_certificates": ("rsa",)}), previous=before)
    assert with_sni.servers["A"].inputs != before.servers["A"].inputs
    site.add("ec", path3().leaf, path3().near.certificate)
    assert site.build(listener, previous=before).server_context("A") is not before.server_context("A")


def test_sessions_survive_a_commit_that_does_not_touch_their_listener(site: Site, tmp_path: Path) -> None:
    listener = Listener(name="A", certificate="ec")
    before = site.build(listener)
    session = str(tmp_path / "session")
    with served(before.server_context("A")) as port:
        assert "New, TLSv1.3" in client(port, "-sess_out", session)
    after = site.build(listener, previous=before)
    with served(after.server_context("A")) as port:
        assert "Reused, TLSv1.3" in client(port, "-sess_in", session)
    anew = site.build(listener)
    with served(anew.server_context("A")) as port:
        assert "New, TLSv1.3" in client(port, "-sess_in", session)


def test_delivery_has_contexts_with_and_without_post_quantum_groups(site: Site) -> None:
    listener = Listener(name="In", certificate="ec")
    live = build(site.document(listener, delivery=Delivery(certificate="ec")), site.keys, None, NOW)
    assert live.delivery.context is not live.delivery.classic
    assert _group(live.delivery.context, live.server_context("In")) == "X25519MLKEM768"
    assert _group(live.delivery.classic, live.server_context("In")) == "x25519"
    plain = Delivery(certificate="ec", post_quantum=False)
    off = build(site.document(listener, delivery=plain), site.keys, live, NOW)
    assert off.delivery.context is off.delivery.classic
    assert off.delivery.inputs != live.delivery.inputs


def _group(client_side: SSL.Context, server_side: SSL.Context) -> str | None:
    ours, theirs = SSL.Connection(client_side, None), SSL.Connection(server_side, None)
    ours.set_connect_state()
    theirs.set_accept_state()
    for _ in range(4):
        for one, other in ((ours, theirs), (theirs, ours)):
            with contextlib.suppress(SSL.WantReadError):
                one.do_handshake()
            with contextlib.suppress(SSL.WantReadError):
                other.bio_write(one.bio_read(65536))
    return ours.get_group_name()


def test_delivery_shows_its_certificate_to_a_host_that_asks(site: Site) -> None:
    live = build(site.document(delivery=Delivery(certificate="ec")), site.keys, None, NOW)
    server = SSL.Context(SSL.TLS_SERVER_METHOD)
    server.use_certificate(path3().leaf.certificate)
    key = path3().leaf.key
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    server.use_privatekey(key)
    seen: list[x509.Certificate] = []

    def note(_connection: object, shown: crypto.X509, _code: int, _depth: int, _ok: int) -> bool:
        seen.append(shown.to_cryptography())
        return True

    server.set_verify(SSL.VERIFY_PEER, note)
    _group(live.delivery.context, server)
    assert path3().leaf.certificate in seen
    assert path3().far.certificate in seen


def test_a_changed_trust_file_makes_new_delivery_contexts(site: Site, tmp_path: Path) -> None:
    trust = tmp_path / "trust.pem"
    trust.write_bytes(cert_pem(path3().root.certificate))
    document = site.document(delivery=Delivery(certificate=None, ca_file=str(trust)))
    before = build(document, site.keys, None, NOW)
    assert build(document, site.keys, before, NOW).delivery is before.delivery
    trust.write_bytes(cert_pem(path3().root.certificate, authority("New Root", None).certificate))
    assert build(document, site.keys, before, NOW).delivery is not before.delivery


# --- versions, ciphers and client certificates ------------------------------------------------------------


def _settled(site: Site, **changes: Any) -> Document:
    """One listener under one policy, with these keys laid over it."""
    document = site.document(Listener(name="a", certificate="ec"))
    policy = MailFlowPolicy(name="ACCEPTED", tls="preferred")
    return document.model_copy(update={"mail_flow_policies": (policy,), **changes})


def test_changed_versions_or_ciphers_make_new_contexts_of_that_side_only(site: Site) -> None:
    first = build(_settled(site), site.keys, None, NOW)
    for ssl, inbound, outbound in (
        (Ssl(gui=TlsSettings(profile="modern")), True, True),
        (Ssl(inbound=TlsSettings(profile="modern")), False, True),
        (Ssl(inbound=TlsSettings(ciphers="ECDHE+AES256")), False, True),
        (Ssl(outbound=TlsSettings(protocols=("TLSv1.3",))), True, False),
    ):
        second = build(_settled(site, ssl=ssl), site.keys, first, NOW)
        assert (second.server_context("a") is first.server_context("a")) is inbound, ssl
        assert (second.delivery is first.delivery) is outbound, ssl


def test_lists_of_authorities_are_read_for_a_listener_that_verifies_clients_only(
    site: Site, tmp_path: Path
) -> None:
    roots = tmp_path / "roots.pem"
    roots.write_bytes(cert_pem(path3().root.certificate))
    verifying = (MailFlowPolicy(name="ACCEPTED", tls="preferred-verify"),)
    delivery = Delivery(certificate=None, ca_file=str(roots))

    def both(**changes: Any) -> tuple[Document, Document]:
        return _settled(site, delivery=delivery, **changes), _settled(
            site, delivery=delivery, mail_flow_policies=verifying, **changes
        )

    plain, asking = (build(document, site.keys, None, NOW) for document in both())
    roots.write_bytes(cert_pem(path3().root.certificate) * 2)
    documents = both()
    same = build(documents[0], site.keys, plain, NOW)
    other = build(documents[1], site.keys, asking, NOW)
    assert same.server_context("a") is plain.server_context("a")
    assert other.server_context("a") is not asking.server_context("a")
    custom = Trust(system=False, custom=True, authorities=(_authority(),))
    again = build(both(trust=custom)[1], site.keys, other, NOW)
    assert again.server_context("a") is not other.server_context("a")


def _authority() -> Authority:
    return Authority(name="Root", certificate=cert_pem(path3().root.certificate).decode())


def test_clients_are_verified_where_a_policy_or_a_group_of_the_listener_says_so(site: Site) -> None:
    def verifies(**changes: Any) -> bool:
        return verifies_clients(_settled(site, **changes), "a")

    strict = MailFlowPolicy(name="STRICT", tls="required-verify")
    both = (MailFlowPolicy(name="ACCEPTED"), strict)
    group = SenderGroup(name="G", members=("192.0.2.1",), policy="STRICT")
    shown = SenderGroup(name="C", certificates=("a.example",), policy="ACCEPTED")
    assert not verifies()
    assert not verifies(mail_flow_policies=both), "no host gets that policy"
    assert verifies(mail_flow_policies=both, default_policy="STRICT")
    assert verifies(mail_flow_policies=both, sender_groups=(group,))
    assert verifies(sender_groups=(shown,))
    elsewhere = {"listeners": ("b",)}
    assert not verifies(mail_flow_policies=both, sender_groups=(group.model_copy(update=elsewhere),))
    assert not verifies(sender_groups=(shown.model_copy(update=elsewhere),))


def test_an_expired_certificate_keeps_being_served(site: Site) -> None:
    live = site.build(Listener(name="In", certificate="ec"), now=NOW + 4000 * DAY)
    assert live.expected_fingerprints("In") == {fingerprint(path3().leaf.certificate)}


def test_the_intermediate_that_is_in_date_now_is_served(site: Site) -> None:
    old = path3().near.certificate
    renewed = authority(
        "Test Near", path3().far, Wish(ca=True, names=(), eku=None, begin=100, end=900)
    ).certificate
    site.add("ec", path3().leaf, old, renewed, path3().far.certificate)
    listener = Listener(name="In", certificate="ec")
    today, later = site.build(listener), site.build(listener, now=NOW + 400 * DAY)
    with served(today.server_context("In")) as port:
        assert chain_shown(port)[1] == old
    with served(later.server_context("In")) as port:
        assert chain_shown(port)[1] == renewed


def test_everything_that_can_not_be_built_is_told_at_once_with_its_key_path(site: Site) -> None:
    orphan = issue("orphan.example.com", ec_key("orphan"), path3().near)
    site.add("orphan", orphan)
    site.keys.delete(spki_sha256(orphan.key))
    site.add("ec-2", issue("mx2.example.com", ec_key("second"), path3().near))
    site.add("nameless", issue("Mail Gateway", ec_key("nameless"), path3().near, Wish(names=())))
    site.certificates["broken"] = Certificate(name="broken", certificate="nonsense")
    site.add("weak", issue("weak.example.com", rsa_key("weak", 1024), path3().near))
    document = site.document(
        Listener(name="A", certificate="lost"),
        Listener(name="B", certificate="orphan"),
        Listener(name="C", certificate="ec", second_certificate="ec-2"),
        Listener(name="D", certificate="ec", sni_certificates=("nameless", "ec-2", "ec-2")),
        Listener(name="E", certificate="broken"),
        Listener(name="F", certificate="weak"),
        delivery=Delivery(certificate="broken", ca_file="/nowhere/trust.pem"),
    )
    assert site.refusals(document) == [
        ("key-missing", "certificates.orphan.certificate"),
        ("not-pem", "certificates.broken.certificate"),
        ("weak-key", "certificates.weak.certificate"),
        ("unknown-certificate", "listeners.A.certificate"),
        ("same-key-type", "listeners.C.second_certificate"),
        ("sni-without-name", "listeners.D.sni_certificates.0"),
        ("sni-twice", "listeners.D.sni_certificates.2"),
        ("trust-unreadable", "delivery.ca_file"),
    ]


def test_a_key_exchanged_in_the_store_is_refused(site: Site) -> None:
    names = list(site.secrets.kept)
    site.secrets.kept[names[0]] = site.secrets.kept[names[1]]
    document = site.document(Listener(name="In", certificate="ec"))
    assert site.refusals(document) == [("key-damaged", "certificates.ec.certificate")]


def test_certificates_that_nothing_uses_are_looked_at_too_and_each_problem_is_told_once(site: Site) -> None:
    weak = issue("weak.example.com", rsa_key("weak", 1024), path3().near)
    site.add("weak", weak)
    site.keys.delete(spki_sha256(weak.key))
    site.certificates["bad csr"] = site.certificates["ec"].model_copy(
        update={"name": "bad csr", "csr": "nonsense"}
    )
    site.certificates["bad path"] = site.certificates["ec"].model_copy(
        update={"name": "bad path", "intermediates": ("nonsense",)}
    )
    told = [
        ("weak-key", "certificates.weak.certificate"),
        ("key-missing", "certificates.weak.certificate"),
        ("not-a-csr", "certificates.bad csr.csr"),
        ("not-pem", "certificates.bad path.intermediates.0"),
    ]
    assert site.refusals(site.document()) == told
    used = Listener(name="In", certificate="weak", sni_certificates=("weak", "bad path"))
    assert site.refusals(site.document(used)) == told


def test_a_trust_file_that_is_no_pem_is_refused(site: Site, tmp_path: Path) -> None:
    trust = tmp_path / "trust.pem"
    trust.write_text("nonsense")
    document = site.document(delivery=Delivery(certificate=None, ca_file=str(trust)))
    assert site.refusals(document) == [("context", "delivery")]


def test_nothing_is_left_open_and_nothing_is_on_disk(site: Site) -> None:
    before = set(Path("/proc/self/fd").iterdir())
    site.build(Listener(name="In", certificate="ec", second_certificate="rsa", sni_certificates=("rsa",)))
    assert set(Path("/proc/self/fd").iterdir()) == before
