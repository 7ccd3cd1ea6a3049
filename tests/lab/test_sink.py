"""The stand-in and the hostile next hop do what their scripts say."""

from __future__ import annotations

import smtplib
import socket
import ssl
from collections.abc import Callable

import pytest
from OpenSSL import SSL

from lab.ca import Authority, Issued
from lab.client import Client, Envelope, Trust, send
from lab.clienthello import X25519MLKEM768
from lab.hostile import BEHAVIOURS, Hostile, bad_certificates
from lab.script import Behaviour
from lab.sink import Sink

StartHostile = Callable[..., Hostile]


def handshake_error(server: Hostile) -> str:
    with Client(server.address) as client, pytest.raises((ssl.SSLError, ConnectionError)) as found:
        client.secure()
    return f"{type(found.value).__name__}: {found.value}"


def raw(server: Sink) -> socket.socket:
    return socket.create_connection(server.address, timeout=10)


def test_the_sink_takes_a_message_over_starttls_and_shows_it(sink: Sink, authority: Authority) -> None:
    envelope = Envelope(
        recipients=["a@x.test", "b@x.test"], content=b"Subject: dots\r\n\r\n.one\r\n..two\r\n"
    )
    sent = send(sink.address, envelope, Trust(roots=authority.pem, name="sink.lab.test"))
    (message,) = sink.wait()
    assert sent.protocol == "TLSv1.3"
    assert message.recipients == ("a@x.test", "b@x.test")
    assert message.content.endswith(b"\r\n\r\n.one\r\n..two\r\n")
    assert message.path.read_bytes() == message.content
    (taken,) = sink.taken
    assert taken.content == envelope.content
    assert taken.tls is not None
    assert taken.tls.server_name == "sink.lab.test"


def test_the_sink_takes_an_empty_message(sink: Sink) -> None:
    with Client(sink.address) as client:
        client.sendmail("a@x.test", ["b@x.test"], b"")
    assert sink.wait()[0].sender == "a@x.test"


def test_the_sink_resumes_a_session(sink: Sink) -> None:
    context = Trust(
        tweak=lambda context: setattr(context, "maximum_version", ssl.TLSVersion.TLSv1_2)
    ).context()
    session = None
    for _ in range(2):
        with raw(sink) as connection:
            for line in (b"EHLO x\r\n", b"STARTTLS\r\n"):
                connection.recv(4096)
                connection.sendall(line)
            while b"220 2.0.0" not in connection.recv(4096):
                pass
            with context.wrap_socket(connection, session=session) as secured:
                session = secured.session
    assert [bool(entry.tls and entry.tls.resumed) for entry in sink.wait_sessions(2)] == [False, True]


def test_the_sink_shows_the_clients_certificate(issue: Callable[..., Issued], authority: Authority) -> None:
    own = issue("client.lab.test")
    behaviour = Behaviour(client_roots=authority.pem)
    with Sink(certificate=issue("sink.lab.test"), behaviour=behaviour) as sink:
        files = own.write(sink.folder / "client")
        send(sink.address, Envelope(), Trust(certificate=(str(files.chain), str(files.key))))
        (taken,) = sink.taken
    assert taken.tls is not None
    assert taken.tls.client_certificate is not None
    assert ssl.DER_cert_to_PEM_cert(taken.tls.client_certificate).encode() == own.cert_pem


@pytest.mark.parametrize("mode", ["helo-only", "no-starttls"])
def test_modes_without_starttls_still_take_mail(mode: str, hostile: StartHostile) -> None:
    server = hostile(mode)
    with Client(server.address) as client:
        client.ehlo_or_helo_if_needed()
        assert not client.has_extn("starttls")
        client.sendmail("a@x.test", ["b@x.test"], b"x")
    assert server.taken[0].tls is None


@pytest.mark.parametrize("code", [454, 501, 502])
def test_starttls_is_answered_with_an_error(code: int, hostile: StartHostile) -> None:
    with Client(hostile(f"starttls-{code}").address) as client:
        with pytest.raises(smtplib.SMTPResponseException) as found:
            client.secure()
        assert found.value.smtp_code == code


@pytest.mark.parametrize(
    ("mode", "error"),
    [
        ("tls-closes-at-once", "SSLEOFError"),
        ("tls-closes", "SSLEOFError"),
        ("tls-resets", "ConnectionResetError"),
        ("tls-garbage", "wrong version number"),
        ("tls-cleartext", "wrong version number"),
        ("tls-alert", "alert handshake failure"),
        ("tls-1.0-only", "protocol version"),
        ("tls-1.1-only", "protocol version"),
        ("tls-no-shared-cipher", "alert handshake failure"),
    ],
)
def test_the_handshake_fails_as_named(mode: str, error: str, hostile: StartHostile) -> None:
    assert error in handshake_error(hostile(mode))


def test_a_stalled_handshake_stays_silent(hostile: StartHostile) -> None:
    server = hostile("tls-stalls")
    with Client(server.address, seconds=0.3) as client, pytest.raises(TimeoutError):
        client.secure()


def test_old_versions_work_for_those_who_want_them(hostile: StartHostile) -> None:
    def allow_old(context: ssl.SSLContext) -> None:
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.options &= ~ssl.OP_NO_TLSv1
        context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED

    sent = send(hostile("tls-1.0-only").address, Envelope(), Trust(tweak=allow_old))
    assert sent.protocol == "TLSv1"


def test_the_clienthello_is_measured_and_its_groups_are_read(hostile: StartHostile) -> None:
    server = hostile("chokes-on-post-quantum")
    assert send(server.address, Envelope()).protocol == "TLSv1.3"  # offers no hybrid group
    hello = server.sessions[0].hello
    assert hello is not None
    assert 0x001D in hello.groups
    assert 300 < hello.size < 1200


def hybrid_handshake(server: Hostile) -> None:
    """A handshake by a client that offers X25519MLKEM768, as the gateway does."""
    with raw(server) as connection, connection.makefile("rb") as lines:
        lines.readline()
        connection.sendall(b"EHLO x\r\n")
        while not lines.readline().startswith(b"250 "):
            pass
        connection.sendall(b"STARTTLS\r\n")
        lines.readline()
        connection.settimeout(None)
        secured = SSL.Connection(SSL.Context(SSL.TLS_CLIENT_METHOD), connection)
        secured.set_connect_state()
        secured.do_handshake()


@pytest.mark.parametrize("mode", ["chokes-on-size", "chokes-on-post-quantum"])
def test_servers_choke_on_a_post_quantum_offer(mode: str, hostile: StartHostile) -> None:
    server = hostile(mode)
    with pytest.raises(SSL.SysCallError, match="Unexpected EOF"):
        hybrid_handshake(server)
    (session,) = server.wait_sessions()
    assert session.hello is not None
    assert X25519MLKEM768 in session.hello.groups
    assert session.hello.size > 1200
    assert session.ended == "dropped"


def test_injected_replies_come_in_clear_text_behind_the_220(hostile: StartHostile) -> None:
    with raw(hostile("starttls-injects")) as connection, connection.makefile("rwb") as lines:
        lines.readline()
        connection.sendall(b"EHLO x\r\n")
        while not lines.readline().startswith(b"250 "):
            pass
        connection.sendall(b"STARTTLS\r\n")
        assert [lines.readline() for _ in range(3)][1] == b"250-injected\r\n"


@pytest.mark.parametrize(
    ("mode", "code"),
    [
        ("mail-451", 451),
        ("mail-550", 550),
        ("rcpt-450", 450),
        ("rcpt-550", 550),
        ("data-451", 451),
        ("data-554", 554),
        ("end-452", 452),
        ("end-554", 554),
    ],
)
def test_steps_are_refused_as_named(mode: str, code: int, hostile: StartHostile) -> None:
    server = hostile(mode)
    with pytest.raises(smtplib.SMTPException) as found:
        send(server.address, Envelope())
    error = found.value
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        ((got, _),) = error.recipients.values()
    else:
        assert isinstance(error, smtplib.SMTPResponseException)
        got = error.smtp_code
    assert got == code
    assert server.messages() == ()


def test_single_recipients_are_refused(hostile: StartHostile) -> None:
    server = hostile(
        Behaviour(replies={"RCPT:no@x.test": "550 5.1.1 no", "RCPT:later@x.test": "450 4.2.1 later"})
    )
    sent = send(server.address, Envelope(recipients=["yes@x.test", "no@x.test", "later@x.test"]))
    assert {name: code for name, (code, _) in sent.refused.items()} == {"no@x.test": 550, "later@x.test": 450}
    assert server.wait()[0].recipients == ("yes@x.test",)


def test_the_answer_to_a_message_gets_lost_though_it_was_taken(hostile: StartHostile) -> None:
    server = hostile("end-closes")
    with pytest.raises(smtplib.SMTPServerDisconnected):
        send(server.address, Envelope(content=b"Subject: lost\r\n\r\n"))
    assert [(taken.content, taken.reply) for taken in server.taken] == [(b"Subject: lost\r\n\r\n", "")]


def test_replies_come_byte_by_byte_and_are_whole(hostile: StartHostile) -> None:
    assert send(hostile("trickles").address, Envelope()).reply == "250 2.0.0 taken"


def test_an_endless_banner_goes_on_until_the_peer_leaves(hostile: StartHostile) -> None:
    server = hostile("banner-endless")
    with raw(server) as connection:
        seen = b"".join(connection.recv(1 << 16) for _ in range(50))
    assert set(seen.split(b"\r\n")[:-1]) == {b"220-hostile.lab.test welcomes you once more"}
    assert server.wait_sessions()[0].commands == []


def test_a_server_that_refuses_service_answers_503_until_quit(hostile: StartHostile) -> None:
    with raw(hostile("banner-554")) as connection, connection.makefile("rb") as lines:
        connection.sendall(b"EHLO x\r\nQUIT\r\n")
        assert [line[:3] for line in lines] == [b"554", b"503", b"221"]


def test_a_script_can_end_behind_some_connections(hostile: StartHostile) -> None:
    server = hostile(Behaviour(replies={"MAIL": "451 4.3.0 not yet"}, connections=1))
    with pytest.raises(smtplib.SMTPSenderRefused):
        send(server.address, Envelope())
    assert send(server.address, Envelope()).reply.startswith("250")


def test_every_mode_ends_when_the_server_is_stopped() -> None:
    for name in BEHAVIOURS:
        server = Hostile(name).start()
        with raw(server) as connection:
            connection.sendall(b"EHLO x\r\n")
            server.stop()
        assert all(session.ended for session in server.sessions), name


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("self-signed", "self-signed certificate"),
        ("expired", "certificate has expired"),
        ("not-yet-valid", "not yet valid"),
        ("other-name", "Hostname mismatch"),
        ("unknown-authority", "unable to get local issuer"),
        ("client-only", "unsuitable certificate purpose"),
        ("intermediate-missing", "unable to get local issuer"),
    ],
)
def test_bad_certificates_are_refused_for_what_is_wrong_with_them(
    fault: str, reason: str, authority: Authority, hostile: StartHostile
) -> None:
    server = hostile(Behaviour(), certificate=bad_certificates(authority, "mx.lab.test")[fault])
    with Client(server.address) as client, pytest.raises(ssl.SSLCertVerificationError, match=reason):
        client.secure(Trust(roots=authority.pem, name="mx.lab.test"))
