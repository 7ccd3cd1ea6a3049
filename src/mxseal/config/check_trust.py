"""Rules between the keys of `[trust]`: authorities, and sources of lists of revoked certificates."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

from mxseal.config.model import CrlSource, Document
from mxseal.config.problem import Problem, Rule, key_path


def url_fault(url: str) -> str | None:
    """What keeps a list from being fetched at `url`; None: nothing."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        return f"{url!r} is not a URL: {error}"
    if parts.scheme not in ("http", "https") or not host:
        return f"{url!r} is not an http:// or https:// address"
    if parts.username is not None or parts.password is not None:
        return "a user or password in a URL would stand in the document for all to read"
    if not url.isascii() or not url.isprintable() or " " in url:
        return f"{url!r} has characters that a URL can't have, write them as %XX"
    return None


def _source_names(document: Document) -> Iterator[Problem]:
    seen: set[str] = set()
    for index, source in enumerate(document.trust.crl_sources):
        if source.name.lower() in seen:
            yield Problem(
                key_path("trust", "crl_sources", index, "name"),
                f"the name {source.name!r} is used twice",
                "Give each source a name of its own",
            )
        seen.add(source.name.lower())


def _source_urls(document: Document) -> Iterator[Problem]:
    for source in document.trust.crl_sources:
        for key, url in _urls(source):
            fault = url_fault(url)
            if fault is not None:
                path = key_path("trust", "crl_sources", source.name, key)
                yield Problem(path, fault, "Write one such as http://crl.example.com/ca.crl")


def _urls(source: CrlSource) -> Iterator[tuple[str, str]]:
    yield "url", source.url
    if source.secondary_url is not None:
        yield "secondary_url", source.secondary_url


def _checks_without_lists(document: Document) -> Iterator[Problem]:
    trust = document.trust
    if any(source.enabled for source in trust.crl_sources):
        return
    for key in ("crl_inbound", "crl_outbound"):
        if getattr(trust, key):
            yield Problem(
                key_path("trust", key),
                "there is no source that is switched on, so every certificate has no list",
                "Add one with 'certconfig crl new', or switch the check off",
            )


def _lists_without_checks(document: Document) -> Iterator[Problem]:
    trust = document.trust
    if trust.crl_inbound or trust.crl_outbound or not any(source.enabled for source in trust.crl_sources):
        return
    yield Problem(
        "trust.crl_sources",
        "the lists are fetched and not used",
        "Set trust.crl_outbound or trust.crl_inbound ('certconfig crl setup')",
    )


def _custom_list_off(document: Document) -> Iterator[Problem]:
    trust = document.trust
    used = {name for entry in document.destinations for name in entry.trust_anchors}
    used |= {name for entry in document.interfaces for name in entry.client_authorities}
    idle = [entry.name for entry in trust.authorities if entry.name not in used]
    if not trust.custom and idle:
        yield Problem(
            "trust.custom",
            f"the custom list is not enabled, so {', '.join(idle[:3])}{', …' if idle[3:] else ''} "
            f"{'count' if idle[1:] else 'counts'} for nothing",
            "Enable it with 'certconfig certauthority custom enable'",
        )


RULES: tuple[Rule, ...] = (_source_names, _source_urls)
ADVICE: tuple[Rule, ...] = (_checks_without_lists, _lists_without_checks, _custom_list_off)
