"""The process itself: the home's lock and modes, signals, what it tells systemd, and what it never writes."""

from __future__ import annotations

import base64
import os
import signal
import socket
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from lab.ca import Authority, PrivateKey
from lab.client import Client, send
from lab.gateway import Gateway
from lab.place import free_port
from lab.process import Child, Program, answers, until
from lab.sink import Sink
from tests.e2e.estate import HOSTNAME, at, delivered, document, envelope, events, hop, put_to_use
from tests.faces.terminal import command, environment, run

StartGateway = Callable[..., Gateway]


@pytest.fixture
def port() -> int:
    return free_port()


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# --- the home -----------------------------------------------------------------------------------------------


def test_a_second_process_on_the_same_home_is_refused_with_a_sentence(
    gateway: StartGateway, port: int
) -> None:
    running = gateway(document(port))
    second = run(running.home, "serve")
    assert second.returncode == 75
    said = second.stderr.decode()
    held = f"The home {running.home} is in use by process {running.pid}"
    assert said == f"{held}: stop it, or choose another with --home.\n"
    assert answers(port)
    assert running.command("version")["hostname"] == HOSTNAME
    again = run(running.home, "init")
    assert again.returncode == 73
    assert b"There is a home in" in again.stderr


def test_only_the_owner_can_reach_the_home_its_key_and_its_socket(gateway: StartGateway, port: int) -> None:
    running = gateway(document(port))
    send(at(port), envelope("modes"))
    home = running.home
    assert mode(home) == 0o700
    assert mode(home / "seal.key") == 0o600
    assert mode(home / "run" / "mxseal.sock") == 0o600
    entries = list(home.rglob("*"))
    assert {mode(entry) for entry in entries if entry.is_dir()} == {0o700}
    assert {mode(entry) for entry in home.glob("logs/*/*")} == {0o600}


def secrets_of(key: PrivateKey) -> list[bytes]:
    """All forms in which a private key could be lying about in clear."""
    numbers = key.private_numbers()
    values = [numbers.d, numbers.p, numbers.q] if isinstance(numbers, rsa.RSAPrivateNumbers) else []
    if isinstance(numbers, ec.EllipticCurvePrivateNumbers):
        values = [numbers.private_value]
    found = [value.to_bytes((value.bit_length() + 7) // 8) for value in values]
    for shape in (PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL):
        der = key.private_bytes(Encoding.DER, shape, NoEncryption())
        text = base64.b64encode(der)
        found += [der, text, *(text[start : start + 64] for start in range(0, len(text) - 63, 64))]
    return [*found, *(value.hex().encode() for value in found[: len(values)])]


def test_no_private_key_and_no_password_stands_anywhere_in_clear(
    gateway: StartGateway, port: int, authority: Authority, place: Path
) -> None:
    running = gateway(document(port))
    issued = [authority.issue(HOSTNAME, kind="rsa2048"), authority.issue("second.lab.test")]
    put_to_use(running, "Rsa", issued[0], place)
    put_to_use(running, "Ecdsa", issued[1], place, "--second")
    running.text("certconfig", "export", "Rsa", str(place / "out.p12"), "--passphrase", "pass:open-sesame-7")
    wrong = ("certconfig", "import", "Again", str(place / "out.p12"), "--passphrase", "pass:wrong-sesame-7")
    assert run(running.home, *wrong).returncode == 1
    password = running.first_words.partition("Password:")[2].split()[0]
    assert len(password) == 20
    running.wait_log("certconfig", name="json_logs")
    shown = [
        running.text(*words)
        for words in (("showconfig",), ("rollbackconfig",), ("certconfig", "show", "Rsa"))
    ]
    running.kill9()  # what only a clean end would tidy away counts too

    files = {str(path): path.read_bytes() for path in running.home.rglob("*") if path.is_file()}
    places = files | {"commands": "".join(shown).encode(), "output": running.output().encode()}
    assert any(b"pass:***" in content for content in files.values())
    forbidden = [b"PRIVATE KEY", b"sesame-7", password.encode()]
    forbidden += [secret for each in issued for secret in secrets_of(each.key)]
    for name, content in places.items():
        assert not [secret[:12] for secret in forbidden if secret in content], name


# --- signals ------------------------------------------------------------------------------------------------


@pytest.fixture
def next_hop(authority: Authority) -> Iterator[Sink]:
    with Sink(certificate=authority.issue("sink.lab.test")) as sink:
        yield sink


def test_a_message_that_is_on_its_way_in_is_finished_before_the_end(
    gateway: StartGateway, port: int, next_hop: Sink
) -> None:
    running = gateway(document(port, smtp_routes={"example.test": [hop(next_hop)]}))
    with Client(at(port)) as busy, Client(at(port)) as idle:
        busy.secure()
        idle.secure()
        busy.mail("a@sender.test")
        busy.rcpt("b@example.test")
        assert busy.docmd("DATA")[0] == 354
        busy.send(b"Subject: in flight\r\n\r\nFirst half.\r\n")
        os.kill(running.pid, signal.SIGTERM)
        assert idle.getreply() == (421, b"#4.3.2 Shutting down, try again later")
        until(lambda: not answers(port), running.output)
        busy.send(b"Second half.\r\n.\r\n")
        assert busy.getreply()[0] == 250
        idle.close()
        busy.close()
    assert running.stop() == 0
    assert "Traceback" not in running.output()
    running.start()
    delivered(running, "in flight")
    (message,) = next_hop.messages()
    assert message.content.endswith(b"First half.\r\nSecond half.\r\n")


def test_a_hang_up_keeps_connections_and_reads_trust_and_logs_anew(
    gateway: StartGateway, port: int, next_hop: Sink, authority: Authority, place: Path
) -> None:
    trust = place / "trust.pem"
    trust.write_bytes(Authority("Somebody Else").pem)
    routes = {"example.test": [hop(next_hop)]}
    running = gateway(document(port, smtp_routes=routes, delivery={"ca_file": str(trust)}))
    with Client(at(port)) as client:
        client.secure()
        client.sendmail("a@sender.test", "b@example.test", envelope("before").content)
        delivered(running, "before")
        client.mail("a@sender.test")
        trust.write_bytes(authority.pem)
        (log,) = running.home.glob("logs/mail_logs/*.current")
        log.rename(place / "moved")
        running.hang_up()
        until(lambda: any(running.home.glob("logs/mail_logs/*.current")), running.output)
        assert client.rcpt("b@example.test")[0] == 250
        assert client.data(envelope("after").content)[0] == 250
    delivered(running, "after")
    facts = [event["facts"] for event in events(running, "OutboundTlsSucceeded")]
    assert [fact["verified"] for fact in facts] == [False, True]


@pytest.mark.parametrize("abstract", [False, True])
def test_systemd_is_told_of_the_start_and_the_end(place: Path, port: int, abstract: bool) -> None:
    home = place / "home"
    first = ("init", "--home", str(home), "--hostname", HOSTNAME, "--smtp-port", str(port))
    assert run(place, *first).returncode == 0
    name = f"@mxseal-{port}" if abstract else str(place / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(name.replace("@", "\0", 1) if abstract else name)
        listening.settimeout(30)
        variables = environment(home) | {"NOTIFY_SOCKET": name}
        program = Program(
            name="mxseal", words=command("serve"), output=place / "output", environment=variables
        )
        child = Child(program)
        try:
            assert listening.recv(4096) == b"READY=1"
            assert answers(port)
            assert run(home, "version").returncode == 0
            child.signal(signal.SIGTERM)
            assert listening.recv(4096) == b"STOPPING=1"
            assert child.wait() == 0
        finally:
            child.kill()
    assert not (home / "run" / "mxseal.sock").exists()
    assert "Traceback" not in (place / "output").read_text()
    assert run(home, "version").returncode == 69


def test_a_home_of_an_unknown_place_is_refused_with_a_sentence(place: Path) -> None:
    nowhere = place / "nowhere"
    refused = run(place, "serve", "--home", str(nowhere))
    assert (refused.returncode, refused.stderr.decode()) == (
        78,
        f"There is no home in {nowhere}: make one with 'mxseal init --home {nowhere}'.\n",
    )
