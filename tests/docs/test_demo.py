"""The demonstration works, with the next hop that runs anywhere, and leaves nothing behind."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from demo.story import delivered_row, held_row, read
from lab.place import folder_for
from tests.docs.pages import ROOT

QUEUED = (
    '{"event":"MessageStarted","mid":1,"icid":2}\n'
    '{"event":"RecipientAccepted","mid":1}\n'
    '{"event":"MessageReceived","mid":1,"subject":"A"}\n'
    '{"event":"MessageQueued","mid":1}\n'
)


def _run(temporary: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "demo", "--sink"],
        cwd=ROOT,
        env=dict(os.environ) | {"TMPDIR": str(temporary), "COLUMNS": "80", "KEEP": ""},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_the_demonstration_delivers_all_and_shows_both_failures_explained() -> None:
    with folder_for("demo-test") as temporary:
        temporary.chmod(0o755)
        done = _run(temporary)
        assert done.returncode == 0, done.stdout + done.stderr
        assert list(temporary.iterdir()) == []
    assert done.stdout.count("TLS diagnosis: ") == 2
    assert len(re.findall(r"certificate verified +$", done.stdout, re.MULTILINE)) == 5
    assert "All as it should be." in done.stdout
    assert "\x1b" not in done.stdout
    assert done.stderr == ""


def test_a_message_that_did_not_arrive_is_not_told_as_delivered() -> None:
    row = delivered_row(read(QUEUED), "A", 0)
    assert not row.as_expected
    assert row.outcome.startswith("NO")


def test_a_message_that_went_out_without_tls_is_not_as_expected() -> None:
    sent = QUEUED + '{"event":"RecipientsDelivered","mid":1,"dcid":3,"rids":[0],"response":"ok"}\n'
    assert not delivered_row(read(sent), "A", 1).as_expected


def test_a_message_that_a_next_hop_without_tls_was_given_is_not_held_back() -> None:
    failed = '{"event":"OutboundTlsFailed","dcid":3,"domain":"x","diagnosis":{"cause":"no-starttls"}}\n'
    delayed = '{"event":"RecipientDelayed","mid":1,"dcid":3,"reason":"-"}\n'
    story = read(QUEUED + failed + delayed)
    assert held_row(story, "A", ()).as_expected
    assert not held_row(story, "A", ("something",)).as_expected
