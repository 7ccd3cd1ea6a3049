"""grep, tail and the shell as an operator has them: on a pipe, on a terminal, ended by Ctrl-C or `head`."""

from __future__ import annotations

import re
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from lab.ca import Authority
from lab.client import Client, send
from lab.gateway import Gateway
from lab.place import free_port
from lab.process import PATIENCE, Child, Program, until
from lab.sink import Sink
from tests.e2e.estate import Starter, at, delivered, document, envelope, hop, mid_of
from tests.faces.terminal import command, environment, run, terminal

PROMPT = "mx.lab.test> "


class Site:
    """A gateway whose log tells of some messages."""

    def __init__(self, gateway: Gateway, port: int) -> None:
        self.gateway, self.home, self.address = gateway, gateway.home, at(port)

    def child(self, output: Path, *words: str) -> Child:
        """`mxseal` beside the test, writing into a file."""
        return Child(
            Program(name="mxseal", words=command(*words), output=output, environment=environment(self.home))
        )

    def begins_a_file_after(self, subject: str) -> Callable[[], bool]:
        """Looks whether a file was ended and another begun behind a message."""

        def look() -> bool:
            told = self.gateway.log().partition(f'Subject "{subject}"')[2]
            return re.search("Info: End Logfile\n.* Info: Begin Logfile\n", told) is not None

        return look

    def still_works(self) -> None:
        assert self.gateway.command("version")["hostname"] == "mx.lab.test"


@pytest.fixture(scope="module")
def site(lasting: Starter, authority: Authority) -> Site:
    port = free_port()
    sink = lasting(lambda: Sink(certificate=authority.issue("sink.lab.test")))
    logs = {"rotate_bytes": 4096, "keep_files": 1000}
    text = document(port, smtp_routes={"example.test": [hop(sink)]}, logs=logs)
    gateway = lasting(lambda: Gateway(text))
    site = Site(gateway, port)
    for subject in ("Alpha", "beta", "gamma"):
        send(site.address, envelope(subject))
        delivered(gateway, subject)
    return site


def test_grep_ignores_case_on_request(site: Site) -> None:
    assert run(site.home, "grep", 'Subject "alpha"', "mail_logs").stdout == b""
    found = site.gateway.text("grep", "-i", 'subject "ALPHA"', "mail_logs").splitlines()
    assert len(found) == 1
    assert found[0].endswith('Subject "Alpha"')


def test_grep_shows_the_lines_that_do_not_match_on_request(site: Site) -> None:
    lines = site.gateway.log().splitlines()
    found = site.gateway.text("grep", "-v", "ICID|DCID", "mail_logs").splitlines()
    assert found == [line for line in lines if not re.search("ICID|DCID", line)]


def test_grep_shows_the_lines_around_a_match_on_request(site: Site) -> None:
    lines = site.gateway.log().splitlines()
    (place,) = (number for number, line in enumerate(lines) if 'Subject "beta"' in line)
    found = site.gateway.text("grep", "-C", "2", 'Subject "beta"', "mail_logs").splitlines()
    assert found == lines[place - 2 : place + 3]


def test_grep_refuses_what_it_does_not_know_with_a_sentence(site: Site) -> None:
    for words in (("grep", "x", "no_logs"), ("grep", "(", "mail_logs"), ("grep", r"(a)\1", "mail_logs")):
        refused = run(site.home, *words)
        assert refused.returncode == 2
        assert refused.stderr.strip()
    assert b"no_logs" in run(site.home, "tail", "no_logs").stderr


def test_no_expression_can_hang_the_gateway(site: Site) -> None:
    hard = run(site.home, "grep", "(I+)+(n+)+(f+)+(.*)*(.+)+$Z", "mail_logs")
    assert hard.returncode in (0, 1, 2)
    site.still_works()


def test_tail_follows_and_ends_at_an_interrupt_while_the_gateway_goes_on(site: Site, place: Path) -> None:
    child = site.child(place / "tail", "tail", "-n", "1", "mail_logs")
    until(lambda: (place / "tail").read_text().count("\n") >= 1, child.tail)
    send(site.address, envelope("followed"))
    until(lambda: 'Subject "followed"' in (place / "tail").read_text(), child.tail)
    child.signal(signal.SIGINT)
    assert child.wait() == 130
    seen = (place / "tail").read_text()
    assert "Traceback" not in seen
    assert seen.splitlines()[-1] in site.gateway.log().splitlines()
    site.still_works()


def test_tail_on_a_terminal_goes_on_with_the_next_file_and_ends_at_ctrl_c(site: Site) -> None:
    with terminal(site.home, "tail", "mail_logs") as screen:
        screen.expect("Info: ")
        for number in range(3):
            send(site.address, envelope(f"turn-{number}"))
        until(site.begins_a_file_after("turn-0"), site.gateway.log)
        for number in range(3, 6):
            send(site.address, envelope(f"turn-{number}"))
        for number in range(6):
            seen = screen.expect(f'Subject "turn-{number}"')
            assert not re.search(rf"turn-{number + 1}", seen)
        screen.type("\x03")
        assert screen.status() == 130
    site.still_works()


def test_a_reader_that_closes_early_ends_the_command_alone(site: Site) -> None:
    with Client(site.address) as client:  # more than a pipe holds
        client.secure()
        for number in range(80):
            message = envelope(f"many-{number}")
            client.sendmail("a@sender.test", "b@example.test", message.content)
    mid_of(site.gateway, "many-79")
    words = command("grep", ".", "json_logs")
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(site.home)
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline().startswith(b"{")
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(PATIENCE) == 141
    site.still_works()


def test_the_shell_runs_commands_on_a_terminal(site: Site) -> None:
    with terminal(site.home, "shell") as screen:
        screen.expect(PROMPT)
        screen.type("status\n")
        assert "Configuration revision:" in screen.expect(PROMPT)
        screen.type('grep "Subject .Alpha" mail_logs\n')
        screen.expect('Subject "Alpha"')
        screen.expect(PROMPT)
        screen.type("certconfig show De\t")
        screen.expect("certconfig show Demo ")
        screen.type("\n")
        assert "MXSeal demonstration certificate" in screen.expect(PROMPT)
        screen.type("tail -n 1 mail_logs\n")
        screen.expect("Info: ")
        screen.interrupt(PROMPT)
        screen.type("exit\n")
        assert screen.status() == 130  # the last command's
    site.still_works()
