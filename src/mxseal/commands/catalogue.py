"""The list of all modules with commands. A new subject is one more name here."""

from __future__ import annotations

from mxseal.commands import (
    certificate_chains,
    certificate_import,
    certificate_new,
    certificate_use,
    certificates,
    configuration,
    logs,
    queue,
    system,
)
from mxseal.commands.registry import Registry

MODULES = (
    certificates,
    certificate_new,
    certificate_import,
    certificate_chains,
    certificate_use,
    configuration,
    queue,
    logs,
    system,
)


def registry() -> Registry:
    """All commands of the gateway."""
    return Registry(MODULES)
