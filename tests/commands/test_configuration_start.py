"""What the composition root refuses: a folder in use for other things, a configuration that can't start."""

from __future__ import annotations

import shutil
import socket
from pathlib import Path

import pytest

from mxseal import app
from mxseal.crew.nursery import Nursery


def test_a_folder_that_holds_something_is_refused_and_left_as_it_was(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "letter.txt").write_text("mine")
    with pytest.raises(app.AppFault, match="is not empty") as caught:
        app.initialise(tmp_path, hostname="mx.example.com")
    assert caught.value.status == app.EX_CANTCREAT
    assert [entry.name for entry in tmp_path.iterdir()] == ["letter.txt"]
    assert tmp_path.stat().st_mode & 0o777 == 0o755


def test_an_empty_folder_becomes_a_home(tmp_path: Path) -> None:
    assert app.initialise(tmp_path, hostname="mx.example.com").home == tmp_path
    with pytest.raises(app.AppFault, match="There is a home in"):
        app.initialise(tmp_path, hostname="mx.example.com")


def test_a_port_that_is_taken_is_a_failure_that_may_pass(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        app.initialise(tmp_path / "home", hostname="mx.example.com", smtp_port=port)
        with pytest.raises(app.AppFault, match="can't open its ports") as caught:
            app.serve(tmp_path / "home", Nursery())
    assert caught.value.status == app.EX_TEMPFAIL
    assert f"port {port} can't be opened" in capsys.readouterr().err


def test_another_mistake_beside_a_taken_port_is_one_of_the_configuration(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        app.initialise(tmp_path / "home", hostname="mx.example.com", smtp_port=port)
        app.initialise(tmp_path / "other", hostname="mx.example.com", smtp_port=port)
        # the document of one home with the keys of another
        shutil.copy(tmp_path / "other" / "seal.key", tmp_path / "home" / "seal.key")
        with pytest.raises(app.AppFault) as caught:
            app.serve(tmp_path / "home", Nursery())
    assert caught.value.status == app.EX_CONFIG
