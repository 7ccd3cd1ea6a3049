"""The HTTP ports: what they present, what a commit does to them, and what strangers can't do to them."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from lab.ca import self_signed
from mxseal.config.check import check
from mxseal.config.model import Interface, Ssl, TlsSettings
from mxseal.faces import http_connection, http_port
from mxseal.faces.http_guard import LARGEST_BODY, LARGEST_HEAD
from tests.faces.http_serving import DEMO, HttpServing, answer, anything, free_port, http_serving, request
from tests.faces.terminal import PATIENCE

OTHER = self_signed("web.example.com")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[HttpServing]:
    with http_serving(tmp_path, http=True) as running:
        yield running


def test_the_port_presents_the_certificate_of_its_interface(server: HttpServing) -> None:
    assert not server.problems
    assert server.shown() == DEMO.certificate.public_bytes(Encoding.DER)


def test_every_answer_has_the_headers_that_keep_browsers_from_harm(server: HttpServing) -> None:
    with server.secure() as client:
        client.sendall(request("/nowhere"))
        status, headers, _ = answer(client)
    assert status == 404
    assert headers["strict-transport-security"].startswith("max-age=")
    assert headers["content-security-policy"].startswith("default-src 'none'")
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"
    assert "server" not in headers


def test_a_commit_changes_the_certificate_and_open_connections_go_on(server: HttpServing) -> None:
    server.do(lambda: server.services.add_certificate("web", OTHER))
    with server.secure() as client:
        assert server.change(certificate="web") == []
        assert server.shown() == OTHER.certificate.public_bytes(Encoding.DER)
        client.sendall(request("/health/live"))
        assert answer(client)[0] == 200
        assert client.getpeercert(binary_form=True) == DEMO.certificate.public_bytes(Encoding.DER)


def test_a_commit_moves_the_port_and_ends_connections_that_wait_at_the_old_one(server: HttpServing) -> None:
    old, new = server.port, free_port()
    with server.secure() as idle:
        idle.sendall(request("/health/live"))
        assert answer(idle)[0] == 200
        assert server.change(https_port=new) == []
        assert idle.recv(10) == b""
        server.port = new
        assert server.shown()
    with pytest.raises(ConnectionRefusedError):
        server.connect(old)


def test_a_certificate_that_is_not_there_is_refused_and_nothing_changes(server: HttpServing) -> None:
    problems = server.change(certificate="gone")
    assert [problem.path for problem in problems] == ["interfaces.Management.certificate"]
    assert server.shown() == DEMO.certificate.public_bytes(Encoding.DER)


def test_a_port_that_is_taken_is_refused_at_a_commit(server: HttpServing) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        problems = server.change(https_port=taken.getsockname()[1])
    assert [problem.path for problem in problems] == ["interfaces.Management.https_port"]
    assert server.shown()


def test_a_port_that_is_taken_at_the_start_is_told_and_tried_again(tmp_path: Path) -> None:
    server = HttpServing(tmp_path)
    with socket.create_server(("127.0.0.1", server.port)):
        server.start()
        assert ["can't be opened for HTTPS" in problem.text for problem in server.problems] == [True]
        # it keeps nobody from committing something else
        assert server.do(lambda: server.face.prepare(server.services.document(server.interface))) == []
    try:
        server.advance(31)
        assert server.shown()
    finally:
        server.stop()


def test_versions_and_ciphers_are_those_of_sslconfig_gui(server: HttpServing) -> None:
    strict = Ssl(gui=TlsSettings(profile="modern"))
    assert server.put_in_force(server.services.document(server.interface, ssl=strict)) == []
    old = anything()
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(ssl.SSLError):
        server.secure(old)
    with server.secure() as client:
        assert client.version() == "TLSv1.3"


def test_ciphers_that_the_library_does_not_know_are_refused_at_a_commit(server: HttpServing) -> None:
    wrong = Ssl(gui=TlsSettings(ciphers="NOTHING"))
    problems = server.put_in_force(server.services.document(server.interface, ssl=wrong))
    assert [problem.path for problem in problems] == ["ssl.gui.ciphers"]


@pytest.mark.parametrize(
    ("host", "place"),
    [("gui.example.com:80", "gui.example.com"), ('a"b', "mx.example.com"), ("[::1]", "[::1]")],
)
def test_http_leads_to_https_and_serves_nothing(server: HttpServing, host: str, place: str) -> None:
    with server.connect(server.http_port) as client:
        client.sendall(f"GET /a%20b?c=d HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        status, headers, body = answer(client)
    assert (status, body) == (308, b"")
    assert headers["location"] == f"https://{place}:{server.port}/a%20b?c=d"
    assert "strict-transport-security" not in headers


def test_http_without_redirect_says_where_https_is(server: HttpServing) -> None:
    server.change(redirect=False)
    with server.connect(server.http_port) as client:
        client.sendall(request("/secret"))
        status, _, body = answer(client)
    assert status == 403
    assert f"https://localhost:{server.port}/".encode() in body


@pytest.mark.parametrize("begun", [b"", b"GET / HTTP/1.1\r\nHost: localhost\r\nX-A: b\r\n"])
def test_a_request_whose_head_does_not_come_is_ended(server: HttpServing, begun: bytes) -> None:
    with server.secure() as client:
        client.sendall(begun)
        server.until(lambda: any(port.connections for port in server.face.open.values()))
        server.advance(http_connection.HEAD_TIME + 1)
        assert answer(client)[0] == 408
        assert client.recv(1) == b""


def test_a_head_that_comes_byte_by_byte_has_the_same_time_in_all(server: HttpServing) -> None:
    with server.secure() as client:
        client.sendall(request("/health/live"))
        assert answer(client)[0] == 200
        for _ in range(3):
            client.sendall(b"G")
            server.advance(0)
        server.until(lambda: all(c._reading for p in server.face.open.values() for c in p.connections))
        server.advance(http_connection.HEAD_TIME + 1)
        assert answer(client)[0] == 408


def test_a_body_that_does_not_come_is_ended(server: HttpServing) -> None:
    with server.secure() as client:
        client.sendall(b"POST /nowhere HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nab")
        server.until(lambda: any(c._in_body for p in server.face.open.values() for c in p.connections))
        server.advance(http_connection.BODY_TIME + 1)
        server.until(lambda: not any(port.connections for port in server.face.open.values()))


def test_a_body_that_is_too_large_is_refused_at_its_head(server: HttpServing) -> None:
    with server.secure() as client:
        client.sendall(
            f"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: {LARGEST_BODY + 1}\r\n\r\n".encode()
        )
        status, headers, _ = answer(client)
    assert (status, headers["connection"]) == (413, "close")


def test_a_head_that_is_too_large_is_refused(server: HttpServing) -> None:
    with server.secure() as client:
        client.sendall(request("/" + "a" * LARGEST_HEAD))
        assert answer(client)[0] in (400, 431)


def test_places_are_bounded_for_each_host_and_in_all() -> None:
    places = http_port.Places(most=5, most_per_host=2)
    assert [places.take("192.0.2.1") for _ in range(3)] == [True, True, False]
    assert places.take("2001:db8::1")
    assert places.take("2001:db8::2")
    assert not places.take("2001:db8::3")  # the same /64
    assert [places.take("127.0.0.1") for _ in range(2)] == [True, False]
    places.give_back("192.0.2.1")
    assert places.take("192.0.2.7")


def test_who_comes_when_all_places_are_taken_is_turned_away_before_a_handshake(server: HttpServing) -> None:
    server.do(lambda: setattr(server.face._places, "_most", 1))
    with server.secure() as first:
        with server.connect() as second:
            assert second.recv(1) == b""
        first.sendall(request("/health/live"))
        assert answer(first)[0] == 200
    server.until(lambda: not server.face._places._taken)
    assert server.shown()


def test_a_handshake_that_fails_gives_its_place_back(server: HttpServing) -> None:
    with server.connect() as client:
        client.sendall(b"GET / HTTP/1.1\r\n\r\n")
        while client.recv(4096):
            pass
    server.until(lambda: not server.face._places._taken)


def test_health_needs_no_login_and_tells_nothing_else(server: HttpServing) -> None:
    server.do(lambda: setattr(server.services, "ready", False))
    with server.secure() as client:
        client.sendall(request("/health/live"))
        assert answer(client)[::2] == (200, b'{"status":"live"}')
        client.sendall(request("/health/ready"))
        assert answer(client)[::2] == (503, b'{"status":"not ready"}')


def test_two_interfaces_may_not_want_one_port(server: HttpServing) -> None:
    twice = server.services.document(
        Interface(name="a", address="0.0.0.0", https_port=9443),
        Interface(name="b", https_port=1, http=True, http_port=9443),
    )
    assert [problem.path for problem in check(twice)] == ["interfaces.b.http_port"]


def test_stopping_does_not_wait_for_who_keeps_a_connection(tmp_path: Path) -> None:
    server = HttpServing(tmp_path)
    server.start()
    client = server.secure()
    server.stop()
    client.settimeout(PATIENCE)
    assert client.recv(1) == b""
    client.close()
