"""The settings of a cluster: in which pieces a document is inherited, and what never leaves a machine.

A setting is one or more keys of the document that make sense together, such as sender groups with the
policies that they name. Each certificate is a setting of its own, by its name: a machine that has one for
itself still gets the others, and their renewals, from its cluster.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from typing import Any

from mxseal.config.model import Document, Plain
from mxseal.config.problem import Problem
from mxseal.config.toml import from_plain, render

Settings = Mapping[str, Plain]
"""By the setting's name: its keys and their values, without those that are as by default. A setting without
any key is there and empty: it is as by default, whatever the levels above say."""

MACHINE = "machine"
"""The setting that every machine has for itself."""
_TOGETHER: dict[str, tuple[str, ...]] = {
    MACHINE: ("hostname", "interfaces", "workers"),
    "senders": ("sender_groups", "mail_flow_policies", "default_policy"),
    "destinations": ("destinations", "tls_overrides"),
    "ldap": ("ldap", "ldap_profiles", "ldap_queries", "ldap_chains"),
    "logs": ("logs", "log_subscriptions"),
}
_BY_KEY = {key: name for name, keys in _TOGETHER.items() for key in keys}
_CERTIFICATES = "certificates"
_CERTIFICATE = "certificate "


def setting_of(key: str) -> str:
    """The setting that a key of the document belongs to; a key that shares nothing is one by itself."""
    return _BY_KEY.get(key, key)


def keys_of(setting: str) -> tuple[str, ...]:
    """The document's keys of a setting; none for a certificate, which is an entry of one."""
    if certificate_of(setting) is not None:
        return ()
    return _TOGETHER.get(setting, (setting,))


def certificate_setting(name: str) -> str:
    return f"{_CERTIFICATE}{name}"


def certificate_of(setting: str) -> str | None:
    """The certificate that a setting is; None for any other setting."""
    return setting.removeprefix(_CERTIFICATE) if setting.startswith(_CERTIFICATE) else None


def clusterable(setting: str) -> bool:
    """Whether groups and the cluster may have it."""
    return setting != MACHINE


def whole_settings() -> list[str]:
    """Every setting but single certificates, in the order of the document."""
    named = (setting_of(key) for key in Document.model_fields if key != _CERTIFICATES)
    return list(dict.fromkeys(named))


def split(document: Document) -> dict[str, Plain]:
    """A document in its settings. One that is as by default is left out."""
    settings: dict[str, Plain] = {}
    for key, value in tomllib.loads(render(document)).items():
        if key == _CERTIFICATES:
            settings.update({certificate_setting(entry["name"]): {_CERTIFICATES: entry} for entry in value})
        else:
            settings.setdefault(setting_of(key), {})[key] = value
    return settings


def join(settings: Settings) -> Document | list[Problem]:
    """The document of these settings, or what is wrong with its values."""
    plain: dict[str, Any] = {}
    certificates = []
    for name, value in settings.items():
        if certificate_of(name) is not None:
            certificates.append(value[_CERTIFICATES])
        else:
            plain.update(value)
    if certificates:
        plain[_CERTIFICATES] = certificates
    return from_plain(plain)
