"""Dialogues as a postmaster has them: at `ssh`, in `mxseal shell`, and with `mxseal` on a terminal."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from cryptography import x509

from lab.ca import Authority, Issued, pem
from lab.client import s_client, send
from lab.gateway import Gateway
from lab.place import free_ports
from mxseal.commands import catalogue
from mxseal.commands.registry import Registry
from tests.e2e.estate import at, document, envelope
from tests.e2e.remote import PROMPT, Remote
from tests.faces.terminal import PATIENCE, Terminal, run, terminal

MENU = "Choose the operation you want to perform:"


def groups(commands: Registry) -> list[str]:
    """The words of all groups and laid-out menus."""
    found = {layout.path for layout in commands.layouts() if not layout.subject}
    for entry in commands.commands:
        found |= {" ".join(entry.words[:length]) for length in range(1, len(entry.words))}
    return sorted(found)


@pytest.fixture(scope="module")
def remote(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Remote]:
    port, ssh, other = free_ports(3)
    with ExitStack() as stack:
        gateway = stack.enter_context(Gateway(document(port, ssh={"address": "127.0.0.1", "port": ssh})))
        yield Remote(gateway, (port, ssh, other), tmp_path_factory.mktemp("remote"))


def issued(authority: Authority, name: str) -> tuple[Issued, list[str]]:
    """A certificate of an intermediate authority, and its chain as PEM."""
    made = authority.intermediate().issue(name)
    return made, [pem(link).decode() for link in made.chain]


def test_every_configuration_command_opens_its_menu_and_an_empty_line_leaves_it(remote: Remote) -> None:
    with remote.terminal() as screen:
        screen.expect(PROMPT)
        for words in groups(catalogue.registry()):
            screen.type(f"{words}\n")
            screen.expect(MENU)
            screen.expect("\n[]> ")
            screen.type("\n")
            screen.expect(PROMPT)
        screen.type("exit\n")
        assert screen.status() == 0


def walk(screen: Terminal, *steps: tuple[str, str]) -> None:
    """What is typed, and what comes then; step by step."""
    for typed, comes in steps:
        screen.type(f"{typed}\n")
        screen.expect(comes)


MAKE = (
    ("certconfig", "[]> "),
    ("certificate", "[]> "),
    ("new", "Enter a name for this certificate profile:\r\n[]> "),
    ("selfmade", "Enter Common Name:\r\n[]> "),
    ("mx.lab.test", "Further host names, if any:\r\n[]> "),
    ("", "Enter Organization:\r\n[]> "),
    ("Widgets", "Enter Organizational Unit:\r\n[]> "),
    ("", "Enter Locality or City:\r\n[]> "),
    ("", "Enter State or Province:\r\n[]> "),
    ("", "Enter Country (2 letter code):\r\n[]> "),
    ("NL", "Duration before expiration (in days):\r\n[3650]> "),
    ("365", "Kind of private key:\r\n"),
    ("ecdsa-p256", "Do you want to view the CSR?\r\n[Y]> "),
    ("", "-----BEGIN CERTIFICATE REQUEST-----"),
)
ASSIGN = (
    ("listenerconfig", "[]> "),
    ("EDIT", "1. IncomingMail\r\n[]> "),
    ("1", "- HOSTACCESS - "),
    ("cert", "Choose the certificate to apply:\r\n1. Demo\r\n2. selfmade\r\n3. mx2026\r\n[1]> "),
    ("3", "Listener IncomingMail uses mx2026"),
)


def test_a_certificate_is_made_pasted_assigned_and_served_with_nothing_but_questions(
    remote: Remote, authority: Authority
) -> None:
    made, chain = issued(authority, "mx.lab.test")
    with remote.terminal() as screen:
        screen.expect(PROMPT)
        walk(screen, *MAKE)
        assert "selfmade" in screen.expect("- EDIT - ")
        screen.expect("[]> ")
        walk(
            screen,
            ("paste", "[]> "),
            ("mx2026", "Paste the certificate"),
            (f"{chain[0]}.", "Subject: CN=mx.lab.test"),
            (f"{made.key_pem.decode()}.", "Do you want to add an intermediate certificate?\r\n[N]> "),
            ("y", "Paste intermediate"),
            (f"{chain[1]}.", "[N]> "),
            ("", "mx2026 was imported (ECDSA P-256, 1 intermediate)"),
        )
        screen.expect("[]> ")
        walk(screen, ("", "[]> "), ("", PROMPT), *ASSIGN)
        screen.expect("- HOSTACCESS - ")
        screen.expect("[]> ")
        walk(
            screen,
            ("", "[]> "),
            ("", PROMPT),
            ("commit", "[]> "),
            ("a certificate of our own", "Listener IncomingMail serves the certificate mx2026"),
        )
    seen = s_client(at(remote.smtp))
    assert x509.load_pem_x509_certificate(seen.chain[0]) == made.certificate
    assert len(seen.chain) == 2


def test_ctrl_c_leaves_all_menus_at_once_and_nothing_is_half_done(remote: Remote) -> None:
    before = remote.gateway.text("showchanges")
    with remote.terminal() as screen:
        screen.expect(PROMPT)
        screen.type("certconfig\n")
        screen.expect("[]> ")
        screen.type("certificate\n")
        screen.expect("[]> ")
        screen.type("new\n")
        screen.expect("profile:\r\n[]> ")
        screen.type("half\n")
        screen.expect("Name:\r\n[]> ")
        screen.type("mx.half.example\x03")
        screen.expect(f"^C\r\n{PROMPT}")
        screen.type("certconfig list\n")
        assert "half" not in screen.expect(PROMPT)
    assert remote.gateway.text("showchanges") == before


def test_ctrl_d_ends_the_dialogue_too(remote: Remote) -> None:
    with remote.terminal() as screen:
        screen.expect(PROMPT)
        screen.type("destconfig\n")
        screen.expect("[]> ")
        screen.type("\x04")
        screen.expect(PROMPT)


def test_one_command_with_a_terminal_has_its_dialogue_and_its_status(remote: Remote) -> None:
    with remote.terminal("destconfig new") as screen:
        screen.expect("Enter the domain you wish to configure.\r\n[]> ")
        screen.type("over.example\n")
        screen.expect("Do you want to use TLS support?")
        screen.type("3\n\n\n\n\n\n")
        screen.expect("over.example was added")
        assert screen.status() == 0


def test_who_is_deleted_meanwhile_does_nothing_more_in_an_open_dialogue(remote: Remote) -> None:
    remote.user("leaver", "operator")
    with remote.terminal(user="leaver") as screen:
        screen.expect(PROMPT)
        walk(screen, ("destconfig", "[]> "), ("new", "[]> "), ("leaver.example", "[default]> "))
        remote.gateway.text("userconfig", "delete", "leaver", "--yes")
        screen.type("\n" * 6)
        screen.expect("This user is no longer there")
        screen.process.wait(PATIENCE)
    assert "refused" in remote.gateway.text("grep", "destconfig new leaver.example", "audit_logs")


def test_without_a_terminal_nothing_is_asked(remote: Remote) -> None:
    done = remote.run("certconfig")
    assert (done.returncode, done.stdout) == (2, "")
    assert "'certconfig' needs one more word: " in done.stderr
    assert "Missing: DOMAIN" in remote.run("destconfig new").stderr
    script = remote.run(stdin="destconfig\nversion\n")
    assert "needs one more word" in script.stderr
    assert "Version:" in script.stdout


def test_json_never_asks_also_on_a_terminal(remote: Remote) -> None:
    with remote.terminal("destconfig new --json") as screen:
        assert "Missing: DOMAIN" in json.loads(screen.expect("\n"))["error"]
        assert screen.status() == 2
    with terminal(remote.gateway.home, "--json", "destconfig", "new") as screen:
        assert "Missing: DOMAIN" in json.loads(screen.expect("\n"))["error"]
        assert screen.status() == 2
    with terminal(remote.gateway.home, "shell") as screen:
        screen.expect(PROMPT)
        screen.type("destconfig --json\n")
        assert "needs one more word" in screen.expect(PROMPT)


@pytest.mark.parametrize("words", [("certconfig",), ("shell",)])
def test_the_local_shell_and_a_terminal_have_the_same_dialogue(
    remote: Remote, words: tuple[str, ...]
) -> None:
    with terminal(remote.gateway.home, *words) as screen:
        if words == ("shell",):
            screen.expect(PROMPT)
            screen.type("certconfig\n")
        screen.expect("- CERTIFICATE - ")
        screen.expect("[]> ")
        screen.type("crl\n")
        screen.expect("There is no source.")
        screen.expect("[]> ")
        screen.type("?\n")
        screen.expect("Lists of revoked certificates.")
        screen.expect("[]> ")
        screen.type("setup\n")
        screen.expect("[N]> ")
        screen.interrupt(PROMPT) if words == ("shell",) else screen.type("\x03")
        if words != ("shell",):
            assert screen.status() == 130


def test_files_are_read_and_written_by_a_dialogue_on_the_machine(remote: Remote, tmp_path: Path) -> None:
    folder = tmp_path / "export"
    folder.mkdir()
    run(remote.gateway.home, "certconfig", "new", "tobewritten", "--common-name", "mx.lab.test")
    with terminal(remote.gateway.home, "certconfig", "certificate") as screen:
        screen.expect("[]> ")
        screen.type("exp\n")
        screen.expect("[]> ")
        screen.type("tobewritten\n")
        screen.expect("File name:")
        screen.type(f"{folder}/mine.p12\n")
        for _ in range(2):
            screen.expect(": ")
            screen.type("a good passphrase\n")
        screen.expect("was exported to")
        screen.expect("[]> ")
        screen.type("import\n")
        screen.expect("File names:")
        screen.type(f"{folder}/mine.p12\n")
        screen.expect("(empty: there is none):")
        screen.type("a good passphrase\n")
        screen.expect("profile:")
        screen.type("readback\n")
        screen.expect("readback was imported")
        screen.expect("[]> ")
        screen.type("\n")
        assert screen.status() == 0


def test_the_sessions_of_the_document_run_as_typed_and_grep_alone_asks_for_all_of_it(remote: Remote) -> None:
    send(at(remote.smtp), envelope("over-ssh"))
    remote.gateway.wait_log("TLS success protocol")
    with remote.terminal() as screen:
        screen.expect(PROMPT)
        screen.type('grep "ICID.*TLS success" mail_logs\n')
        assert re.search(r"Info: ICID \d+ TLS success protocol TLSv1\.3", screen.expect(PROMPT))
        for question in ("ICID.*TLS failed", "DCID.*TLS success", "DCID.*TLS failed"):
            screen.type(f'grep "{question}" mail_logs\n')
            screen.expect(PROMPT)
        screen.type("grep\n")
        number = re.search(r"(\d+)\. mail_logs", screen.expect("[]> "))
        assert number is not None
        screen.type("99\n")
        screen.expect("There is no log number 99")
        screen.expect("[]> ")
        for typed, comes in (
            (number[1], "Enter the regular expression to grep.\r\n[]> "),
            ("icid.*tls SUCCESS", "Do you want this search to be case insensitive?\r\n[Y]> "),
            ("", "Do you want to search for non-matching lines?\r\n[N]> "),
            ("", "Do you want to tail the logs?\r\n[N]> "),
            ("", "Do you want to paginate the output?\r\n[N]> "),
            ("", "TLS success protocol TLSv1.3"),
        ):
            screen.type(f"{typed}\n")
            screen.expect(comes)
        screen.expect(PROMPT)
        screen.type("tail\n")
        screen.expect("Enter the number of the log you wish to tail.\r\n[]> ")
        screen.type("mail_logs\n")
        screen.expect("Press Ctrl-C to stop.")
        screen.expect("Info: ")
        screen.type("\x03")
        screen.expect(f"^C\r\n{PROMPT}")


def test_what_a_dialogue_did_is_in_the_audit_log_with_its_answers(remote: Remote) -> None:
    with remote.terminal("userconfig new") as screen:
        screen.expect("username:\r\n[]> ")
        screen.type("otto\n")
        screen.expect("Assign a role:")
        screen.type("oper\n")
        for _ in range(2):
            screen.expect(": ")
            screen.type("hunter2 hunter3 hunter4\n")
        screen.expect("Enter the full name:\r\n[]> ")
        screen.type("Otto Normal\n")
        screen.expect("User otto was created")
        assert screen.status() == 0
    lines = remote.gateway.text("grep", "userconfig new otto", "audit_logs")
    assert "operator" in lines
    assert "Otto Normal" in lines
    assert "127.0.0.1" in lines
    assert "hunter2" not in lines
