"""How long pages of the web interface take with a million messages tracked, at their first view and again.

A real gateway on a home of its own, whose database of message tracking is that of `bench.tracked`, with
thirty days of counts for two thousand partners beside it. Pages are found as a browser finds them, from link
to link, one address for each kind of page. `python -m bench.pages HOME DATABASE` does it alone.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import re
import shutil
import ssl
import statistics
import sys
import time
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import unescape
from pathlib import Path
from urllib.parse import urlsplit

import apsw
import httpx2
from starlette.routing import compile_path

from bench.build import RESULTS
from bench.peers import say
from bench.results import Reading, Row
from bench.session import Session
from bench.tracked import fill
from lab.gateway import Gateway
from lab.place import folder_for
from mxseal.faces.web.pages import pages_of
from mxseal.faces.web.site import SUBJECTS
from mxseal.storage.tracking.schema import NAME

GOAL = 100.0
"""Milliseconds."""
_TURNS = 7
_TYPING = 3.0
"""Seconds that people take for name and password; the gateway compiles its pages meanwhile."""
_DAYS = 30
_PARTNERS = 2000
_FILES = re.compile(r"/export$|/stream$|/list$|^/certificates/[^/]+/(csr|file)$")
"""Downloads and live views, which are no pages."""
_ASKED = (
    "/messages?to=nobody@nowhere.example",
    "/messages?subject=a*",
    "/messages?event=bounced",
    "/messages?tls=clear&side=out",
    "/messages?tls=verified",
    "/messages?refused=any",
    "/partners?level=required-verify",
    "/?span=week",
    "/find?q=1000",
)
"""Pages with questions of their own, beside those that links lead to."""
_DAY = 86_400


@dataclass(frozen=True)
class Timed:
    """A page's times in milliseconds: the first view of the gateway's life, and the median of later ones."""

    address: str
    first: float
    warm: float
    size: int


def _counts(database: Path) -> None:
    """What `/`, `/partners` and reports add up: thirty days of many partners."""
    chance, today = random.Random(1), int(time.time()) // _DAY
    connection = apsw.Connection(str(database))
    with connection:
        for day in range(today - _DAYS, today + 1):
            rows = [
                (day, side, f"partner{number}.example", 3, number % 97 == 0, 40, number % 31 == 0, 2, 20, 90,
                 4, day * _DAY + 3600.0 if number % 31 == 0 else 0.0, "starttls-masked", "It was masked.")
                for side in ("in", "out")
                for number in range(_PARTNERS)
            ]  # fmt: skip
            connection.executemany(f"INSERT OR REPLACE INTO partner VALUES ({','.join('?' * 14)})", rows)
            hours = [
                (span, at, side, what, word, chance.randrange(1, 9000))
                for span, at in [("day", day * _DAY), *(("hour", day * _DAY + h * 3600) for h in range(24))]
                for side in ("in", "out")
                for what, words in (
                    ("tls", ("verified", "encrypted", "unverified", "clear", "failed")),
                    ("protocol", ("TLSv1.2", "TLSv1.3")),
                    ("cipher", tuple(f"CIPHER-{n}" for n in range(8))),
                    ("group", ("x25519", "X25519MLKEM768", "secp256r1")),
                    ("cause", ("starttls-masked", "certificate-expired", "name-mismatch")),
                )
                for word in words
            ]
            connection.executemany("INSERT OR REPLACE INTO traffic VALUES (?,?,?,?,?,?)", hours)
    connection.close()


def _kinds() -> list[tuple[str, re.Pattern[str]]]:
    found = [each.path for each in pages_of(SUBJECTS) if each.method == "GET" and each.access == ("in",)]
    # what is spelled out before what has a place for a name
    return [(path, compile_path(path)[0]) for path in sorted(found, key=lambda path: path.count("{"))]


def _kind(path: str, kinds: Sequence[tuple[str, re.Pattern[str]]]) -> str | None:
    return next((name for name, pattern in kinds if pattern.match(path)), None)


def _links(text: str) -> Iterator[str]:
    for link in re.findall(r'href="(/[^"#]*)"', text):
        yield unescape(link)


def walk(client: httpx2.Client) -> list[Timed]:
    """Every kind of page that links lead to, its first view timed as it is found, then all once more."""
    kinds = _kinds()
    waiting, seen, first = ["/", *_ASKED], set[str](), dict[str, tuple[float, int]]()
    while waiting:
        address = waiting.pop(0)
        path = urlsplit(address).path
        kind = _kind(path, kinds)
        mark = address if address in _ASKED else kind or ""
        if not mark or mark in seen or _FILES.search(path):
            continue
        seen.add(mark)
        begun = time.perf_counter()
        answer = client.get(address)
        if answer.status_code == httpx2.codes.OK:
            first[address] = ((time.perf_counter() - begun) * 1000, len(answer.content))
            waiting += _links(answer.text)
    missed = sorted({name for name, _ in kinds} - seen)
    say(f"{len(first)} pages; no link led to {', '.join(missed) or 'none'}")
    return [Timed(address, ms, _again(client, address), size) for address, (ms, size) in first.items()]


def _again(client: httpx2.Client, address: str) -> float:
    taken = []
    for _ in range(_TURNS):
        begun = time.perf_counter()
        client.get(address)
        taken.append((time.perf_counter() - begun) * 1000)
    return statistics.median(taken)


def _browser(gateway: Gateway) -> httpx2.Client:
    interface = tomllib.loads(gateway.text("showconfig"))["interfaces"][0]
    address = f"https://127.0.0.1:{interface['https_port']}"
    trust = ssl.create_default_context()
    trust.check_hostname, trust.verify_mode = False, ssl.CERT_NONE  # the demonstration certificate
    headers = {"Origin": address, "Sec-Fetch-Site": "same-origin"}
    client = httpx2.Client(base_url=address, verify=trust, headers=headers, timeout=60)
    password = gateway.first_words.partition("Password:")[2].split()[0]
    client.get("/login")
    time.sleep(_TYPING)
    answer = client.post("/login", data={"name": "admin", "password": password})
    assert answer.status_code == 303, answer.text
    return client


def measured(home: Path, database: Path) -> list[Timed]:
    """Pages of a new gateway in `home` with a copy of that database."""
    gateway = Gateway(home=home, prepare=[("trackingconfig", "setup", "--keep-days", "3660")])
    with gateway:
        gateway.stop()
        shutil.copyfile(database, home / NAME)
        _counts(home / NAME)
        gateway.start()
        with contextlib.closing(_browser(gateway)) as client:
            return walk(client)


def pages(session: Session) -> list[Row]:
    """The slowest page, at its first view and later."""
    count = session.extent.tracked
    home = RESULTS / "homes" / f"tracked-{count}"
    if not (home / NAME).exists():
        fill(home, count, min(count, 100_000))
    with folder_for("bench-pages") as folder:
        found = measured(folder / "home", home / NAME)
    _tell(found)
    return [
        Row(
            key=key,
            title=f"web interface, {count:,} messages tracked, {title}",
            layout="all cores",
            unit="ms",
            ours=[Reading(value=value)],
            better="less",
            goal=GOAL,
            goal_of="ours",
            digits=1,
        )
        for key, title, value in (
            ("pages-first", "slowest page at its first view", max(each.first for each in found)),
            ("pages", "slowest page later", max(each.warm for each in found)),
        )
    ]


def _tell(found: Sequence[Timed]) -> None:
    for each in sorted(found, key=lambda each: -each.warm):
        say(f"{each.warm:7.1f} ms, first {each.first:7.1f} ms, {each.size:8,} bytes  {each.address}")


def main(words: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.pages", description=__doc__)
    parser.add_argument("home", type=Path, help="a folder that is made, for the gateway")
    parser.add_argument("database", type=Path, help="a tracking.db of bench.tracked")
    wanted = parser.parse_args(words)
    _tell(measured(wanted.home, wanted.database))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
