"""From a cause's text and its parameters to a sentence, in the reader's language. PURE."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

import msgspec

Side = Literal["ours", "theirs", "between", "unclear"]
"""Who has to act: this gateway's administrator, the peer's, whoever runs what lies between; or not known."""


class Cause(msgspec.Struct, frozen=True):
    """Whose turn it is, and the two sentences."""

    side: Side
    summary: str
    remedy: str


PLACES = {
    "alert": "the alert's name, as RFC 8446 has it",
    "authority": "subject of a certificate authority",
    "certificate": "our certificate, by the name of its profile",
    "code": "an SMTP reply code",
    "count": "a number",
    "date": "a date, YYYY-MM-DD",
    "domain": "the domain that mail goes to",
    "groups": "key exchange groups",
    "issuer": "issuer of a certificate",
    "key": "a key's type and size",
    "keys": "key types of our certificates",
    "name": "a host name",
    "names": "names in a certificate",
    "others": "further certificates of a chain",
    "ours": "TLS versions that are allowed here",
    "peer": "the other side, within a sentence",
    "Peer": "the other side, at the beginning of a sentence",
    "reason": "what OpenSSL or the system said",
    "reply": "an SMTP reply",
    "seconds": "a time in seconds",
    "sha256": "a fingerprint",
    "signature": "a signature's algorithm",
    "signatures": "signature algorithms",
    "subject": "subject of a certificate",
    "suites": "cipher suites",
    "text": "what was sent, made printable",
    "times": "a time for each stage",
    "trust": "the lists of authorities",
    "usage": "what a certificate may be used for",
    "versions": "TLS versions",
    "wanted": "names that would have been accepted",
    "where": "an address from which a certificate can be had",
}
"""What can stand in braces, for translators and tests."""

PHRASES = {
    "client": ("The client", "the client"),
    "server": ("The server", "the server"),
    "server-named": ("The server {host}", "the server {host}"),
    "no-profile": ("our certificate", "the certificate {profile}"),
    "nothing": ("nothing known", "no reason given"),
}
"""Parts of sentences that need translating themselves."""

Translate = Callable[[str], str]


def fill(text: str, words: Mapping[str, str], translate: Translate = str) -> str:
    """`text` with its places filled. A place without a word is told as not known: never an exception, since
    records of another release have other words."""
    return text.format_map(_Places(words, translate)) if "{" in text else text


class _Places(dict[str, str]):
    """What stands for each place."""

    def __init__(self, words: Mapping[str, str], translate: Translate) -> None:
        super().__init__()
        self._words = words
        self._translate = translate

    def __missing__(self, place: str) -> str:
        words, translate = self._words, self._translate
        if place in ("Peer", "peer"):
            return self._peer(0 if place == "Peer" else 1)
        if place == "certificate":
            profile = words.get("profile", "")
            phrase = translate(PHRASES["no-profile"][1 if profile else 0])
            return phrase.replace("{profile}", profile)
        if place == "reason":
            return words.get(place) or translate(PHRASES["nothing"][1])
        return words.get(place) or translate(PHRASES["nothing"][0])

    def _peer(self, within: int) -> str:
        who, host = self._words.get("who", ""), self._words.get("host", "")
        if who == "client":
            return self._translate(PHRASES["client"][within])
        phrase = self._translate(PHRASES["server-named" if host else "server"][within])
        # Not `format`: a host name comes from a stranger and may hold braces.
        return phrase.replace("{host}", host)
