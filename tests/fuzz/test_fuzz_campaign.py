"""The fuzzer itself: it finds what is there to find, writes it down, and can do it again."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz import corpus
from tests.fuzz.__main__ import main
from tests.fuzz.campaign import Campaign, fault_of
from tests.fuzz.mutate import Mutator
from tests.fuzz.target import Target, cuts, fields


def _run(data: bytes) -> None:
    assert b"\r\nQUIT" not in data, "it stops"


BROKEN = Target(name="broken", run=_run, inputs=st.binary(max_size=5), words=(b"\r\nQUIT",))
SOUND = Target(name="sound", run=len, inputs=st.binary(max_size=5))  # type: ignore[arg-type]


def campaign(target: Target, folder: Path, said: list[str]) -> Campaign:
    ticks = itertools.count()
    return Campaign(target, seed=7, folder=folder, clock=lambda: next(ticks) * 1e-3, told=said.append)


@given(st.binary(max_size=300))
def test_an_input_that_is_kept_is_read_back_byte_by_byte(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    folder = tmp_path_factory.mktemp("corpus")
    path = corpus.keep("any", data, "because\nit \u00e9 is", folder)
    assert corpus.read(path) == data
    assert [found for _, found in corpus.kept("any", folder)] == [data]


def test_a_fault_that_is_there_is_found_kept_and_told_with_the_way_to_see_it_again(tmp_path: Path) -> None:
    said: list[str] = []
    found = campaign(BROKEN, tmp_path, said).run(2.0)
    assert len(found) == 1, "the same fault is told once"
    assert b"\r\nQUIT" in corpus.read(found[0].path)
    assert f"python -m tests.fuzz --target broken --input {found[0].path}" in said[0]
    assert fault_of(BROKEN, corpus.read(found[0].path)) == found[0].why
    assert found[0].why.startswith("AssertionError test_fuzz_campaign.py:")
    assert found[0].why.endswith(": it stops")


def test_a_fault_that_the_grammar_finds_is_made_small(tmp_path: Path) -> None:
    grammar = Target(
        name="broken", run=_run, inputs=st.binary(max_size=9).map(lambda tail: b"\r\nQUIT" + tail)
    )
    (found,) = campaign(grammar, tmp_path, []).run(0)
    assert corpus.read(found.path) == b"\r\nQUIT"


def test_an_input_that_takes_too_long_is_a_finding(tmp_path: Path) -> None:
    ticks = itertools.count()
    slow = Campaign(SOUND, seed=7, folder=tmp_path, clock=lambda: next(ticks) * 3.0, told=print)
    assert not slow.one(b"x")
    assert "slow: " in slow.findings[0].why


def test_what_is_sound_is_left_alone(tmp_path: Path) -> None:
    run = campaign(SOUND, tmp_path, [])
    assert run.run(1.0) == []
    assert run.inputs > 300
    assert list(tmp_path.iterdir()) == []


def test_the_same_seed_makes_the_same_inputs() -> None:
    pool = [b"250 ok\r\n", b"EHLO x\r\n"]
    one, other = Mutator((b"DATA",), 3), Mutator((b"DATA",), 3)
    made = [one.mutated(pool) for _ in range(200)]
    assert made == [other.mutated(pool) for _ in range(200)]
    assert len(set(made)) > 150
    assert max(map(len, made)) <= 1 << 16


def test_an_empty_pool_is_no_hindrance() -> None:
    assert any(Mutator((), 1).mutated([]) for _ in range(20))


@given(st.binary(max_size=200))
def test_pieces_make_up_the_whole_and_fields_are_as_many_as_asked_for(data: bytes) -> None:
    assert all(b"".join(pieces) == data for pieces in cuts(data))
    assert len(fields(data, 4)) == 4


def test_a_kept_input_is_run_alone_from_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    path = next((corpus.CORPUS / "client-hello").iterdir())
    assert main(["--input", str(path)]) == 0
    assert capsys.readouterr().out == f"client-hello: {path.name} breaks nothing\n"


def test_an_input_without_a_target_is_refused_with_the_remedy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--input", str(tmp_path / "x.txt")]) == 2
    assert "name one with --target" in capsys.readouterr().err
