"""Rules for servers that analyse files."""

from __future__ import annotations

from collections.abc import Iterator

from mxseal.config.model import Document
from mxseal.config.problem import Problem, Rule, key_path

_TABLE = "analysis_servers"


def _names(document: Document) -> Iterator[Problem]:
    taken: set[str] = set()
    for server in document.analysis_servers:
        if server.name.lower() in taken:
            path = key_path(_TABLE, server.name)
            yield Problem(path, "this name is used twice", "Give each entry a name of its own")
        taken.add(server.name.lower())


def _keys(document: Document) -> Iterator[Problem]:
    for server in document.analysis_servers:
        if server.kind == "icap":
            continue
        if server.api_key is None:
            yield Problem(
                key_path(_TABLE, server.name, "api_key"),
                "the API key is missing",
                f"Set it with 'ampconfig edit \"{server.name}\" --api-key'",
            )
        if server.security == "none":
            yield Problem(
                key_path(_TABLE, server.name, "security"),
                "without TLS the API key and the files go over the network in clear",
                "Set it to tls",
            )


def _certificates(document: Document) -> Iterator[Problem]:
    known = {entry.name for entry in document.certificates}
    for server in document.analysis_servers:
        if server.certificate is not None and server.certificate not in known:
            listed = f"Known are: {', '.join(sorted(known))}" if known else "There are none yet"
            path = key_path(_TABLE, server.name, "certificate")
            yield Problem(path, f"there is no certificate called {server.certificate!r}", listed)


def _anchors(document: Document) -> Iterator[Problem]:
    trust = document.trust
    if trust.system or (trust.custom and trust.authorities):
        return
    for server in document.analysis_servers:
        if server.security == "tls" and server.verify and server.authority is None:
            yield Problem(
                key_path(_TABLE, server.name, "verify"),
                "the certificate is to be verified, and no list of authorities is enabled",
                "Give it an authority ('ampconfig edit --authority FILE'), or enable a list in [trust]",
            )


def _weak(document: Document) -> Iterator[Problem]:
    for server in document.analysis_servers:
        if server.security == "none" and server.host not in ("127.0.0.1", "::1", "localhost"):
            path = key_path(_TABLE, server.name, "security")
            text = "everybody on the way to the server reads the files and can answer in its place"
            yield Problem(path, text, "Set it to tls")
        elif server.security == "tls" and not server.verify:
            path = key_path(_TABLE, server.name, "verify")
            text = "anybody between here and the server can answer in its place"
            yield Problem(path, text, "Give the server its authority with 'ampconfig edit --authority FILE'")


RULES: tuple[Rule, ...] = (_names, _keys, _certificates, _anchors)
ADVICE: tuple[Rule, ...] = (_weak,)
