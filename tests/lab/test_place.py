"""Ports, folders and processes of the laboratory belong to one user at a time and end with it."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest

from lab import Trouble
from lab.debs import PACKAGES, unpacked
from lab.place import PORTS, folder_for, free_ports, open_to_all
from lab.process import Child, Program, until, wait_for_port


def python(code: str, folder: Path) -> Program:
    return Program(name="the program", words=[sys.executable, "-c", code], output=folder / "output")


def test_ports_are_different_and_outside_the_range_of_client_sockets() -> None:
    ports = free_ports(20)
    assert len(set(ports)) == 20
    assert all(port in PORTS for port in ports)


def test_a_folder_can_be_passed_through_by_any_user_and_is_removed() -> None:
    with folder_for("test") as folder:
        assert open_to_all(folder)
    assert not folder.exists()


def test_a_server_that_ends_at_once_is_told_with_its_last_words(tmp_path: Path) -> None:
    child = Child(python("raise SystemExit('no such thing')", tmp_path))
    with pytest.raises(Trouble, match=r"ended with status 1 instead of listening.*\n  no such thing"):
        wait_for_port(child, free_ports(1)[0])
    child.stop()


def test_stopping_ends_the_children_of_a_program_too(tmp_path: Path) -> None:
    program = Program(name="sh", words=["sh", "-c", "sleep 99 & echo $!; wait"], output=tmp_path / "output")
    child = Child(program)
    output = tmp_path / "output"
    until(lambda: output.read_text().endswith("\n"), child.tail)
    assert child.stop() == -signal.SIGTERM
    state = Path("/proc") / output.read_text().strip() / "stat"
    # Whoever adopts the orphan may not have collected it yet: a zombie runs no more.
    until(lambda: not state.exists() or " Z " in state.read_text(), lambda: "the grandchild still runs")


def test_packages_are_unpacked_without_set_user_id_bits() -> None:
    for package in PACKAGES:
        tree = unpacked(package)
        assert not [path for path in tree.root.rglob("*") if path.is_file() and path.stat().st_mode & 0o6000]
