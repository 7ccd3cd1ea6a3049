"""Chains of every make: our verdict beside that of the openssl command and that of Postfix."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import msgspec
import pytest

from lab import Unavailable
from lab.place import folder_for
from tests.chains.chains_table import CHAINS, KEYS, POSTFIX_LEVEL
from tests.chains.estate import Estate, Row, Sent
from tests.chains.making import pem
from tests.chains.names_table import NAMES
from tests.chains.verdicts import (
    Deliveries,
    Files,
    Ours,
    Said,
    openssl_verdicts,
    postfix_verdicts,
)

# A serial that is not above zero is read with a warning.
pytestmark = pytest.mark.filterwarnings("ignore:Parsed a serial number:UserWarning")

ROWS: Mapping[str, Row] = CHAINS | NAMES
OURS_LEVEL, POSTFIX_SECURITY_LEVEL = 2, 1
"""Of OpenSSL: 112 and 80 bits."""


class Made(msgspec.Struct, frozen=True):
    """All chains on disk, and the authorities that every judge trusts."""

    estate: Estate
    sent: Mapping[str, Sent]
    files: Mapping[str, tuple[Files, str]]
    """With the host that the certificate ought to be for."""
    trust: Path


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder, estate = tmp_path_factory.mktemp("chains"), Estate()
    sent = {name: row.make(estate) for name, row in ROWS.items()}
    trust = folder / "roots.pem"
    trust.write_bytes(b"".join(pem(each.der) for each in estate.trusted))
    files = {
        name: (Files.write(folder / f"{at:03d}", chain), ROWS[name].host)
        for at, (name, chain) in enumerate(sent.items())
    }
    return Made(estate, sent, files, trust)


def differing(said: Mapping[str, Said], expected: Mapping[str, str]) -> dict[str, tuple[str, Said]]:
    """(expected, said) where that is not the same: shown when a test fails."""
    return {name: (word, said[name]) for name, word in expected.items() if said[name].word != word}


def test_the_table_has_more_than_sixty_chains_and_explains_every_difference() -> None:
    assert len(ROWS) == len(CHAINS) + len(NAMES) >= 60
    for name, row in ROWS.items():
        others = {word for word in (row.verify, row.openssl, row.postfix) if word is not None}
        assert bool(others) == bool(row.why), name
        assert row.ours not in others, name


async def test_a_delivery_judges_chain_and_name_as_the_table_says(made: Made) -> None:
    deliveries = Deliveries(made.trust)
    found: dict[str, Ours] = {
        name: await deliveries.verdict(files, host) for name, (files, host) in made.files.items()
    }
    hosted = {name: each.hosted for name, each in found.items()}
    verify = {name: each.verify for name, each in found.items()}
    assert not differing(hosted, {name: row.ours for name, row in ROWS.items()})
    assert not differing(verify, {name: row.verify or row.ours for name, row in ROWS.items()})
    for name, row in ROWS.items():
        reason = row.fault or ("" if row.named else "hostname mismatch")
        assert (name, hosted[name].reason) == (name, reason)
        assert (name, found[name].cause) == (name, row.explained_as)


def test_the_openssl_command_says_the_same_but_for_what_the_table_explains(made: Made) -> None:
    said = openssl_verdicts(made.files, made.trust, OURS_LEVEL)
    assert not differing(said, {name: row.openssl or row.ours for name, row in ROWS.items()})
    for name, row in ROWS.items():
        assert said[name].word != "untrusted" or (name, said[name].reason) == (name, row.fault)


def test_postfix_says_the_same_but_for_what_the_table_explains(made: Made) -> None:
    try:
        with folder_for("chains") as folder:
            said = postfix_verdicts(made.files, made.trust, folder)
    except Unavailable as reason:
        if os.environ.get("MXSEAL_LAB") == "required":
            raise
        pytest.skip(str(reason))
    assert not differing(said, {name: row.postfix or row.ours for name, row in ROWS.items()})


def test_what_postfix_alone_believes_is_believed_at_its_security_level(made: Made) -> None:
    weak = {name: row for name, row in ROWS.items() if row.why == POSTFIX_LEVEL}
    assert len(weak) == 3
    said = openssl_verdicts({name: made.files[name] for name in weak}, made.trust, POSTFIX_SECURITY_LEVEL)
    assert not differing(said, dict.fromkeys(weak, "verified"))


@pytest.mark.parametrize("where", ["TLS 1.0 is allowed", "the destination has trust anchors"])
async def test_weak_keys_and_signatures_are_refused_also_where(where: str, made: Made) -> None:
    """OpenSSL speaks TLS 1.0 at security level 0 only, and outside a handshake it has none."""
    if where == "TLS 1.0 is allowed":
        deliveries = Deliveries(made.trust, ssl={"outbound": {"profile": "old"}})
    else:
        deliveries = Deliveries(made.trust, made.estate.trusted)
    for name, row in KEYS.items():
        ours = await deliveries.verdict(*made.files[name])
        assert (name, ours.hosted) == (name, Said(row.ours, row.fault))


async def test_an_unknown_root_is_named_and_not_the_known_one_that_signed_its_twin(made: Made) -> None:
    name = "unknown root sent before its cross-signed twin"
    ours = await Deliveries(made.trust).verdict(*made.files[name])
    assert "ends at the authority CN=New Root" in ours.summary
    assert "Chain Root" not in ours.summary


async def test_an_authority_out_of_date_is_blamed_and_not_the_server(made: Made) -> None:
    ours = await Deliveries(made.trust).verdict(*made.files["root expired"])
    assert "CN=Expired Root" in ours.summary
    assert "certificate has expired" in ours.summary
