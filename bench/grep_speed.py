"""How fast `grep` searches a million lines of mail_logs, beside GNU grep on the same file.

Both are measured from the start of the search to the last byte of its output, which is read and dropped;
the best of several turns counts. Run with `python -m bench.grep_speed`.
"""

from __future__ import annotations

import asyncio
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from mxseal.logs.retained import file_path, logs_folder
from mxseal.logs.search import Query, grep

LINES = 1_000_000
TURNS = 5
CASES: tuple[tuple[Query, list[str]], ...] = (
    (Query(pattern="ICID.*TLS failed"), []),
    (Query(pattern="ICID.*TLS success"), []),
    (Query(pattern="DCID.*TLS success"), []),
    (Query(pattern="Delivery start"), []),
    (Query(pattern="MID 4217[0-9] "), ["-E"]),
    (Query(pattern="tls failed", ignore_case=True), ["-i"]),
    (Query(pattern="no shared cipher", context=2), ["-C", "2"]),
    (Query(pattern="(lost|Bounced: )"), ["-E"]),
    (Query(pattern="MID [0-9]+ queued"), ["-E"]),
)
"""What is searched for, and the options that make GNU grep search for the same."""


def message(number: int, chance: random.Random) -> list[str]:
    """The lines of one message from the connection to the end of its delivery."""
    icid, mid, dcid = number + 800_000, number + 40_000, number + 300_000
    failed = chance.random() < 0.02
    cipher = chance.choice(
        ("TLSv1.3 cipher TLS_AES_256_GCM_SHA384", "TLSv1.2 cipher ECDHE-RSA-AES256-GCM-SHA384")
    )
    client, peer = f"198.51.100.{chance.randrange(256)}", f"203.0.113.{chance.randrange(256)}"
    lines = [
        (
            f"New SMTP ICID {icid} interface IncomingMail (192.0.2.1) address {client} "
            f"reverse dns host mx{chance.randrange(999)}.example.net verified yes"
        ),
        f"ICID {icid} ACCEPT SG UNKNOWNLIST match ALL SBRS not enabled country not enabled",
    ]
    if failed:
        reason = chance.choice(
            ("[Errno 0] Error", "('SSL routines:tls_early_post_process_client_hello:no shared cipher')")
        )
        return [*lines, f"ICID {icid} TLS failed: {reason}", f"ICID {icid} lost", f"ICID {icid} close"]
    return [
        *lines,
        f"ICID {icid} TLS success protocol {cipher}",
        f"Start MID {mid} ICID {icid}",
        f"MID {mid} ICID {icid} From: <sender{chance.randrange(9999)}@example.net>",
        f"MID {mid} ICID {icid} RID 0 To: <user{chance.randrange(999)}@example.com>",
        f"MID {mid} Message-ID '<{chance.getrandbits(96):x}@example.net>'",
        f'MID {mid} Subject "Minutes of meeting {chance.randrange(99999)}"',
        f"MID {mid} ready {chance.randrange(1000, 99999)} bytes from <sender@example.net>",
        f"MID {mid} matched all recipients for per-recipient policy DEFAULT in the inbound table",
        f"MID {mid} queued for delivery",
        f"New SMTP DCID {dcid} interface 192.0.2.1 address {peer} port 25",
        f"DCID {dcid} TLS success protocol {cipher}",
        f"Delivery start DCID {dcid} MID {mid} to RID [0]",
        f"Message done DCID {dcid} MID {mid} to RID [0]",
        f"MID {mid} RID [0] Response '2.0.0 Ok: queued as {chance.getrandbits(40):X}'",
        f"Message finished MID {mid} done",
        f"ICID {icid} close",
        f"DCID {dcid} close",
    ]


def write_log(path: Path, lines: int) -> None:
    """A file of exactly `lines` lines, the same on each run."""
    chance = random.Random(7)
    left, number = lines, 0
    with path.open("w") as file:
        while left:
            stamp = time.asctime(time.gmtime(1_771_096_828 + number // 50))
            block = message(number, chance)[:left]
            file.writelines(f"{stamp} Info: {line}\n" for line in block)
            left -= len(block)
            number += 1


def best(run: Callable[[], int]) -> tuple[float, int]:
    """(seconds of the best turn, bytes of output)."""
    times: list[float] = []
    size = 0
    for _ in range(TURNS):
        begun = time.perf_counter()
        size = run()
        times.append(time.perf_counter() - begun)
    return min(times), size


def ours(home: Path, query: Query) -> int:
    async def run() -> int:
        return sum([len(chunk) async for chunk in grep(home, "mail_logs", query)])

    return asyncio.run(run())


def gnu(path: Path, pattern: str, options: list[str]) -> int:
    with subprocess.Popen(["grep", *options, pattern, path], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        size = 0
        while chunk := process.stdout.read(1 << 18):
            size += len(chunk)
    return size


def row(home: Path, path: Path, query: Query, options: list[str]) -> int:
    """Measure and print one pattern; 1 when the outputs differ in size."""
    counted = subprocess.run(
        ["grep", "-c", *options, query.pattern, path], capture_output=True, text=True, check=False
    )
    our_time, our_size = best(lambda: ours(home, query))
    gnu_time, gnu_size = best(lambda: gnu(path, query.pattern, options))
    differs = our_size != gnu_size
    print(
        f"{query.pattern:24}{int(counted.stdout):>14,}{our_time * 1000:>7.0f} ms{gnu_time * 1000:>7.0f} ms"
        f"{our_time / gnu_time:>8.2f}{'  outputs differ' if differs else ''}"
    )
    return int(differs)


def main() -> int:
    """Print the table; the exit status is 1 when the outputs differ in size or there is no GNU grep."""
    if shutil.which("grep") is None:
        print("There is no grep on this machine to compare with: install GNU grep.", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        logs = logs_folder(home) / "mail_logs"
        logs.mkdir(parents=True)
        path = file_path(logs, "mail", "20260214T192028", "current")
        write_log(path, LINES)
        print(f"{LINES:,} lines, {path.stat().st_size / 1e6:.0f} MB, best of {TURNS}")
        print(f"{'pattern':24}{'lines with it':>14}{'ours':>10}{'GNU grep':>10}{'ratio':>8}")
        return max(row(home, path, query, options) for query, options in CASES)


if __name__ == "__main__":
    sys.exit(main())
