"""Captures with the system's tcpdump: the words that it gets, limits, and what a missing right is called."""

from __future__ import annotations

import asyncio
import os
import pwd
from pathlib import Path

import pytest

from lab import Unavailable
from lab.debs import Tree, unpacked
from mxseal.clock import SystemClock
from mxseal.relay.packets import Filter, Packets, PacketsRefused
from mxseal.relay.recordings import RecordingRefused, Recordings
from mxseal.storage.captures import Captures
from mxseal.storage.sealing import Seal

ANY = Filter(interface="lo", size=1 << 20, seconds=60.0)


@pytest.fixture
def tree() -> Tree:
    try:
        return unpacked("tcpdump")
    except Unavailable as reason:
        if os.environ.get("MXSEAL_LAB") == "required":
            raise
        pytest.skip(str(reason))


def packets(folder: Path, most: int = 256 << 20) -> Packets:
    store = Captures(folder / "captures", Seal(os.urandom(32)))
    clock = SystemClock()
    return Packets(Recordings(store, clock, lambda _orders, _stopped: None, lambda: (7, most)), clock)


def program(folder: Path, tree: Tree, before: str = "") -> str:
    """A PATH whose tcpdump is the unpacked one; `before` goes in front of it."""
    folder.mkdir()
    file = folder / "tcpdump"
    real = tree.path("usr/bin/tcpdump")
    file.write_text(f'#!/bin/sh\nexport LD_LIBRARY_PATH={tree.libraries()}\nexec {before} {real} "$@"\n')
    file.chmod(0o755)
    return f"{folder}:{os.environ['PATH']}"


def test_the_filter_is_made_of_typed_values_only() -> None:
    wanted = Filter(interface="lo", networks=("::1/128", "192.0.2.0/24"), ports=(25, 465), size=1, seconds=1)
    told = "( net ::1/128 or net 192.0.2.0/24 ) and ( port 25 or port 465 )"
    assert " ".join(wanted.expression()) == told
    assert ANY.expression() == []


async def test_without_the_right_it_is_said_which_and_how_to_give_it(
    tmp_path: Path, tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    if os.geteuid():
        before = ""
    else:
        nobody = pwd.getpwnam("nobody")
        before = f"setpriv --reuid {nobody.pw_uid} --clear-groups --inh-caps=-all --bounding-set=-all"
    monkeypatch.setenv("PATH", program(tmp_path / "programs", tree, before))
    monkeypatch.setattr(os, "geteuid", lambda: 4711)
    here = packets(tmp_path)
    with pytest.raises(PacketsRefused, match=r"lacks the right.*AmbientCapabilities=CAP_NET_RAW.*setcap"):
        await here.start(ANY, "joe")
    assert here.running() is None


async def test_without_tcpdump_it_is_said_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("mxseal.relay.packets._PLACES", str(tmp_path))
    with pytest.raises(PacketsRefused, match="apt-get install tcpdump"):
        await packets(tmp_path).start(ANY, "joe")


async def test_what_may_not_fit_is_not_begun(
    tmp_path: Path, tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", program(tmp_path / "programs", tree))
    here = packets(tmp_path, most=1 << 20)
    with pytest.raises(RecordingRefused, match="delete some"):
        await here.start(Filter(interface="lo", size=2 << 20, seconds=60.0), "joe")
    assert here.running() is None


async def test_it_ends_by_itself_when_it_is_large_enough(
    tmp_path: Path, tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", program(tmp_path / "programs", tree))
    here = packets(tmp_path)
    try:
        await here.start(Filter(interface="lo", size=20_000, seconds=60.0), "joe")
    except PacketsRefused as refused:
        pytest.skip(str(refused))
    server = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, asyncio.timeout(30):
        while here.running() is not None:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"x" * 1000)
            writer.close()
            await asyncio.sleep(0)
    (about,) = here._recordings.kept()
    assert 0 < about.size <= 20_000
    assert here._recordings.store.read(about.name)[:4] == b"\xd4\xc3\xb2\xa1"
