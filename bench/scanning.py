"""The line about `testreceiver --versions`, beside a full scan of sslyze: the same Postfix, as it comes.

sslyze is AGPL: it is run as a program from an environment of its own, never imported and never shipped.
"""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import time
from pathlib import Path

import lab.postfix
from bench.build import RESULTS
from bench.machine import confined
from bench.peers import say
from bench.results import Reading, Row
from bench.session import Session
from lab import Trouble, Unavailable
from mxseal.clock import SystemClock
from mxseal.commands.checks import EVERY_CIPHER
from mxseal.examine.receiver import Examination, Wish
from mxseal.examine.report import DomainReport
from mxseal.examine.stages import Trust
from mxseal.examine.talk import Manners, Place
from mxseal.tls.contexts import ClientTls, client_context

RELEASE = "sslyze==6.3.1"
_TOOK = re.compile(r"SCANS COMPLETED IN ([0-9.]+) S")
HOST = "mx.bench.test"


def scan(session: Session) -> list[Row]:
    """One row: seconds until versions, ciphers and certificate of one server are known."""
    program, layout = _rival(), session.widest
    say("versions and ciphers of one server, testreceiver and sslyze in turn")
    ours: list[Reading] = []
    theirs: list[Reading] = []
    settings = lab.postfix.Settings(hostname=HOST, certificate=session.certificate)
    with confined(layout.server | layout.load), lab.postfix.Postfix(settings) as server:
        for _ in range(session.extent.turns):
            ours.append(_ours(server.port))
            theirs.append(_theirs(program, server.port))
    return [
        Row(
            key="scan",
            title=f"testreceiver --versions, {ours[0].handshakes} connections",
            layout="all cores",
            unit="s",
            ours=ours,
            rival=theirs,
            versus="sslyze",
            better="less",
            goal=1.0,
            digits=2,
        )
    ]


def _rival() -> Path:
    """The program sslyze; fetched with pip into an environment of its own when it is not there."""
    home = RESULTS / "tools" / "sslyze"
    program = home / "bin" / "sslyze"
    if program.exists():
        return program
    say(f"fetching {RELEASE}")
    for words in (
        [sys.executable, "-m", "venv", str(home)],
        [str(home / "bin" / "python"), "-m", "pip", "install", "--quiet", RELEASE],
    ):
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode:
            raise Unavailable(f"sslyze can't be fetched with pip: {done.stderr.strip()[-500:]}")
    return program


def _theirs(program: Path, port: int) -> Reading:
    """By its own count, without the time in which the interpreter starts."""
    words = [str(program), "--starttls=smtp", f"127.0.0.1:{port}"]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=300)
    took = _TOOK.search(done.stdout)
    if took is None:
        raise Trouble(f"sslyze did not come to an end: {(done.stderr or done.stdout).strip()[-500:]}")
    return Reading(value=float(took[1]))


def _ours(port: int) -> Reading:
    """With the pauses and bounds that the command has."""
    begun = time.perf_counter()
    report = asyncio.run(_examined(port))
    (host,) = report.hosts
    if host.survey is None or set(host.survey.listed) != {"TLSv1.3", "TLSv1.2"}:
        raise Trouble("testreceiver did not find out all versions and ciphers")
    return Reading(value=time.perf_counter() - begun, handshakes=report.connections)


async def _examined(port: int) -> DomainReport:
    context = client_context(ClientTls(min_version="TLSv1", ciphers=EVERY_CIPHER))
    manners = Manners(hello="bench.test", sender="postmaster@bench.test")
    trust = Trust(context=context, roots=None)
    examination = Examination(Wish(subject=HOST, versions=True), manners, trust, SystemClock())
    async for item in examination.run([Place(host=HOST, port=port, addresses=("127.0.0.1",))]):
        if isinstance(item, DomainReport):
            return item
    raise Trouble("testreceiver gave no report")
