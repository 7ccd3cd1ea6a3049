"""What the demonstration sets up: an authority, a next hop, a gateway; all ends with the `with` block."""

from __future__ import annotations

import re
import tempfile
import tomllib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import tomli_w

from demo.letters import OWN_DOMAIN, PARTNER
from demo.screen import Screen
from lab import Trouble, Unavailable
from lab.ca import Authority, pem
from lab.gateway import Gateway
from lab.hostile import Hostile
from lab.mailbox import Message
from lab.place import LOOPBACK, folder_for
from lab.postfix import Postfix, Settings
from lab.sink import Sink

HOSTNAME = "mx.lab.test"
PROFILE = "mx"
COMMIT = "own certificate, first route, required TLS for a partner"


@dataclass(frozen=True, kw_only=True)
class NextHop:
    """The mail server behind the gateway, and what it is."""

    server: Postfix | Sink
    name: str

    def copies(self, subject: str, body: bytes) -> int:
        """Recipients that have got the message with exactly this body."""
        wanted = _plain(body)
        return sum(len(message.recipients) for message in self._about(subject) if _body(message) == wanted)

    def _about(self, subject: str) -> list[Message]:
        return [message for message in self.server.messages() if message.subject == subject]


def _plain(content: bytes) -> bytes:
    return content.replace(b"\r\n", b"\n")


def _body(message: Message) -> bytes:
    return _plain(message.content).partition(b"\n\n")[2]


@dataclass(frozen=True, kw_only=True)
class Stage:
    """Everything that runs."""

    gateway: Gateway
    port: int
    """On which the gateway takes mail."""
    web: str
    """Address of the web interface."""
    password: str
    """Of the user `admin`, as `mxseal init` printed it."""
    hop: NextHop
    backward: Hostile
    """A partner's server that knows no STARTTLS."""
    authority: Authority
    roots: Path
    """PEM file of the throw-away authority."""

    @property
    def address(self) -> tuple[str, int]:
        return LOOPBACK, self.port


@contextmanager
def built(screen: Screen, *, sink_only: bool) -> Iterator[Stage]:
    """The stage, ready for mail. Raises Unavailable and Trouble with a sentence."""
    with ExitStack() as stack:
        folder = stack.enter_context(folder_for("demo"))
        # Everything below it, the claims on ports too, so that nothing is left behind.
        stack.enter_context(_temporary(folder))
        root = Authority("MXSeal Demonstration Root")
        authority = root.intermediate("MXSeal Demonstration Intermediate")
        roots = folder / "root.pem"
        roots.write_bytes(root.pem)
        screen.say("A throw-away certificate authority, root and intermediate, was made in memory.")
        hop = _next_hop(stack, screen, authority, sink_only=sink_only)
        backward = stack.enter_context(Hostile("no-starttls", hostname=f"mail.{PARTNER}"))
        screen.say(
            f"A partner's server that does not offer STARTTLS listens on {LOOPBACK} port {backward.port}."
        )
        gateway = stack.enter_context(Gateway())
        screen.command(f"mxseal init --hostname {HOSTNAME}")
        screen.command("mxseal serve")
        document = tomllib.loads(gateway.text("showconfig"))
        port = int(document["listeners"][0]["port"])
        screen.say(f"The gateway runs in a home of its own and takes mail on {LOOPBACK} port {port}.")
        stage = Stage(
            gateway=gateway,
            port=port,
            web=f"https://{LOOPBACK}:{document['interfaces'][0]['https_port']}/",
            password=_password(gateway.first_words),
            hop=hop,
            backward=backward,
            authority=authority,
            roots=roots,
        )
        screen.heading("Configure it, with its own commands")
        _certificate(screen, stage, folder)
        _document(screen, stage, folder)
        yield stage


def _password(words: str) -> str:
    found = re.search(r"Password: +(\S+)", words)
    if found is None:
        raise Trouble("mxseal init printed no password")
    return found[1]


@contextmanager
def _temporary(folder: Path) -> Iterator[None]:
    """`folder` as the one in which temporary files are made."""
    before, tempfile.tempdir = tempfile.tempdir, str(folder)
    try:
        yield
    finally:
        tempfile.tempdir = before


def _next_hop(stack: ExitStack, screen: Screen, authority: Authority, *, sink_only: bool) -> NextHop:
    """Postfix if it can be had, else the stand-in; it says which."""
    reason = "as asked for with --sink"
    if not sink_only:
        try:
            settings = Settings(
                domains=(OWN_DOMAIN,), certificate=authority.issue("postfix.lab.test", LOOPBACK)
            )
            server: Postfix | Sink = stack.enter_context(Postfix(settings))
        except Unavailable as missing:
            reason = f"as no Postfix can be had here ({str(missing).rstrip('.')})"
        else:
            name = f"Postfix {server.tree.version}" if isinstance(server, Postfix) else ""
            screen.good(f"Next hop: {name}, a real mail server, on {LOOPBACK} port {server.port}.")
            return NextHop(server=server, name=name)
    server = stack.enter_context(Sink(certificate=authority.issue("sink.lab.test", LOOPBACK)))
    screen.good(f"Next hop: the built-in stand-in on {LOOPBACK} port {server.port}, {reason}.")
    return NextHop(server=server, name="the built-in stand-in")


def _certificate(screen: Screen, stage: Stage, folder: Path) -> None:
    """Key and request in the gateway, the signature by the authority, the answer back into the gateway."""
    _run(
        screen,
        stage,
        *("certconfig", "new", PROFILE, "--common-name", HOSTNAME, "--name", LOOPBACK),
        *("--key", "ecdsa-p256"),
        quiet=True,
    )
    request = _run(screen, stage, "certconfig", "csr", PROFILE, quiet=True)
    signed = folder / "signed.pem"
    certificate = stage.authority.sign_request(request.encode())
    answer = [certificate, *stage.authority.path]
    signed.write_bytes(b"".join(map(pem, answer)))
    screen.say("The authority signs the request; its answer is the certificate and an intermediate.")
    _run(screen, stage, "certconfig", "replace", PROFILE, str(signed))
    _run(screen, stage, "certconfig", "assign", PROFILE, "listener:IncomingMail")
    _run(screen, stage, "interfaceconfig", "certificate", "Management", PROFILE)


def _document(screen: Screen, stage: Stage, folder: Path) -> None:
    """The rest of the configuration as a document, as an operator would write it."""
    document = tomllib.loads(stage.gateway.text("showconfig", "--candidate"))
    document["recipient_access"] = {"domains": [OWN_DOMAIN, PARTNER]}
    document["smtp_routes"] = {
        OWN_DOMAIN: [f"{LOOPBACK}:{stage.hop.server.port}"],
        PARTNER: [f"{LOOPBACK}:{stage.backward.port}"],
    }
    document["destinations"] = [
        {"domain": "default", "tls": "preferred"},
        {"domain": OWN_DOMAIN, "tls": "required"},
        {"domain": PARTNER, "tls": "required"},
    ]
    document["delivery"] = {"ca_file": str(stage.roots), "idle_time": 1.0}
    path = folder / "mxseal.toml"
    path.write_text(tomli_w.dumps(document, multiline_strings=True))
    _run(screen, stage, "loadconfig", str(path), "--discard", quiet=True)
    screen.say(f"It accepts mail for {OWN_DOMAIN} and {PARTNER}, and requires TLS to both next hops.")
    _run(screen, stage, "commit", COMMIT)


def _run(screen: Screen, stage: Stage, *words: str, quiet: bool = False) -> str:
    screen.command("mxseal " + " ".join(f'"{word}"' if " " in word else word for word in words))
    text = stage.gateway.text(*words)
    if not quiet:
        for line in text.strip().splitlines():
            screen.say(line)
    return text
