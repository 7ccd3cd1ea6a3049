"""A private authoritative name server (Knot DNS) with the zones that a test needs. Runs without root."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Self

import dns.exception
import dns.message
import dns.query
import dns.rdatatype

from lab import Trouble
from lab.debs import Tree, unpacked
from lab.place import LOOPBACK, free_port, new_folder
from lab.process import Child, Program, plain_environment, until, wait_for_port

REVERSE = "0.0.127.in-addr.arpa"
"""The zone of the PTR record of 127.0.0.1: the name "1" in it."""
_HEAD = """\
$ORIGIN {zone}.
$TTL 60
@ SOA ns.lab.test. hostmaster.lab.test. 1 60 60 3600 60
@ NS ns.lab.test.
"""


class Knot:
    """`with Knot({"example.test": "@ MX 10 mx\\nmx A 127.0.0.1"}) as knot:` or start() and stop().

    Zones are records in master file syntax (RFC 1035 §5); SOA and NS are put before them.
    """

    def __init__(self, zones: Mapping[str, str], *, signed: bool = False, folder: Path | None = None) -> None:
        """`signed`: all zones are signed (ECDSA P-256, one key). `folder` is kept; without it one is made."""
        self.zones = dict(zones)
        self.signed = signed
        self.tree: Tree = unpacked("knot")
        self.port = free_port()
        self._own = folder is None
        self.folder = folder or new_folder("knot")
        self._child: Child | None = None

    @property
    def address(self) -> tuple[str, int]:
        """Host and port, UDP and TCP."""
        return LOOPBACK, self.port

    def start(self) -> Self:
        """Start knotd, return when it answers for every zone. Raises Trouble with what it wrote."""
        for name in ("run", "db", "zones"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        for zone, records in self.zones.items():
            text = _HEAD.format(zone=zone) + records.strip() + "\n"
            (self.folder / "zones" / f"{zone}.zone").write_text(text)
        (self.folder / "knot.conf").write_text(self._configuration())
        program = Program(
            name="Knot",
            words=[str(self.tree.path("usr/sbin/knotd")), "-c", str(self.folder / "knot.conf")],
            output=self.folder / "output",
            environment=self.tree.environment(),
        )
        self._child = child = Child(program)
        wait_for_port(child, self.port)
        until(
            lambda: all(map(self._has, self.zones)),
            lambda: f"Knot does not answer for its zones. {child.tail()}",
        )
        return self

    def stop(self) -> None:
        """End knotd; remove the folder unless it was given."""
        if self._child is not None:
            self._child.stop()
            self._child = None
        if self._own:
            shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.stop()
            raise

    def __exit__(self, *_: object) -> None:
        self.stop()

    def ask(self, name: str, kind: str, *, dnssec: bool = False) -> dns.message.Message:
        """Its whole answer, over UDP, TCP when truncated."""
        query = dns.message.make_query(name, kind, want_dnssec=dnssec)
        answer, _ = dns.query.udp_with_fallback(query, LOOPBACK, timeout=5, port=self.port)
        return answer

    def look_up(self, name: str, kind: str) -> tuple[str, ...]:
        """The data of its records, as text, sorted."""
        wanted = dns.rdatatype.from_text(kind)
        answer = self.ask(name, kind).answer
        return tuple(sorted(data.to_text() for rrset in answer if rrset.rdtype == wanted for data in rrset))

    def ds(self, zone: str) -> str:
        """The DS record (SHA-256) of a signed zone, for a validator's trust anchor."""
        words = [str(self.tree.path("usr/sbin/keymgr")), "-c", str(self.folder / "knot.conf"), zone, "ds"]
        environment = plain_environment() | self.tree.environment()
        done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=30, check=False)
        found = [line for line in done.stdout.splitlines() if " 2 " in line]
        if not found:
            raise Trouble(f"keymgr gives no DS for {zone}: {done.stderr.strip() or 'the zone is not signed'}")
        return found[0]

    def log(self) -> str:
        """All that it has written."""
        return (self.folder / "output").read_text(errors="replace")

    def _has(self, zone: str) -> bool:
        try:
            answer = self.ask(zone, "SOA", dnssec=self.signed).answer
        except (dns.exception.Timeout, OSError):
            return False
        signatures = [rrset for rrset in answer if rrset.rdtype == dns.rdatatype.RRSIG]
        return bool(answer) and (bool(signatures) or not self.signed)

    def _configuration(self) -> str:
        # Root's own account is fine here: Knot only listens on loopback, and its folder is root's.
        lines = [
            "server:",
            f'    rundir: "{self.folder}/run"',
            f"    listen: {LOOPBACK}@{self.port}",
            "    udp-workers: 1",
            "    tcp-workers: 1",
            "    background-workers: 1",
            "log:",
            "  - target: stderr",
            "    any: info",
            "database:",
            f'    storage: "{self.folder}/db"',
            "    journal-db-max-size: 16M",
            "    kasp-db-max-size: 16M",
            "    timer-db-max-size: 16M",
            "policy:",
            "  - id: lab",
            "    algorithm: ecdsap256sha256",
            "    single-type-signing: on",
            "template:",
            "  - id: default",
            f'    storage: "{self.folder}/zones"',
            '    file: "%s.zone"',
            "zone:",
        ]
        for zone in self.zones:
            lines.append(f"  - domain: {zone}")
            if self.signed:
                lines += ["    dnssec-signing: on", "    dnssec-policy: lab"]
        return "\n".join(lines) + "\n"
