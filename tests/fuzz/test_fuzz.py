"""Each target with its kept inputs and a bounded number of new ones; `make fuzz` is the long form by hand."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mxseal.relay.resolver import Host
from tests.fuzz import corpus, dns_answers
from tests.fuzz.targets import TARGETS

EXAMPLES = {
    "smtp-server": 150,
    "smtp-client": 150,
    "message": 120,
    "client-hello": 250,
    "certificates": 150,
    "configuration": 90,
    "dns-answers": 80,
    "icap-answers": 80,
    "ldap-answers": 100,
    "local-face": 100,
    "mail-log": 150,
    "notices": 100,
    "server-hello": 150,
    "threatgrid-answers": 60,
}
"""Together some 15 seconds."""


@pytest.mark.parametrize("name", TARGETS)
def test_no_kept_input_breaks_what_is_promised(name: str) -> None:
    kept = list(corpus.kept(name))
    assert kept, "a target without a corpus"
    for file, data in kept:
        try:
            TARGETS[name].run(data)
        except Exception as fault:
            fault.add_note(f"python -m tests.fuzz --target {name} --input {corpus.CORPUS / name / file}")
            raise
    for seed in TARGETS[name].seeds():
        TARGETS[name].run(seed)


@pytest.mark.parametrize("name", TARGETS)
def test_no_input_in_the_shape_of_what_is_read_breaks_what_is_promised(name: str) -> None:
    target = TARGETS[name]

    @settings(
        max_examples=EXAMPLES[name], suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
    )
    @given(target.inputs)
    def examine(data: bytes) -> None:
        target.run(data)

    examine()


@pytest.mark.parametrize("name", TARGETS)
@settings(max_examples=40)
@given(data=st.binary(max_size=300))
def test_no_input_without_any_shape_breaks_what_is_promised(name: str, data: bytes) -> None:
    TARGETS[name].run(data)


def test_the_name_server_that_is_not_there_is_understood_by_the_resolver() -> None:
    kept = dict(corpus.kept("dns-answers"))
    found = dns_answers.way(kept["exchanger.hex"])
    assert found == (Host("mx.example.com", 25, ("192.0.2.1",)),)
    most = dns_answers.way(kept["many.hex"])
    assert isinstance(most, tuple)
    assert (len(most), len(most[0].addresses)) == (20, 10)
    assert getattr(dns_answers.way(kept["null-mx.hex"]), "status", "") == "5.1.10"


def test_every_folder_of_the_corpus_is_of_a_target_and_every_file_can_be_read() -> None:
    folders = [folder for folder in corpus.CORPUS.iterdir() if folder.is_dir()]
    assert {folder.name for folder in folders} == set(TARGETS) == set(EXAMPLES)
    for folder in folders:
        for path in folder.iterdir():
            assert path.suffix in {".txt", ".hex"}
            assert path.read_text("ascii").startswith("# "), f"{path.name} does not say why it is kept"
            assert b"PRIVATE KEY-----\nM" not in corpus.read(path), f"{path.name} holds a private key"
            assert path.stat().st_size < 20_000
