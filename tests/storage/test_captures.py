"""The folder of recordings, written to from several threads at once."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from mxseal.storage.captures import Captures
from mxseal.storage.sealing import Seal

PLACES = 200


def test_recordings_that_a_worker_ends_side_by_side_all_count(tmp_path: Path) -> None:
    captures = Captures(tmp_path / "captures", Seal(os.urandom(32)))
    taken = [captures.claim("1", PLACES, "worker0") for _ in range(PLACES)]
    assert taken == list(range(PLACES))
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda number: captures.fulfil("1", number, "worker0"), range(PLACES)))
    assert captures.progress("1", PLACES) == (0, PLACES)
    assert captures.claim("1", PLACES, "worker0") is None
