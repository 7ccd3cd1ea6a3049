"""Rules between the keys of receiving over TLS: levels, client certificates, versions and ciphers."""

from __future__ import annotations

from collections.abc import Iterator

from mxseal.config.model import Document, SenderGroup, TlsSettings
from mxseal.config.problem import Problem, Rule, key_path
from mxseal.tls import profiles
from mxseal.tls.ciphers import available, select
from mxseal.tls.contexts import ContextProblem
from mxseal.tls.receiving import VERIFYING


def settings(document: Document) -> tuple[tuple[profiles.Use, TlsSettings], ...]:
    """`[ssl]` by use."""
    ssl = document.ssl
    return ("gui", ssl.gui), ("inbound", ssl.inbound), ("outbound", ssl.outbound)


# --- versions and ciphers ---------------------------------------------------------------------------------


def _versions(document: Document) -> Iterator[Problem]:
    for use, values in settings(document):
        if values.protocols is None:
            continue
        path = key_path("ssl", use, "protocols")
        if not values.protocols:
            yield Problem(
                path, "no version is listed, so there would be no TLS", 'Write ["TLSv1.2", "TLSv1.3"]'
            )
            continue
        missing = profiles.gap(values.protocols)
        if missing is not None:
            yield Problem(
                path,
                f"{missing} is missing between the others, and TLS has one range of versions",
                f"Add {missing}, or leave out the versions below it",
            )


def _ciphers(document: Document) -> Iterator[Problem]:
    for use, values in settings(document):
        if values.protocols is not None and (not values.protocols or profiles.gap(values.protocols)):
            continue
        chosen = profiles.chosen(use, values.profile, values.protocols, values.ciphers)
        gone = [version for version in chosen.versions if not available(version)]
        if gone:
            yield Problem(
                key_path("ssl", use, "protocols" if values.protocols is not None else "profile"),
                f"the TLS library of this gateway can't speak {' and '.join(gone)} any more",
                "Leave it out",
            )
        try:
            suites = select(chosen.ciphers, chosen.lowest)
        except ContextProblem as problem:
            yield Problem(
                key_path("ssl", use, "ciphers"),
                str(problem).rstrip("."),
                "Try it with 'sslconfig verify', or leave it out for the profile's",
            )
            continue
        old = [version for version in chosen.versions if version in profiles.OLD_VERSIONS]
        if old and not any(suite.since == "TLSv1" for suite in suites):
            yield Problem(
                key_path("ssl", use, "ciphers"),
                f"none of these suites exists in {' or '.join(old)}, so they could never be spoken",
                "Add ECDHE+AES, or leave out the old versions",
            )


def _ciphers_without_use(document: Document) -> Iterator[Problem]:
    for use, values in settings(document):
        versions = values.protocols or profiles.PROFILES[values.profile].versions
        if values.ciphers is not None and set(versions) == {"TLSv1.3"}:
            yield Problem(
                key_path("ssl", use, "ciphers"),
                "the string has no effect: with TLS 1.3 alone the suites are fixed",
                "Leave it out, or allow TLSv1.2",
            )


# --- client certificates ----------------------------------------------------------------------------------


def _certificate_groups(document: Document) -> Iterator[Problem]:
    levels = {policy.name: policy.tls for policy in document.mail_flow_policies}
    for group in document.sender_groups:
        level = levels.get(group.policy)
        if group.certificates and level is not None and level not in VERIFYING:
            yield Problem(
                key_path("sender_groups", group.name, "certificates"),
                f"the group is for clients with a verified certificate, and its policy {group.policy!r} has "
                f"tls = {level!r}, which verifies none",
                "Set the policy's tls to preferred-verify or required-verify",
            )


def _nobody_to_verify_with(document: Document) -> Iterator[Problem]:
    trust = document.trust
    if trust.system or (trust.custom and trust.authorities):
        return
    for policy in document.mail_flow_policies:
        if policy.tls in VERIFYING:
            yield Problem(
                key_path("mail_flow_policies", policy.name, "tls"),
                f"{policy.tls} verifies client certificates, and no list of authorities is on: every "
                "certificate would be refused",
                "Set trust.system = true, or trust.custom = true with authorities",
            )


def _tls_senders(document: Document) -> Iterator[Problem]:
    if document.listeners and all(listener.implicit_tls for listener in document.listeners):
        return
    for policy in document.mail_flow_policies:
        if policy.tls_senders and policy.tls == "off":
            yield Problem(
                key_path("mail_flow_policies", policy.name, "tls_senders"),
                "these senders need TLS and the policy does not offer it, so their mail would always be "
                "refused",
                "Set the policy's tls to preferred",
            )


def _never_shown(document: Document) -> Iterator[Problem]:
    """A client begins in the group of its address. Where that offers no TLS it can show no certificate."""
    off = {policy.name for policy in document.mail_flow_policies if policy.tls == "off"}
    refusing = {policy.name for policy in document.mail_flow_policies if policy.action == "refuse"}
    implicit = any(listener.implicit_tls for listener in document.listeners)
    if document.default_policy not in (off - refusing) or implicit:
        return
    for group in document.sender_groups:
        if group.certificates and _begins_without_tls(document, group, off):
            yield Problem(
                key_path("sender_groups", group.name, "certificates"),
                "no client can show one of these certificates: it begins with the policy "
                f"{document.default_policy!r}, which offers no TLS",
                f"Set the tls of {document.default_policy!r} to preferred",
            )


def _begins_without_tls(document: Document, group: SenderGroup, off: set[str]) -> bool:
    """Whether all clients that do not belong to an earlier group begin without TLS."""
    later = document.sender_groups[document.sender_groups.index(group) :]
    return all(other.policy in off for other in later if other.members)


RULES: tuple[Rule, ...] = (
    _versions, _ciphers, _certificate_groups, _nobody_to_verify_with, _tls_senders,
)  # fmt: skip
ADVICE: tuple[Rule, ...] = (_ciphers_without_use, _never_shown)
