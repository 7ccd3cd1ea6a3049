"""Recordings as an operator makes them: armed, mail from and to a real Postfix, read with tshark."""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import subprocess
import termios
from pathlib import Path

import pytest

from lab import Trouble
from lab import postfix as postfix_server
from lab.ca import Authority
from lab.client import Client, send
from lab.debs import unpacked
from lab.gateway import Gateway
from lab.place import free_port
from lab.postfix import Postfix
from lab.process import until
from lab.tshark import capinfos, fields, ready, tshark
from tests.e2e.estate import Starter, at, document, envelope, hop
from tests.e2e.test_workers import below, called

SECRET = "the combination is 31-8-24"
CONTENT = f"Subject: by Postfix\r\n\r\n{SECRET}\r\n" * 50


class Estate:
    """A gateway with two workers and a Postfix on either side of it."""

    def __init__(self, gateway: Gateway, postfix: Postfix, port: int, folder: Path) -> None:
        self.gateway = gateway
        self.postfix = postfix
        self.port = port
        self._folder = folder
        self._numbers = 0

    def get(self) -> Path:
        """Wait for the one recording, download it, delete it."""
        gateway = self.gateway
        until(lambda: bool(gateway.command("sessioncapture", "list")), gateway.output)
        (about,) = gateway.command("sessioncapture", "list")
        self._numbers += 1
        file = self._folder / f"{self._numbers}.pcapng"
        gateway.text("sessioncapture", "download", about["name"], str(file))
        gateway.text("sessioncapture", "delete", about["name"])
        return file


@pytest.fixture(scope="module")
def estate(lasting: Starter, authority: Authority, roots: Path, ground: Path) -> Estate:
    ready()
    port, issue = free_port(), authority.intermediate().issue
    settings = postfix_server.Settings(
        domains=["postfix.test"], certificate=issue("postfix.lab.test"), relay=at(port), relay_tls="encrypt"
    )
    postfix = lasting(lambda: Postfix(settings))
    text = document(
        port,
        smtp_routes={"postfix.test": [hop(postfix)]},
        recipient_access={"domains": ["example.test", "postfix.test"]},
        delivery={"ca_file": str(roots), "idle_time": 0.05},
        workers=2,
    )
    programs = ground / "programs"
    programs.mkdir()
    tree = unpacked("tcpdump")
    wrapper = programs / "tcpdump"
    wrapper.write_text(
        f'#!/bin/sh\nLD_LIBRARY_PATH={tree.libraries()} exec {tree.path("usr/bin/tcpdump")} "$@"\n'
    )
    wrapper.chmod(0o755)
    path = {"PATH": f"{programs}:{os.environ['PATH']}"}
    gateway = lasting(lambda: Gateway(text, environment=path))
    return Estate(gateway, postfix, port, ground)


def said(file: Path, port: int) -> list[str]:
    found = fields(file, "smtp.req.command", smtp_port=port)
    return [word for row in found for word in row[0].split(",")]


def test_a_delivery_to_postfix_is_read_without_its_content(estate: Estate) -> None:
    gateway, postfix = estate.gateway, estate.postfix
    gateway.text("sessioncapture", "arm", "--domain", "postfix.test", "--only", "delivery")
    send(at(estate.port), envelope("out", "b@postfix.test"))
    file = estate.get()
    assert said(file, postfix.port) == ["EHLO", "STAR", "EHLO", "MAIL", "RCPT", "DATA", "QUIT"]
    told = tshark(file, "-V", smtp_port=postfix.port)
    assert "Hello." not in told
    assert "octets left out" in told
    assert "Message-ID" not in told
    assert capinfos(file)["Strict time order"] == "True"
    assert file.stat().st_mode & 0o777 == 0o600


def test_mail_of_postfix_is_read_with_and_without_content(estate: Estate) -> None:
    gateway, postfix = estate.gateway, estate.postfix
    for content in (False, True):
        words = ["--with-content"] if content else []
        gateway.text("sessioncapture", "arm", "--domain", f"sender{content}.test".lower(), *words)
        sender = f"a@sender{content}.test"
        postfix.submit(sender, ["b@example.test"], CONTENT.encode())
        file = estate.get()
        told = tshark(file, "-V", smtp_port=estate.port)
        assert (SECRET in told) == content
        assert said(file, estate.port)[:2] == ["EHLO", "STAR"]


def test_new_keys_in_the_middle_of_a_session_are_followed(estate: Estate) -> None:
    gateway = estate.gateway
    gateway.text("sessioncapture", "arm", "--host", "127.0.0.1", "--only", "incoming")
    # Upper case R and Q would be commands for s_client itself, as K is: new keys.
    talk = [b"EHLO keys.test", b"K", b"MAIL FROM:<a@keys.test>", b"K", b"rset", b"quit"]
    with subprocess.Popen(
        ["openssl", "s_client", "-connect", f"127.0.0.1:{estate.port}", "-starttls", "smtp", "-crlf"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as client:
        assert client.stdin is not None
        waiting = client.stdin.fileno()
        for line in talk:
            client.stdin.write(line + b"\n")
            client.stdin.flush()
            until(lambda: not any(fcntl.ioctl(waiting, termios.FIONREAD, bytes(4))), gateway.output)
    file = estate.get()
    assert [word.upper() for word in said(file, estate.port)[-4:]] == ["EHLO", "MAIL", "RSET", "QUIT"]
    assert len(fields(file, "tls.handshake.type", of="tls.handshake.type==24")) >= 2


def test_exactly_so_many_are_recorded_by_all_workers_together(estate: Estate) -> None:
    gateway = estate.gateway
    gateway.text("sessioncapture", "arm", "--next-icid", "--count", "3")
    clients = [Client(at(estate.port)) for _ in range(8)]
    for client in clients:
        client.quit()
    until(lambda: len(gateway.command("sessioncapture", "list")) == 3, gateway.output)
    until(lambda: gateway.command("sessioncapture", "status") == [], gateway.output)
    assert len(gateway.command("sessioncapture", "list")) == 3


def test_a_worker_that_dies_leaves_nothing_behind_and_its_place_is_taken(estate: Estate) -> None:
    gateway = estate.gateway
    gateway.text("sessioncapture", "delete", "all")
    gateway.text("sessioncapture", "arm", "--next-icid")
    with socket.create_connection(at(estate.port)) as client:
        folder = gateway.home / "captures"
        until(lambda: bool(list(folder.glob(".claim-*"))), gateway.output)
        (claim,) = folder.glob(".claim-*")
        number = int(claim.read_text().removeprefix("worker"))
        victims = [pid for pid in below(gateway.pid) if called(pid) == f"mxseal-worker-{number}"]
        for pid in victims:
            os.kill(pid, signal.SIGKILL)
        assert victims
        assert client.recv(1000).startswith(b"220 ")
    until(lambda: not list(folder.glob(".claim-*")), gateway.output)
    gateway.wait_log(f"Worker {number}, PID")
    assert [each["recording"] for each in gateway.command("sessioncapture", "status")] == [0]
    until(lambda: _recorded(estate), gateway.output)
    assert gateway.command("sessioncapture", "status") == []


def _recorded(estate: Estate) -> bool:
    send(at(estate.port), envelope("again"))
    return len(estate.gateway.command("sessioncapture", "list")) == 1


def test_packets_of_the_system_are_captured_within_limits(estate: Estate, ground: Path) -> None:
    gateway = estate.gateway
    if os.geteuid():
        pytest.skip("only root may capture packets here")
    words = ["--ip", "127.0.0.1", "--ip", "192.0.2.0/24", "--port", str(estate.port), "--interface", "lo"]
    try:
        begun = gateway.command("packetcapture", "start", *words)
    except Trouble as trouble:
        if "lacks the right" in str(trouble):
            pytest.skip(str(trouble))
        raise
    assert begun["running"]
    with pytest.raises(Trouble, match="are being captured already"):
        gateway.command("packetcapture", "start")
    send(at(estate.port), envelope("packets"))
    until(lambda: gateway.command("packetcapture", "status")["bytes"] > 2000, gateway.output)
    stopped = gateway.command("packetcapture", "stop")
    assert not gateway.command("packetcapture", "status")["running"]
    (listed,) = gateway.command("packetcapture", "list")
    assert listed["name"] == stopped["name"]
    assert listed["wanted"].endswith(f"( net 127.0.0.1/32 or net 192.0.2.0/24 ) and ( port {estate.port} )")
    file = ground / "packets.pcap"
    gateway.text("packetcapture", "download", listed["name"], str(file))
    assert {"EHLO", "STAR"} <= {word.upper() for word in said(file, estate.port)}
    gateway.text("packetcapture", "delete", "all")
    assert gateway.command("packetcapture", "list") == []


def test_packets_can_not_be_captured_with_words_of_ones_own(estate: Estate) -> None:
    gateway = estate.gateway
    for words in (
        ["--ip", "1.2.3.4 or port 22"],
        ["--interface", "-w/tmp/x"],
        ["--port", "0"],
        ["--size", "65"],
    ):
        with pytest.raises(Trouble):
            gateway.command("packetcapture", "start", *words)
    assert not gateway.command("packetcapture", "status")["running"]


def test_a_restart_disarms(estate: Estate) -> None:
    gateway = estate.gateway
    gateway.text("sessioncapture", "arm", "--next-icid")
    gateway.stop()
    gateway.start()
    assert gateway.command("sessioncapture", "status") == []
    assert not [path for path in (gateway.home / "captures").iterdir() if path.name.startswith(".")]


def test_who_armed_and_downloaded_is_in_the_log(estate: Estate) -> None:
    log = estate.gateway.log("json_logs")
    assert '"words":["sessioncapture","arm","--next-icid"' in log
    assert '"words":["sessioncapture","download"' in log
