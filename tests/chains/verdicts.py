"""Three verdicts on a chain: ours as a delivery finds it, that of the openssl command, and Postfix's."""

from __future__ import annotations

import re
import selectors
import socket
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

import idna
import msgspec
from OpenSSL import SSL

from lab.place import LOOPBACK
from lab.postfix import Postfix, Settings
from mxseal.certs.keys import KeyStore
from mxseal.certs.live import build
from mxseal.certs.sent import read_sent
from mxseal.clock import SystemClock
from mxseal.config.model import Document
from mxseal.relay.opening import Way
from mxseal.relay.resolver import Host
from mxseal.relay.routing import Target
from mxseal.relay.verification import Verifier
from mxseal.tls.engine import Engine
from mxseal.tls.unverified import diagnose_verification
from mxseal.tls.verification import Verification, plain
from tests.certs.authority import MemorySecrets
from tests.chains.making import Made, key_pem, pem
from tests.relay.delivering import Names

Word = Literal["verified", "trusted", "untrusted", "none"]
"""verified: chain and name are good; trusted: the chain is; untrusted: neither; none: no handshake."""
_NO_AUTO_CHAIN = 0x8
"""SSL_MODE_NO_AUTO_CHAIN: what is shown is what was given."""
_TLS_TIME = 20.0


class Said(msgspec.Struct, frozen=True):
    """A verdict and, where it has one, its reason."""

    word: Word
    reason: str = ""


class Ours(msgspec.Struct, frozen=True):
    """What a delivery says: by the rules of required-verify-hosted and of required-verify."""

    hosted: Said
    verify: Said
    cause: str = ""
    """Of the explanation at required-verify-hosted."""
    summary: str = ""


def ascii_name(host: str) -> str:
    """As it is written in certificates."""
    return host if host.isascii() else idna.encode(host, uts46=True).decode()


class Files(msgspec.Struct, frozen=True):
    """One chain on disk."""

    folder: Path

    @classmethod
    def write(cls, folder: Path, sent: Sequence[Made]) -> Files:
        folder.mkdir()
        (folder / "leaf.pem").write_bytes(pem(sent[0].der))
        (folder / "rest.pem").write_bytes(b"".join(pem(each.der) for each in sent[1:]))
        (folder / "chain.pem").write_bytes(b"".join(pem(each.der) for each in sent))
        (folder / "key.pem").write_bytes(key_pem(sent[0].key))
        return cls(folder)

    def path(self, name: str) -> str:
        return str(self.folder / f"{name}.pem")


def server_context(files: Files) -> SSL.Context:
    """Shows exactly this chain, however weak or odd."""
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_mode(_NO_AUTO_CHAIN)
    context.set_cipher_list(b"ALL:@SECLEVEL=0")
    context.use_certificate_chain_file(files.path("chain"))
    context.use_privatekey_file(files.path("key"))
    return context


# --- ours ---------------------------------------------------------------------------------------------------


class Deliveries:
    """Judges as deliveries do: their context, engine and verifier; only the bytes go through memory."""

    def __init__(self, trust: Path, anchors: Sequence[Made] = (), **document: Any) -> None:
        """`trust`: PEM file of the system list; `anchors`: those of the destination, which count instead."""
        delivery = {"ca_file": str(trust), "certificate": None}
        self.document = Document.model_validate({"delivery": delivery, "listeners": [], **document})
        self._anchors = tuple((f"anchor {at}", pem(each.der).decode()) for at, each in enumerate(anchors))
        self.clock = SystemClock()
        live = build(self.document, KeyStore(MemorySecrets()), None, self.clock.now())
        self.context = live.delivery.context
        self._verifier = Verifier(self.clock, Names)

    async def verdict(self, files: Files, host: str) -> Ours:
        client = Engine(self.context, server_side=False, server_name=ascii_name(host))
        if not handshake(client, SSL.Connection(server_context(files), None)):
            nothing = Said("none", client.fault.reason if client.fault else "")
            return Ours(hosted=nothing, verify=nothing)
        target = Target(
            host, (), "required-verify-hosted", 1, 1, email_domain=host, trust_anchors=self._anchors
        )
        way = Way(target, host, Host(host, 25, (LOOPBACK,)), LOOPBACK, (host,))
        facts = client.facts()
        found = await self._verifier.verify(way, facts, self.document.trust)
        close = read_sent(facts.peer_certificates, self.clock.now())
        diagnosis = diagnose_verification(found, "required-verify-hosted", host, close)
        return Ours(
            hosted=_said(found, hosted=True),
            verify=_said(found, hosted=False),
            cause=diagnosis.cause if diagnosis else "",
            summary=diagnosis.summary if diagnosis else "",
        )


def _said(found: Verification, *, hosted: bool) -> Said:
    """As the outcome table has it."""
    event = found.judge("required-verify-hosted" if hosted else "required-verify").event
    if event is None:
        return Said("verified")
    return Said("untrusted" if event == "untrusted" else "trusted", found.error(event))


def handshake(client: Engine, server: SSL.Connection) -> bool:
    """Carry bytes until both are silent; whether the client is content."""
    server.set_accept_state()
    client.start()
    while data := client.output():
        server.bio_write(data)
        with suppress(SSL.Error):
            server.do_handshake()
        with suppress(SSL.WantReadError):
            client.receive(server.bio_read(1 << 20))
    return client.established and client.fault is None


# --- the openssl command ------------------------------------------------------------------------------------

_OPENSSL_ERROR = re.compile(r"error (\d+) at (\d+) depth lookup: (.*)")


def openssl_verdict(files: Files, host: str, trust: Path, level: int) -> Said:
    """`level`: the security level (SSL_CTX_set_security_level(3)), which the command leaves at nothing."""
    words = ["openssl", "verify", "-purpose", "sslserver", "-auth_level", str(level)]
    words += ["-no-CApath", "-no-CAstore", "-CAfile", str(trust)]
    if Path(files.path("rest")).stat().st_size:
        words += ["-untrusted", files.path("rest")]
    leaf = files.path("leaf")
    chain = _run([*words, leaf])
    whole = _run([*words, "-verify_hostname", ascii_name(host), leaf])
    if chain.returncode:
        assert whole.returncode
        return Said("untrusted", _reason(chain))
    return Said("trusted", _reason(whole)) if whole.returncode else Said("verified")


def _run(words: Sequence[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, capture_output=True, text=True, timeout=30, check=False)


def _reason(done: subprocess.CompletedProcess[str]) -> str:
    found = _OPENSSL_ERROR.search(done.stderr)
    return plain(found[3]) or "" if found else " ".join(done.stderr.split())


def openssl_verdicts(chains: Mapping[str, tuple[Files, str]], trust: Path, level: int) -> dict[str, Said]:
    with ThreadPoolExecutor(4) as pool:
        found = pool.map(lambda each: openssl_verdict(each[0], each[1], trust, level), chains.values())
        return dict(zip(chains, found, strict=True))


# --- Postfix ------------------------------------------------------------------------------------------------


class Exchangers:
    """One port per chain; behind each a small mail server that shows it and takes every message."""

    def __init__(self, chains: Mapping[str, Files]) -> None:
        self._chooser = selectors.DefaultSelector()
        self._threads: list[threading.Thread] = []
        self._listening: list[socket.socket] = []
        self.ports: dict[str, int] = {}
        for name, files in chains.items():
            port = socket.create_server((LOOPBACK, 0))
            self._listening.append(port)
            self.ports[name] = port.getsockname()[1]
            self._chooser.register(port, selectors.EVENT_READ, server_context(files))
        self._wake, ear = socket.socketpair()
        self._listening += [self._wake, ear]
        self._chooser.register(ear, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def close(self) -> None:
        self._wake.send(b"!")
        for thread in (self._thread, *self._threads):
            thread.join()
        for each in self._listening:
            each.close()
        self._chooser.close()

    def _serve(self) -> None:
        while True:
            for key, _ in self._chooser.select():
                if key.data is None:
                    return
                taken, _peer = key.fileobj.accept()  # type: ignore[union-attr]
                thread = threading.Thread(target=_converse, args=(taken, key.data))
                self._threads.append(thread)
                thread.start()


def _converse(plain: socket.socket, context: SSL.Context) -> None:
    with plain, suppress(OSError, SSL.Error):
        plain.settimeout(_TLS_TIME)
        plain.sendall(b"220 exchanger.chain.test ESMTP\r\n")
        _answer(plain, b"STARTTLS")
        # pyOpenSSL can't work on sockets with a time-out.
        plain.settimeout(None)
        safe = SSL.Connection(context, plain)
        safe.set_accept_state()
        safe.do_handshake()
        _answer(safe, b"QUIT")


def _answer(stream: socket.socket | SSL.Connection, last: bytes) -> None:
    """Say yes to every command up to `last`."""
    buffer, content = b"", False
    while True:
        while b"\r\n" not in buffer:
            data = stream.recv(4096)
            if not data:
                raise OSError("the peer went away")
            buffer += data
        line, buffer = buffer.split(b"\r\n", 1)
        verb = line.upper()
        if content:
            content = line != b"."
            if content:
                continue
        if verb == b"DATA":
            content = True
            stream.sendall(b"354 go ahead\r\n")
        elif verb.startswith(b"EHLO"):
            stream.sendall(b"250-exchanger.chain.test\r\n250 STARTTLS\r\n")
        else:
            stream.sendall(b"250 2.0.0 fine\r\n" if verb != b"STARTTLS" else b"220 2.0.0 go ahead\r\n")
        if verb == last:
            return


@contextmanager
def exchangers(chains: Mapping[str, Files]) -> Iterator[Mapping[str, int]]:
    serving = Exchangers(chains)
    try:
        yield serving.ports
    finally:
        serving.close()


def postfix_verdicts(chains: Mapping[str, tuple[Files, str]], trust: Path, folder: Path) -> dict[str, Said]:
    """What one Postfix at the level `secure` logs about each: a domain, a port and a message per chain."""
    with exchangers({name: files for name, (files, _) in chains.items()}) as ports:
        numbers = {name: at for at, name in enumerate(chains)}
        transports = [f"c{numbers[name]}.test smtp:[{LOOPBACK}]:{port}\n" for name, port in ports.items()]
        policies = [
            f"[{LOOPBACK}]:{ports[name]} secure match={ascii_name(host)}\n"
            for name, (_, host) in chains.items()
        ]
        (folder / "transports").write_text("".join(transports))
        (folder / "policies").write_text("".join(policies))
        options = {
            "transport_maps": f"texthash:{folder}/transports",
            "smtp_tls_policy_maps": f"texthash:{folder}/policies",
            "default_process_limit": "12",
            "smtp_connection_cache_on_demand": "no",
            "minimal_backoff_time": "1000s",
            "maximal_backoff_time": "2000s",
            "queue_run_delay": "1000s",
        }
        settings = Settings(relay_tls="secure", trust=trust.read_bytes(), options=options)
        with Postfix(settings) as postfix:
            recipients = [f"to@c{number}.test" for number in numbers.values()]
            postfix.submit("from@chain.test", recipients, b"Subject: chains\n\n.\n")
            for number in numbers.values():
                postfix.wait_log(rf"to=<to@c{number}\.test>")
            log = postfix.log()
    return {name: _read_log(log, ports[name], numbers[name]) for name in chains}


_OTHER_NAME = "num=62:hostname mismatch"


def _read_log(log: str, port: int, number: int) -> Said:
    at = rf"{re.escape(LOOPBACK)}\[{re.escape(LOOPBACK)}\]:{port}: "
    found = re.search(rf"(Verified|Trusted|Untrusted) TLS connection established to {at}", log)
    reason = re.search(rf"certificate verification failed for {at}(.*)", log)
    status = re.search(rf"to=<to@c{number}\.test>.*status=(\w+) \((.*)\)", log)
    assert status is not None
    assert (status[1] == "sent") == (found is not None and found[1] == "Verified"), status[0]
    if found is None:
        return Said("none", status[2])
    words: dict[str, Word] = {"Verified": "verified", "Trusted": "trusted", "Untrusted": "untrusted"}
    said = reason[1] if reason else status[2] if status[1] != "sent" else ""
    # It has OpenSSL compare the names too, and calls a chain untrusted whatever OpenSSL finds wrong.
    return Said("trusted" if said == _OTHER_NAME else words[found[1]], said)
