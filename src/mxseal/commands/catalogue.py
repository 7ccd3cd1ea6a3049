"""The list of all modules with commands. A new subject is one more name here."""

from __future__ import annotations

from mxseal.commands import (
    alertconfig,
    certauthority,
    certificate_chains,
    certificate_crl,
    certificate_import,
    certificate_new,
    certificate_use,
    certificates,
    checks,
    configuration,
    destconfig,
    destination_overrides,
    explain,
    findevent,
    hostaccess,
    interfaceconfig,
    listenerconfig,
    logconfig,
    logs,
    nslookup,
    peers,
    policyconfig,
    queue,
    sendergroups,
    smtproutes,
    sshconfig,
    sslconfig,
    system,
    trackmessage,
    users,
)
from mxseal.commands.registry import Registry

MODULES = (
    certificates,
    certificate_new,
    certificate_import,
    certificate_chains,
    certificate_use,
    certauthority,
    certificate_crl,
    configuration,
    destconfig,
    destination_overrides,
    smtproutes,
    sslconfig,
    listenerconfig,
    interfaceconfig,
    policyconfig,
    sendergroups,
    hostaccess,
    alertconfig,
    queue,
    checks,
    nslookup,
    logs,
    logconfig,
    explain,
    findevent,
    trackmessage,
    peers,
    system,
    users,
    sshconfig,
)


def registry() -> Registry:
    """All commands of the gateway."""
    return Registry(MODULES)
