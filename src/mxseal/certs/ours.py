"""What this gateway offers in a handshake, for the explanation of those that fail."""

from __future__ import annotations

from typing import cast

from mxseal.certs.chain import check_chain
from mxseal.certs.facts import key_type, self_signed
from mxseal.certs.profiles import parse
from mxseal.certs.x509 import Bundle
from mxseal.config.model import Document, Listener, TlsSettings
from mxseal.tls import profiles
from mxseal.tls.diagnosis import KeyType, OurSettings

_REPAIRED = frozenset(
    (
        "duplicate-intermediate",
        "leaf-among-intermediates",
        "same-subject-other-key",
        "same-subject-same-key",
        "superfluous-root",
        "unrelated",
        "wrong-order",
    )
)
"""Faults of a stored chain that no peer sees where exactly the path is sent."""


def listener_offer(document: Document, listener: Listener, now: float) -> OurSettings:
    """Of a listener in a document. `now`: seconds since the epoch."""
    found = [_bundle(document, name) for name in (listener.certificate, listener.second_certificate) if name]
    bundles = [bundle for bundle in found if bundle is not None]
    first = found[0] if found else None
    return OurSettings(
        versions=_versions("inbound", document.ssl.inbound),
        key_types=tuple(cast("KeyType", key_type(bundle.leaf)) for bundle in bundles),
        certificate=listener.certificate,
        demonstration=listener.certificate == "Demo",
        chain_faults=_faults(document, listener.certificate, first, now) if first is not None else (),
    )


def delivery_offer(document: Document, now: float) -> OurSettings:
    """Of deliveries; key types only where a client certificate is shown."""
    return client_offer(document, document.delivery.certificate, now)


def directory_offer(document: Document, now: float) -> OurSettings:
    """Of connections to directories."""
    return client_offer(document, document.ldap.certificate, now)


def client_offer(document: Document, name: str | None, now: float) -> OurSettings:
    """As a client of a server, with the certificate of the profile called `name`, if any."""
    bundle = _bundle(document, name) if name else None
    return OurSettings(
        versions=_versions("outbound", document.ssl.outbound),
        key_types=(cast("KeyType", key_type(bundle.leaf)),) if bundle is not None else (),
        groups=(),
        certificate=name or "",
        demonstration=name == "Demo",
        chain_faults=_faults(document, name, bundle, now) if bundle is not None and name else (),
    )


def _versions(use: profiles.Use, settings: TlsSettings) -> tuple[str, ...]:
    return profiles.chosen(use, settings.profile, settings.protocols, settings.ciphers).versions


def _bundle(document: Document, name: str) -> Bundle | None:
    profile = document.certificate(name)
    parsed = parse(profile) if profile is not None else None
    return parsed if isinstance(parsed, Bundle) else None


def _faults(document: Document, name: str, bundle: Bundle, now: float) -> tuple[str, ...]:
    """Codes of what peers see of it."""
    codes = [problem.code for problem in check_chain(bundle.leaf, bundle.intermediates, now)]
    profile = document.certificate(name)
    if profile is not None and profile.send_exact_path:
        codes = [code for code in codes if code not in _REPAIRED]
    return ("self-signed", *codes) if self_signed(bundle.leaf) else tuple(codes)
