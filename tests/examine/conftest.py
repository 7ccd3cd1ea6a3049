"""A gateway as `tlsverify` and `testreceiver` need it: a document and a resolver, and a caller."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lab.ca import Authority
from lab.knot import Knot
from mxseal.commands.context import Role
from mxseal.examine.stages import Trust
from tests.examine.asking import Desk
from tests.examine.examining import resolver, trusting


@pytest.fixture
def trust(authority: Authority, tmp_path: Path) -> Trust:
    return trusting(authority, tmp_path)


@pytest.fixture
def desk(knot: Callable[..., Knot], authority: Authority, tmp_path: Path) -> Callable[..., Desk]:
    """`desk({"lab.test": "@ MX 10 mx"}, role="operator")`: commands against a gateway with these zones."""

    def make(
        zones: dict[str, str], *, role: Role = "administrator", local: bool = True, **document: Any
    ) -> Desk:
        roots = tmp_path / "roots.pem"
        roots.write_bytes(authority.pem)
        server = knot(zones)
        plain = {"hostname": "gw.lab.test", "delivery": {"ca_file": str(roots)}} | document
        return Desk(resolver(server.port, allow_local=local), plain, role)

    return make
