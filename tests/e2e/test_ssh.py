"""An administrator with nothing but `ssh`: the gateway's own process, OpenSSH's client."""

from __future__ import annotations

import smtplib
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from lab.ca import Authority
from lab.client import send
from lab.gateway import Gateway
from lab.place import free_ports
from lab.process import until
from lab.sink import Sink
from lab.slapd import BASE
from tests.directory.estate import directory
from tests.e2e.estate import at, document, envelope, hop
from tests.e2e.remote import Remote


@pytest.fixture
def remote(tmp_path: Path) -> Iterator[Remote]:
    port, ssh, other = free_ports(3)
    with ExitStack() as stack:
        sink = stack.enter_context(Sink(certificate=Authority().issue("sink.lab.test")))
        text = document(port, smtp_routes={"all": [hop(sink)]}, ssh={"address": "127.0.0.1", "port": ssh})
        gateway = stack.enter_context(Gateway(text))
        yield Remote(gateway, (port, ssh, other), tmp_path)


def test_what_the_log_tells_is_found_with_nothing_but_ssh(remote: Remote) -> None:
    send(at(remote.smtp), envelope("over-ssh"))
    remote.gateway.wait_log("Message finished MID 1 done")
    for expression, wanted in (
        ("ICID.*TLS success", "TLS success protocol TLSv1.3"),
        ("DCID.*TLS success", "DCID"),
    ):
        seen = remote.run(f'grep "{expression}" mail_logs')
        assert (seen.returncode, wanted in seen.stdout) == (0, True), seen
    none = remote.run('grep "ICID.*TLS failed" mail_logs')
    assert (none.returncode, none.stdout, none.stderr) == (1, "", "")
    assert "Version:" in remote.run("version").stdout


def test_a_commit_moves_the_port_and_the_host_key_stays_also_over_a_restart(remote: Remote) -> None:
    assert remote.run("version").returncode == 0
    before, remote.port = remote.port, remote.other
    remote.gateway.text("sshconfig", "setup", "127.0.0.1", "--port", str(remote.port))
    remote.gateway.text("commit", "SSH moves")
    assert remote.run("version", known=False).returncode == 0
    assert remote.run("version", known=True).returncode == 0
    remote.gateway.text("restart")
    until(lambda: remote.run("version", known=True).returncode == 0, remote.gateway.output)
    remote.port = before
    assert remote.run("version").returncode == 255


def test_a_directory_is_set_up_and_its_log_watched_with_nothing_but_ssh(remote: Remote) -> None:
    with directory(Authority().issue("127.0.0.1")) as slapd:
        server = f"127.0.0.1:{slapd.tls_port}"
        for line in (
            f"ldapconfig new LDAP {server} --type active-directory --base {BASE} --verify off --queries",
            "listenerconfig ldapaccept IncomingMail LDAP.ldapaccept",
            "logconfig new ldap_debug ldap",
            "commit 'recipients must exist'",
        ):
            done = remote.run(line)
            assert done.returncode == 0, done
        with remote.terminal() as screen:
            screen.expect("> ")
            screen.type("tail ldap_debug\n")
            with pytest.raises(smtplib.SMTPRecipientsRefused, match=r"#5\.1\.0 Address rejected"):
                send(at(remote.smtp), envelope("nobody", "nobody@example.test"))
            asked = screen.expect("lookup success")
            assert "Debug: LDAP: (accept) Query (" in asked
            assert f"to server LDAP ({server})" in asked
            screen.expect(f"({server}) returned 0 results")
            screen.interrupt("> ")
            screen.type("whoami\n")
            screen.expect("admin")
