"""Recordings as Wireshark's own programs read them: decrypted from the file alone, without content."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from OpenSSL import SSL
from OpenSSL._util import ffi, lib

from lab.tshark import capinfos, fields, tshark
from mxseal.capture import pcapng
from mxseal.capture.masking import SmtpMasking
from mxseal.capture.packets import Endpoint
from mxseal.capture.tape import Tape
from mxseal.tls import keylog
from mxseal.tls.contexts import SniCertificates
from tests.capture.sessions import CONTENT, SECRET, Recorded
from tests.tls.pairs import Pki, raw_client

LEVEL0 = b":@SECLEVEL=0"
DIALOGUE = ["EHLO", "STAR", "EHLO", "MAIL", "RCPT", "DATA", "QUIT"]


def commands(file: Path) -> list[str]:
    """The client's commands, of which tshark may put several into one field."""
    found = fields(file, "smtp.req.command")
    return [word for row in found for word in row[0].split(",")]


def healthy(file: Path) -> None:
    """No expert finds anything wrong with packets, segments or records."""
    wrong = [row for row in fields(file, "_ws.expert.severity", "_ws.expert.message") if row[0] >= "6291456"]
    assert not wrong
    assert not fields(file, "tcp.analysis.flags")
    assert {row[0] for row in fields(file, "tcp.checksum.status")} == {"1"}
    info = capinfos(file)
    assert info["File type"] == "Wireshark/... - pcapng"
    assert info["Strict time order"] == "True"


def client(pki: Pki, version: str) -> SSL.Context:
    if version in {"TLSv1", "TLSv1.1"}:
        return raw_client(
            lowest=SSL.TLS1_VERSION,
            highest={"TLSv1": SSL.TLS1_VERSION, "TLSv1.1": SSL.TLS1_1_VERSION}[version],
            ciphers=b"ALL" + LEVEL0,
        )
    return pki.client(max_version=version, ciphers="ALL")


@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
@pytest.mark.parametrize("content", [False, True])
def test_the_whole_dialogue_is_there_decrypted(pki: Pki, tmp_path: Path, version: str, content: bool) -> None:
    recorded = Recorded(pki.server(), client(pki, version), content=content).handshake()
    recorded.message()
    recorded.end()
    assert SECRET in recorded.heard
    file = recorded.write(tmp_path / "x.pcapng")
    assert commands(file)[:6] == DIALOGUE[:6]
    told = tshark(file, "-q", "-z", "follow,tls,raw,0")
    assert SECRET.hex() in told if content else SECRET.hex() not in told
    assert b"QUIT".hex() in told
    if not content:
        assert commands(file) == DIALOGUE
        assert b"%d octets left out" % len(CONTENT) in bytes.fromhex(
            "".join(told.split("\n")[6:-2]).replace("\t", "").replace("=", "")
        )
        assert file.stat().st_size < 12_000
        assert SECRET not in file.read_bytes()
    assert [row[0] for row in fields(file, "tls.alert_message.desc")] == ["0"]
    healthy(file)


@pytest.mark.parametrize(
    ("version", "ciphers"),
    [
        ("TLSv1.2", "ECDHE-ECDSA-CHACHA20-POLY1305"),
        ("TLSv1.2", "ECDHE-ECDSA-AES128-GCM-SHA256"),
        ("TLSv1.2", "ECDHE-RSA-AES128-SHA256"),
        ("TLSv1.2", "ECDHE-RSA-AES256-SHA384"),
        ("TLSv1.2", "ECDHE-ECDSA-AES256-CCM"),
        ("TLSv1.2", "AES128-SHA"),
        ("TLSv1.1", "ECDHE-RSA-AES256-SHA"),
        ("TLSv1", "ECDHE-RSA-AES128-SHA"),
    ],
)
def test_each_kind_of_cipher_can_be_left_out_of(pki: Pki, tmp_path: Path, version: str, ciphers: str) -> None:
    server = pki.server(min_version="TLSv1" if version < "TLSv1.2" else "TLSv1.2", ciphers=ciphers)
    recorded = Recorded(server, client(pki, version)).handshake()
    assert recorded.server.facts().cipher == ciphers
    recorded.message()
    recorded.end()
    assert SECRET in recorded.heard
    assert recorded.tape.remarks == []
    file = recorded.write(tmp_path / "x.pcapng")
    assert commands(file) == DIALOGUE
    assert SECRET.decode() not in tshark(file, "-V")


@pytest.mark.parametrize("suite", [b"TLS_AES_128_GCM_SHA256", b"TLS_CHACHA20_POLY1305_SHA256"])
def test_the_other_suites_of_tls_13_too(pki: Pki, tmp_path: Path, suite: bytes) -> None:
    context = raw_client(lowest=SSL.TLS1_3_VERSION)
    context.set_tls13_ciphersuites(suite)
    recorded = Recorded(pki.server(), context).handshake()
    recorded.message()
    recorded.end()
    assert commands(recorded.write(tmp_path / "x.pcapng")) == DIALOGUE


def test_a_suite_that_can_not_be_written_anew_stays_encrypted_and_says_so(pki: Pki, tmp_path: Path) -> None:
    recorded = Recorded(pki.server(ciphers="ECDHE-RSA-CAMELLIA128-SHA256"), client(pki, "TLSv1.2"))
    recorded.handshake().message()
    recorded.end()
    file = recorded.write(tmp_path / "x.pcapng")
    assert commands(file) == ["EHLO", "STAR"]
    assert any("stay encrypted" in remark for remark in recorded.tape.remarks)
    assert "CLIENT_RANDOM" not in "".join(recorded.tape.secrets())


@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
def test_resumed_sessions_are_read_too(pki: Pki, tmp_path: Path, version: str) -> None:
    server, context = pki.server(), client(pki, version)
    first = Recorded(server, context).handshake()
    first.message()
    session = first.client.session()
    first.client.close()
    first.end()
    second = Recorded(server, context, session=session).handshake()
    assert second.server.facts().resumed
    second.message()
    second.end()
    file = second.write(tmp_path / "x.pcapng")
    assert commands(file) == DIALOGUE
    assert not fields(file, "tls.handshake.certificate")


def test_the_post_quantum_group_is_seen_and_opened(pki: Pki, tmp_path: Path) -> None:
    recorded = Recorded(pki.server(), pki.client()).handshake()
    recorded.message()
    recorded.end()
    assert recorded.server.facts().group == "X25519MLKEM768"
    file = recorded.write(tmp_path / "x.pcapng")
    assert "4588" in {
        row[0] for row in fields(file, "tls.handshake.extensions_key_share_group", of="tls.handshake.type==2")
    }
    assert commands(file) == DIALOGUE


def test_a_second_hello_after_a_retry_is_read_too(pki: Pki, tmp_path: Path) -> None:
    recorded = Recorded(pki.server(groups=("P-384",)), pki.client(groups=("X25519", "P-384"))).handshake()
    recorded.message()
    recorded.end()
    file = recorded.write(tmp_path / "x.pcapng")
    assert len(fields(file, "tls.handshake.type", of="tls.handshake.type==2")) >= 1
    assert commands(file) == DIALOGUE


def test_ipv6_is_written_as_ipv6(pki: Pki, tmp_path: Path) -> None:
    recorded = Recorded(pki.server(), pki.client()).handshake()
    recorded.message()
    recorded.end()
    ends = Endpoint("2001:db8::1", 25), Endpoint("2001:db8:1::7", 40123)
    file = recorded.write(tmp_path / "x.pcapng", *ends)
    assert {row[0] for row in fields(file, "ipv6.dst")} == {"2001:db8::1", "2001:db8:1::7"}
    assert commands(file) == DIALOGUE
    healthy(file)


def test_a_mapped_address_is_the_ipv4_address_that_it_stands_for(pki: Pki, tmp_path: Path) -> None:
    recorded = Recorded(pki.server(), pki.client())
    recorded.clear("server", b"220 mx.test\r\n")
    ends = Endpoint("::ffff:192.0.2.1", 25), Endpoint("::ffff:198.51.100.7", 40123)
    file = recorded.write(tmp_path / "x.pcapng", *ends)
    assert {row[0] for row in fields(file, "ip.dst")} == {"192.0.2.1", "198.51.100.7"}


@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
def test_a_client_that_refuses_the_certificate_is_seen_to(pki: Pki, tmp_path: Path, version: str) -> None:
    highest = SSL.TLS1_2_VERSION if version == "TLSv1.2" else SSL.TLS1_3_VERSION
    recorded = Recorded(pki.server(), raw_client(highest=highest, verify=True)).handshake()
    assert recorded.server.fault is not None
    recorded.tape.end(recorded.at, "closed", ours=True)
    recorded.server.keep_secrets()
    file = recorded.write(tmp_path / "x.pcapng")
    assert [row[0] for row in fields(file, "tls.alert_message.desc")] == ["48"]  # unknown_ca
    assert fields(file, "tls.handshake.certificate")  # under TLS 1.3: with the handshake's secrets
    healthy(file)


def test_without_a_common_version_hello_and_alert_are_there(pki: Pki, tmp_path: Path) -> None:
    recorded = Recorded(pki.server(min_version="TLSv1.3"), client(pki, "TLSv1.2")).handshake()
    recorded.tape.end(recorded.at, "reset", ours=False)
    recorded.server.keep_secrets()
    file = recorded.write(tmp_path / "x.pcapng")
    assert [row[0] for row in fields(file, "tls.alert_message.desc")] == ["70"]  # protocol_version
    assert fields(file, "tls.handshake.ciphersuite")
    assert [row[0] for row in fields(file, "tcp.flags.reset", of="tcp.flags.reset==1")] == ["1"]


def test_clear_text_in_the_place_of_tls_is_cut(pki: Pki, tmp_path: Path) -> None:
    recorded = Recorded(pki.server(), pki.client())
    recorded.tape.secure()
    recorded.tape.note(recorded.at, b"GET / HTTP/1.1\r\nCookie: " + b"c" * 50 + SECRET, ours=False)
    recorded.tape.settle()
    recorded.tape.end(recorded.at, "closed", ours=True)
    data = recorded.write(tmp_path / "x.pcapng").read_bytes()
    assert b"GET / HTTP/1.1" in data
    assert SECRET not in data


def test_mail_without_tls_is_left_out_too(tmp_path: Path) -> None:
    tape = Tape(1e9, we_are_client=True, masking=SmtpMasking(), fresh=os.urandom, most=1 << 20)
    talk = [
        (False, b"220 next.test\r\n"), (True, b"EHLO mx.test\r\n"), (False, b"250 next.test\r\n"),
        (True, b"MAIL FROM:<a@b.test>\r\n"), (False, b"250 ok\r\n"), (True, b"RCPT TO:<c@d.test>\r\n"),
        (False, b"250 ok\r\n"), (True, b"DATA\r\n"), (False, b"354 go\r\n"), (True, CONTENT),
        (False, b"250 ok\r\n"), (True, b"QUIT\r\n"), (False, b"221 bye\r\n"),
    ]  # fmt: skip
    for number, (ours, data) in enumerate(talk):
        tape.note(1e9 + number, data, ours=ours)
        tape.settle()
    tape.end(1e9 + 99, "closed", ours=True)
    file = tmp_path / "x.pcapng"
    local, remote = Endpoint("192.0.2.1", 40123), Endpoint("192.0.2.2", 25)
    file.write_bytes(tape.file(local, remote, "MXSeal test", "test"))
    assert commands(file) == ["EHLO", "MAIL", "RCPT", "DATA", "QUIT"]
    assert SECRET not in file.read_bytes()
    assert capinfos(file)["Capture duration"].startswith("99.0")
    healthy(file)


def test_the_secrets_of_a_recording_without_content_open_nothing_else(pki: Pki) -> None:
    """Not even for who has the ciphertext of the wire: they are not the session's own."""
    whole = Recorded(pki.server(), pki.client())
    own: list[str] = []
    tell = whole.tape.secret

    def both(line: str) -> None:
        own.append(line)
        tell(line)

    whole.tape.secret = both  # type: ignore[method-assign]
    whole.handshake().message()
    whole.end()
    written = dict(line.split(" ", 1) for line in whole.tape.secrets())
    theirs = dict(line.split(" ", 1) for line in own)
    handshake = {"CLIENT_HANDSHAKE_TRAFFIC_SECRET", "SERVER_HANDSHAKE_TRAFFIC_SECRET"}
    assert set(written) == {*handshake, "CLIENT_TRAFFIC_SECRET_0", "SERVER_TRAFFIC_SECRET_0"}
    assert {label for label in written if written[label] == theirs[label]} == handshake


def test_a_recording_that_is_full_ends_and_says_so(pki: Pki, tmp_path: Path) -> None:
    recorded = Recorded(pki.server(), pki.client(), content=True, most=8000).handshake()
    recorded.message()
    recorded.end()
    assert recorded.tape.full
    file = recorded.write(tmp_path / "x.pcapng")
    assert file.stat().st_size < 16_000
    assert "The recording ends here" in fields(file, "frame.comment")[0][0]


def test_the_file_says_what_it_is_and_which_way_each_packet_went(pki: Pki, tmp_path: Path) -> None:
    recorded = Recorded(pki.server(), pki.client())
    recorded.clear("server", b"220 mx.test\r\n")
    file = recorded.write(tmp_path / "x.pcapng")
    assert capinfos(file)["Capture application"] == "MXSeal test"
    assert fields(file, "frame.comment") == [("A connection of a test.",)]
    ways = [row[0] for row in fields(file, "frame.packet_flags_direction")]
    assert [int(way, 0) for way in ways][3:] == [pcapng.OUTBOUND, pcapng.INBOUND]


def test_no_callback_stays_behind(pki: Pki) -> None:
    context = pki.server()
    recorded = Recorded(context, pki.client())
    recorded.handshake()
    assert keylog.listening() == 1
    other = Recorded(context, pki.client())
    other.tape.secure()
    other.client.start()
    other.pump()
    assert other.server.established
    assert other.tape.secrets() == []
    recorded.end()
    assert keylog.listening() == 0
    assert lib.SSL_CTX_get_keylog_callback(context._context) == ffi.NULL


def test_the_secrets_follow_a_context_that_was_chosen_by_name(pki: Pki, tmp_path: Path) -> None:
    named = SniCertificates(names=("mx.test",), certificates=(pki.rsa.files,))
    recorded = Recorded(pki.server(pki.other, sni=(named,)), pki.client()).handshake()
    recorded.message()
    recorded.end()
    assert keylog.listening() == 0
    assert commands(recorded.write(tmp_path / "x.pcapng")) == DIALOGUE
