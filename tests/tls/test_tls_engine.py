"""Two engines in memory: handshakes, data, ends, faults."""

from __future__ import annotations

import gc
import weakref

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from OpenSSL import SSL

from mxseal.tls.engine import Engine
from tests.tls.pairs import Pair, Pki, client_hello, raw_client

V12, V13 = "TLSv1.2", "TLSv1.3"


def test_a_handshake_ends_established_on_both_sides_with_the_same_facts(pki: Pki) -> None:
    pair = Pair(pki.server(), pki.client()).handshake()
    inbound, outbound = pair.server.facts(), pair.client.facts()
    assert inbound.protocol == outbound.protocol == "TLSv1.3"
    assert inbound.cipher == outbound.cipher == "TLS_AES_256_GCM_SHA384"
    assert inbound.bits == 256
    assert inbound.group == outbound.group == "X25519MLKEM768"
    assert inbound.server_name == outbound.server_name == "mx.test"
    assert not inbound.resumed
    assert inbound.peer_certificates == ()
    assert not inbound.verified


def test_the_client_sees_the_chain_leaf_first_and_that_it_is_trusted(pki: Pki) -> None:
    facts = Pair(pki.server(pki.ecdsa), pki.client()).handshake().client.facts()
    assert facts.peer_certificates == (pki.ecdsa.der, pki.ec_ca.der)
    assert facts.verified
    assert facts.verify_error is None
    assert facts.peer_subject == "CN=mx.test"


@pytest.mark.parametrize(
    ("which", "trusted", "error"),
    [
        ("ecdsa", False, "unable to get local issuer certificate"),
        ("alone", True, "self-signed certificate"),
        ("expired", True, "certificate has expired"),
    ],
)
def test_an_untrusted_chain_is_a_fact_not_a_fault(pki: Pki, which: str, trusted: bool, error: str) -> None:
    trust = pki.trust if trusted else str(pki.alone.path)
    pair = Pair(pki.server(getattr(pki, which)), pki.client(trust=trust)).handshake()
    assert pair.client.established
    assert pair.client.fault is None
    assert pair.client.facts().verify_error == error
    assert not pair.client.facts().verified


@pytest.mark.parametrize("version", [V12, V13])
def test_data_of_many_records_arrives_whole_in_both_directions(pki: Pki, version: str) -> None:
    pair = Pair(pki.server(), pki.client(max_version=version)).handshake()
    up, down = bytes(range(256)) * 700, b"x" * 16_385
    pair.client.write(up)
    pair.server.write(down)
    pair.server.write(b"")
    pair.pump()
    assert pair.at_server == up
    assert pair.at_client == down


@pytest.mark.parametrize("version", [V12, V13])
@pytest.mark.parametrize("piece", [1, 2, 7])
def test_a_connection_cut_at_every_byte_is_the_same_connection(pki: Pki, version: str, piece: int) -> None:
    pair = Pair(pki.server(), pki.client(max_version=version))
    pair.client.start()
    pair.pump(piece=piece)
    pair.client.write(b"MAIL FROM:<a@b.test>\r\n")
    pair.server.write(b"250 sender ok\r\n")
    pair.client.close()
    pair.pump(piece=piece)
    assert pair.at_server == b"MAIL FROM:<a@b.test>\r\n"
    assert pair.at_client == b"250 sender ok\r\n"
    assert pair.server.closed
    assert pair.server.fault is None


def test_data_that_comes_with_the_last_handshake_message_is_not_lost(pki: Pki) -> None:
    pair = Pair(pki.server(), pki.client())
    pair.client.start()
    pair.server.receive(pair.client.output())
    pair.client.receive(pair.server.output())
    pair.client.write(b"EHLO a.test\r\n")
    assert pair.server.receive(pair.client.output()) == b"EHLO a.test\r\n"
    assert pair.server.established


def test_a_context_in_partial_write_mode_takes_long_data_too(pki: Pki) -> None:
    pair = Pair(pki.server(), raw_client(trust=pki.trust)).handshake()
    pair.client.write(b"y" * 50_000)
    pair.pump()
    assert pair.at_server == b"y" * 50_000


def test_close_notify_of_the_peer_is_seen_and_data_before_it_is_kept(pki: Pki) -> None:
    pair = Pair(pki.server(), pki.client()).handshake()
    pair.client.write(b"QUIT\r\n")
    pair.client.close()
    pair.client.close()
    pair.pump()
    assert pair.at_server == b"QUIT\r\n"
    assert pair.server.closed
    assert not pair.client.closed
    assert pair.server.receive(b"anything") == b""
    pair.server.close()
    pair.pump()
    assert pair.client.closed


@pytest.mark.parametrize("version", [V12, V13])
def test_a_session_is_resumed_and_keeps_chain_and_verdict(pki: Pki, version: str) -> None:
    server, client = pki.server(), pki.client(max_version=version, trust=str(pki.alone.path))
    first = Pair(server, client).handshake()
    session = first.client.session()
    before = first.client.facts()
    first.client.close()
    second = Pair(server, client, session=session).handshake()
    after = second.client.facts()
    assert not before.resumed
    assert after.resumed
    assert second.server.facts().resumed
    assert after.peer_certificates == before.peer_certificates
    assert after.verify_error == before.verify_error == "unable to get local issuer certificate"
    assert not after.verified


@pytest.mark.parametrize("version", [V12, V13])
def test_a_session_survives_a_peer_that_just_closes_the_socket(pki: Pki, version: str) -> None:
    server, client = pki.server(), pki.client(max_version=version)
    first = Pair(server, client).handshake()
    session = first.client.session()
    first.client.eof()
    del first
    gc.collect()
    second = Pair(server, client, session=session).handshake()
    assert second.client.facts().resumed
    assert second.client.facts().verified


def test_a_session_of_another_context_is_ignored(pki: Pki) -> None:
    server = pki.server()
    first = Pair(server, pki.client()).handshake()
    second = Pair(server, pki.client(), session=first.client.session()).handshake()
    assert second.client.established
    assert not second.client.facts().resumed


def test_a_server_has_no_session_to_give_and_a_client_none_before_the_end(pki: Pki) -> None:
    pair = Pair(pki.server(), pki.client())
    assert pair.client.session() is None
    pair.handshake()
    assert pair.server.session() is None


@pytest.mark.parametrize(
    "name", ["192.0.2.1", "[2001:db8::1]", "2001:db8::1", "", "n" * 300, "müller.test", None]
)
def test_what_is_no_host_name_is_not_sent_as_sni(pki: Pki, name: str | None) -> None:
    pair = Pair(pki.server(), pki.client(), name=name).handshake()
    assert pair.server.facts().server_name is None
    assert pair.client.facts().server_name is None


def test_a_peer_that_leaves_in_the_handshake_is_gone(pki: Pki) -> None:
    engine = Engine(pki.server(), server_side=True)
    engine.receive(client_hello(pki.client()))
    engine.eof()
    engine.eof()
    assert engine.fault is not None
    assert engine.fault.kind == "peer-gone"
    assert engine.fault.offer is not None
    assert engine.fault.offer.server_name == "mx.test"


def test_a_peer_that_leaves_after_the_handshake_is_no_fault_and_not_closed(pki: Pki) -> None:
    pair = Pair(pki.server(), pki.client()).handshake()
    pair.server.eof()
    assert pair.server.fault is None
    assert not pair.server.closed


def test_the_caller_records_a_broken_socket_once(pki: Pki) -> None:
    engine = Engine(pki.server(), server_side=True)
    engine.receive(client_hello(pki.client()))
    engine.broken("reset", errno=104, reason="Connection reset by peer")
    engine.broken("timeout")
    assert engine.fault is not None
    assert (engine.fault.kind, engine.fault.errno, engine.fault.during) == ("reset", 104, "handshake")
    assert engine.fault.offer is not None


def test_after_a_fault_the_alert_is_still_in_the_output(pki: Pki) -> None:
    pair = Pair(pki.server(), raw_client(highest=SSL.TLS1_2_VERSION, ciphers=b"AES128-SHA"))
    pair.client.start()
    pair.server.receive(pair.client.output())
    fault = pair.server.fault
    assert fault is not None
    assert (fault.kind, fault.library, fault.reason) == ("local-error", "SSL routines", "no shared cipher")
    alert = pair.server.output()
    assert alert[0] == 21
    assert alert[-2:] == bytes((2, 40))
    pair.client.receive(alert)
    assert pair.client.fault is not None
    assert (pair.client.fault.kind, pair.client.fault.alert) == ("alert-received", "handshake failure")


def test_a_client_that_refuses_our_certificate_in_tls_1_2_fails_the_handshake(pki: Pki) -> None:
    client = raw_client(highest=SSL.TLS1_2_VERSION, verify=True, trust=str(pki.alone.path))
    pair = Pair(pki.server(), client).handshake()
    assert pair.server.fault is not None
    assert pair.server.fault.alert == "unknown ca"
    assert pair.server.fault.during == "handshake"
    assert pair.client.fault is not None
    assert pair.client.fault.reason == "certificate verify failed"
    assert pair.client.fault.peer_certificates[0] in (pki.ecdsa.der, pki.rsa.der)


def test_an_alert_after_our_side_was_done_is_a_fault_in_the_transfer(pki: Pki) -> None:
    """TLS 1.3: the client learns only after its own end that the server wanted a certificate."""
    strict = SSL.Context(SSL.TLS_SERVER_METHOD)
    strict.use_certificate_chain_file(pki.ecdsa.files.chain_path)
    strict.use_privatekey(pki.ecdsa.key)
    strict.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT)
    pair = Pair(strict, pki.client()).handshake()
    assert pair.client.established
    assert pair.client.fault is not None
    assert pair.client.fault.during == "transfer"
    assert pair.client.fault.alert == "certificate required"
    assert pair.client.receive(b"more") == b""
    pair.client.write(b"dropped")
    pair.client.close()
    assert pair.client.output() == b""


def test_a_changed_byte_in_the_transfer_is_a_fault(pki: Pki) -> None:
    for version in (V12, V13):
        pair = Pair(pki.server(), pki.client(max_version=version)).handshake()
        pair.client.write(b"hello")
        record = bytearray(pair.client.output())
        record[-1] ^= 1
        assert pair.server.receive(bytes(record)) == b""
        assert pair.server.fault is not None
        assert pair.server.fault.library == "SSL routines"
        assert pair.server.fault.reason == "decryption failed or bad record mac"
        assert pair.server.fault.during == "transfer"


@pytest.mark.parametrize(
    ("sent", "first_line"),
    [
        (b"EHLO client.test\r\nMAIL", "EHLO client.test"),
        (b"\x00\x01\x02\xff" * 30, "???" + "?" * 77),
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "GET / HTTP/1.1"),
        (b"CONNECT a:25 HTTP/1.1\r\n\r\n", "CONNECT a:25 HTTP/1.1"),
    ],
)
def test_clear_text_at_a_server_is_told_apart_from_tls(pki: Pki, sent: bytes, first_line: str) -> None:
    engine = Engine(pki.server(), server_side=True)
    engine.receive(sent)
    assert engine.fault is not None
    assert engine.fault.kind == "not-tls"
    assert engine.fault.clear_text == first_line


def test_clear_text_at_a_client_is_told_with_what_the_server_said(pki: Pki) -> None:
    engine = Engine(pki.client(), server_side=False)
    engine.start()
    engine.receive(b"454 4.7.0 TLS is not available\r\n")
    assert engine.fault is not None
    assert (engine.fault.kind, engine.fault.clear_text) == ("not-tls", "454 4.7.0 TLS is not available")


@pytest.mark.parametrize(
    ("number", "name"),
    [
        (40, "handshake failure"),
        (45, "certificate expired"),
        (48, "unknown ca"),
        (70, "protocol version"),
        (80, "internal error"),
        (112, "unrecognized name"),
        (116, "certificate required"),
        (200, "unregistered"),
    ],
)
def test_alerts_that_answer_our_greeting_are_named(pki: Pki, number: int, name: str) -> None:
    engine = Engine(pki.client(), server_side=False)
    engine.start()
    engine.receive(bytes((21, 3, 3, 0, 2, 2, number)))
    assert engine.fault is not None
    assert (engine.fault.kind, engine.fault.alert) == ("alert-received", name)


def test_close_notify_in_the_handshake_means_that_the_peer_is_gone(pki: Pki) -> None:
    engine = Engine(pki.client(), server_side=False)
    engine.start()
    engine.receive(bytes((21, 3, 3, 0, 2, 1, 0)))
    assert engine.fault is not None
    assert (engine.fault.kind, engine.fault.alert) == ("peer-gone", "close notify")


def test_renegotiation_is_refused(pki: Pki) -> None:
    client = raw_client(highest=SSL.TLS1_2_VERSION, trust=pki.trust)
    pair = Pair(pki.server(), client).handshake()
    connection = pair.client._connection
    connection.renegotiate()
    with pytest.raises(SSL.WantReadError):
        connection.do_handshake()
    pair.server.receive(pair.client.output())
    # RFC 5246 §7.2.2: a warning, no_renegotiation; the connection itself goes on.
    answer = pair.server.output()
    assert answer[0] == 21
    assert pair.server.fault is None


def test_an_error_that_others_left_in_the_queue_is_not_blamed_on_the_peer(pki: Pki) -> None:
    pair = Pair(pki.server(), pki.client()).handshake()
    pair.client.write(b"hello")
    record = pair.client.output()
    dirt = SSL.Connection(pki.client(), None)
    dirt.set_tlsext_host_name(b"a" * 300)
    assert pair.server.receive(record[:10]) == b""
    dirt.set_tlsext_host_name(b"a" * 300)
    assert pair.server.receive(record[10:]) == b"hello"
    assert pair.server.fault is None


def test_an_engine_that_is_dropped_is_freed_at_once(pki: Pki) -> None:
    server = pki.server(verifies_clients=True, trust=pki.trust)
    pair = Pair(server, pki.client(certificate=pki.ecdsa.files), ask=True).handshake()
    connections = [weakref.ref(pair.server._connection), weakref.ref(pair.client._connection)]
    gc.disable()
    try:
        del pair
        assert [ref() for ref in connections] == [None, None]
    finally:
        gc.enable()


GARBAGE = st.one_of(
    st.binary(min_size=1, max_size=400),
    st.builds(lambda head, tail: head + tail, st.just(b"\x16\x03\x01\x02\x00\x01"), st.binary(max_size=600)),
    st.builds(
        lambda size, tail: b"\x16\x03\x01" + size + tail, st.binary(min_size=2, max_size=2), st.binary()
    ),
)


@settings(max_examples=300, deadline=None)
@given(garbage=st.lists(GARBAGE, min_size=1, max_size=4))
def test_garbage_never_raises_and_ends_in_a_fault(pki: Pki, garbage: list[bytes]) -> None:
    engine = Engine(_server(pki), server_side=True)
    for data in garbage:
        assert engine.receive(data) == b""
        engine.output()
    engine.eof()
    assert engine.fault is not None
    assert not engine.established


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_a_greeting_with_changed_bytes_never_raises(pki: Pki, data: st.DataObject) -> None:
    hello = bytearray(_hello(pki))
    for _ in range(data.draw(st.integers(1, 4))):
        hello[data.draw(st.integers(0, len(hello) - 1))] = data.draw(st.integers(0, 255))
    engine = Engine(_server(pki), server_side=True)
    assert engine.receive(bytes(hello)) == b""
    engine.output()
    engine.eof()
    assert engine.fault is not None


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_a_server_flight_with_changed_bytes_never_raises_at_the_client(pki: Pki, data: st.DataObject) -> None:
    pair = Pair(_server(pki), _client(pki))
    pair.client.start()
    pair.server.receive(pair.client.output())
    flight = bytearray(pair.server.output())
    # Its length varies by the length of a signature, a strategy must not.
    position = data.draw(st.integers(0, 9999)) % len(flight)
    flight[position] ^= data.draw(st.integers(1, 255))
    pair.client.receive(bytes(flight))
    pair.client.output()
    pair.client.eof()
    assert pair.client.fault is not None or pair.client.established


_CACHE: dict[str, SSL.Context] = {}
_HELLO: list[bytes] = []


def _server(pki: Pki) -> SSL.Context:
    return _CACHE.setdefault("server", pki.server())


def _client(pki: Pki) -> SSL.Context:
    return _CACHE.setdefault("client", pki.client())


def _hello(pki: Pki) -> bytes:
    if not _HELLO:
        _HELLO.append(client_hello(_client(pki)))
    return _HELLO[0]
