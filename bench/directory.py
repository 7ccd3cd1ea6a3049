"""Lines about directories: look-ups in a second beside `ldapsearch`, and what an accepted recipient costs.

The same slapd with LDAPS for both. `ldapsearch -f` asks one question after the other over one connection, as
scripts do; MXSeal asks side by side over few. `ldapsearch` is a program in C, MXSeal's client is Python.
"""

from __future__ import annotations

import asyncio
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from bench.machine import confined
from bench.peers import say
from bench.results import Reading, Row
from bench.session import Session
from lab import Trouble
from lab.ca import Authority
from lab.debs import unpacked
from lab.place import LOOPBACK, folder_for
from lab.process import plain_environment
from lab.slapd import BASE, Security, Slapd, person
from mxseal.clock import SystemClock
from mxseal.config.model import Document, LdapProfile, LdapQuery
from mxseal.directory.directories import Directories
from mxseal.directory.opening import Around, Client
from mxseal.ldap.filters import Values
from mxseal.ldap.values import Fault
from mxseal.tls.contexts import ClientTls, client_context
from mxseal.tls.diagnosis import OurSettings

PEOPLE = 2000
_AT_ONCE = 200
"""Questions that are open at a time: as many as a busy listener has clients."""


def ldap(session: Session) -> list[Row]:
    """Two rows."""
    say(f"{PEOPLE:,} look-ups over LDAPS, MXSeal and ldapsearch in turn")
    root, layout = Authority(), session.widest
    people = [person(f"p{n}", f"mail: p{n}@example.com") for n in range(PEOPLE)]
    ours: list[Reading] = []
    theirs: list[Reading] = []
    asked: list[Reading] = []
    kept: list[Reading] = []
    security = Security(certificate=root.issue(LOOPBACK))
    with confined(layout.server | layout.load), folder_for("bench-ldap") as folder:
        (folder / "root.pem").write_bytes(root.pem)
        (folder / "names").write_text("".join(f"p{n}@example.com\n" for n in range(PEOPLE)))
        with Slapd(people, security) as slapd:
            for _ in range(session.extent.turns):
                found = asyncio.run(_ours(slapd, root))
                ours.append(found[0])
                asked.append(found[1])
                kept.append(found[2])
                theirs.append(_theirs(slapd, folder))
    return [
        Row(
            key="ldap",
            title=f"LDAPS look-ups, {_AT_ONCE} clients at once",
            layout="all cores",
            unit="/s",
            ours=ours,
            rival=theirs,
            versus="ldapsearch",
        ),
        Row(
            key="ldap-cost",
            title="processor time of a recipient that is looked up",
            layout="all cores",
            unit="µs",
            ours=asked,
            rival=kept,
            versus="kept answer",
            better="less",
        ),
    ]


async def _ours(slapd: Slapd, root: Authority) -> tuple[Reading, Reading, Reading]:
    """(look-ups in a second, microseconds of one, microseconds of one whose answer is kept)"""
    values = ClientTls(system=False, authorities=(root.pem.decode(),), post_quantum=False)
    client = Client(
        context=client_context(values), certificate=None, trust=("custom list",), ours=OurSettings()
    )

    async def resolve(host: str) -> tuple[str, ...] | str:
        return (host,)

    around = Around(clock=SystemClock(), publish=lambda _event: None, resolve=resolve, revoking=lambda: None)
    made = Directories(around, lambda _profile: None)
    profile = LdapProfile(name="LDAP", hosts=(f"{LOOPBACK}:{slapd.tls_port}",), base=BASE)
    query = LdapQuery(name="accept", kind="accept", profile="LDAP", filter="(mail={a})")
    made.adopt(made.prepare(Document(ldap_profiles=(profile,), ldap_queries=(query,)), client))
    question = made.book.question("accept")
    assert question is not None
    names = [Values(address=f"p{n}@example.com") for n in range(PEOPLE)]

    async def ask(share: Sequence[Values]) -> None:
        for each in share:
            if isinstance(await question.ask(each), Fault):
                raise Trouble("the directory did not answer")

    begun, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(ask(names[at::_AT_ONCE]) for at in range(_AT_ONCE)))
    took, used = time.perf_counter() - begun, time.process_time() - cpu
    cpu = time.process_time()
    if not all(question.known(each) for each in names):
        raise Trouble("an answer was not kept")
    again = time.process_time() - cpu
    made.stop()
    await asyncio.sleep(0.05)
    per = 1e6 / PEOPLE
    return Reading(value=PEOPLE / took), Reading(value=used * per), Reading(value=again * per)


def _theirs(slapd: Slapd, folder: Path) -> Reading:
    tree = unpacked("ldap-utils")
    words = [str(tree.path("usr/bin/ldapsearch")), "-x", "-LLL", "-H", f"ldaps://{LOOPBACK}:{slapd.tls_port}"]
    environment = plain_environment() | tree.environment() | {"LDAPTLS_CACERT": str(folder / "root.pem")}
    begun = time.perf_counter()
    done = subprocess.run(
        [*words, "-b", BASE, "-f", str(folder / "names"), "(mail=%s)", "1.1"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    took = time.perf_counter() - begun
    if done.returncode or done.stdout.count("dn: ") != PEOPLE:
        raise Trouble(f"ldapsearch ended with status {done.returncode}: {done.stderr[-300:]}")
    return Reading(value=PEOPLE / took)
