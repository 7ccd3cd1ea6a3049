"""Which authorities a chain is checked against: those of the lists that are enabled, as in a delivery."""

from __future__ import annotations

from pathlib import Path

import pytest

from mxseal.commands.certificate_trust import trusted
from mxseal.config.model import Authority, Delivery, Document, Trust
from tests.certs.authority import authority, cert_pem

OWN = authority("Own Root", None).certificate
SYSTEM = authority("System Root", None).certificate


@pytest.mark.parametrize(
    ("system", "custom", "wanted"),
    [(True, False, [SYSTEM]), (False, True, [OWN]), (True, True, [OWN, SYSTEM]), (False, False, None)],
)
async def test_an_enabled_list_counts_and_another_does_not(
    tmp_path: Path, system: bool, custom: bool, wanted: object
) -> None:
    file = tmp_path / "system.pem"
    file.write_bytes(cert_pem(SYSTEM))
    listed = (Authority(name="own", certificate=cert_pem(OWN).decode()),)
    document = Document(
        delivery=Delivery(ca_file=str(file)), trust=Trust(system=system, custom=custom, authorities=listed)
    )
    assert await trusted(document) == wanted
