"""An explanation as text for people, in their language. PURE.

Levels, names of groups and policies, protocols and causes stay as they are: they are what is typed and
searched for.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime

from mxseal.commands.explanation import Explanation, Message
from mxseal.tls.facts import Diagnosis, TlsFacts
from mxseal.tls.observed import day, times_text
from mxseal.tls.verification import Link, Revocation

Translate = Callable[[str], str]

TEXTS = {
    "icid": "ICID {number}: {peer} at the listener {listener}, {moment}",
    "dcid": "DCID {number}: delivery to {domain}, {moment}",
    "mid": "MID {number}: from <{sender}> to {recipients}, {moment}",
    "verified": "Encrypted and verified.",
    "encrypted": "Encrypted; nobody asked for a certificate.",
    "no-certificate": "Encrypted; the client was asked for a certificate and showed none.",
    "unverified": "Encrypted, not verified.",
    "clear": "In clear: TLS was not used.",
    "tls-failed": "TLS failed: no mail went over this connection.",
    "failed": "The connection failed before TLS.",
    "tls-not-used": "Refused: TLS is required here and was not used.",
    "ours": "we",
    "theirs": "the other side",
    "between": "whoever runs what lies between",
    "unclear": "not clear yet",
    "Outcome": "Outcome",
    "Why": "Why",
    "Remark": "Remark",
    "Who has to act": "Who has to act",
    "What was seen": "What was seen",
    "What to do": "What to do",
    "Cause": "Cause",
    "OpenSSL": "OpenSSL's reason",
    "Decision": "Decision",
    "Level": "Level",
    "Level from": "Level from",
    "Sender group": "Sender group",
    "Matched by": "Matched by",
    "Trusted": "Trusted",
    "Connection": "Connection",
    "Host": "Host",
    "Own address": "Own address",
    "Seconds": "Seconds",
    "Messages": "Messages",
    "Protocol": "Protocol",
    "Cipher": "Cipher",
    "Key exchange": "Key exchange",
    "Resumed": "Resumed",
    "Name asked for": "Name asked for",
    "Certificate of": "Certificate of",
    "Fingerprint": "Fingerprint",
    "Certificate": "Certificate",
    "Chain": "Chain",
    "Names": "Names",
    "Name matched": "Name matched",
    "Nearest name": "Nearest name",
    "Revocation": "Revocation",
    "good": "good: none of the certificates is on the lists",
    "revoked": "revoked",
    "no-list": "no list: not each certificate of the chain has a list in date",
    "Pinned key": "Pinned key",
    "Levels that it meets": "Levels that it meets",
    "issued": "{subject}, issued by {issuer}, {begin} to {end}, SHA-256 {sha256}",
    "Mail log": "Mail log",
    "yes": "yes",
    "no": "no",
    "message": "Recipients delivered: {delivered}, bounced: {bounced}.",
    "waiting": "It is still in the queue.",
    "more": "Of {count} connections the last {shown} are told.",
}
"""Key to English text; those are the keys of the catalogue."""

_PLACE = re.compile(r"\{([a-z0-9]+)\}")
_Line = tuple[str, str]
"""(label, value); a label alone is a heading."""


class Writer:
    """Writes explanations in one language, for a terminal of `width` columns."""

    def __init__(self, translate: Translate, diagnosis: Translate, width: int) -> None:
        """`translate` knows the texts of this module, `diagnosis` those of the diagnoses."""
        self._translate = translate
        self._diagnosis = diagnosis
        self._width = max(40, width)

    def text(self, key: str, **words: object) -> str:
        """One text; words come from strangers and are put in, not interpreted."""
        return _PLACE.sub(lambda place: str(words.get(place[1], place[0])), self._translate(TEXTS[key]))

    def sentences(self, found: Diagnosis) -> dict[str, str]:
        """For programs: the diagnosis in words."""
        return {
            "summary": found.tell_summary(self._diagnosis),
            "evidence": found.tell_evidence(self._diagnosis),
            "remedy": found.tell_remedy(self._diagnosis),
        }

    def connection(self, told: Explanation, lines: Sequence[str]) -> str:
        """`lines`: what the mail log has under the same number."""
        return self._page(self._title(told), [*self._why(told), *self._facts(told)], lines)

    def message(self, told: Message, lines: Sequence[str], left_out: int = 0) -> str:
        """`left_out`: connections that are not explained behind it."""
        title = self.text(
            "mid",
            number=told.mid,
            sender=told.sender,
            recipients=", ".join(told.recipients[:5]) + (", …" if len(told.recipients) > 5 else ""),
            moment=moment(told.at),
        )
        outcome = self.text("message", delivered=told.delivered, bounced=told.bounced)
        if told.waiting:
            outcome += " " + self.text("waiting")
        rows = [("Outcome", outcome)]
        if left_out:
            count = len(told.dcids) + bool(told.icid)
            rows.append(("Connection", self.text("more", count=count, shown=count - left_out)))
        return self._page(title, rows, lines)

    def _page(self, title: str, rows: Sequence[_Line], lines: Sequence[str]) -> str:
        wide = max([len(self.text(label)) for label, value in rows if value] + [0]) + 2
        out = [title, ""]
        for label, value in rows:
            if not value:
                out += ["", self.text(label)]
                continue
            head = f"{self.text(label)}:".ljust(wide)
            rest = textwrap.wrap(value, self._width - wide - 2, break_on_hyphens=False) or [""]
            out.append(f"  {head}{rest[0]}")
            out += [f"  {'':{wide}}{part}" for part in rest[1:]]
        if lines:
            out += ["", self.text("Mail log"), *(f"  {line}" for line in lines)]
        return "\n".join(out) + "\n"

    def _title(self, told: Explanation) -> str:
        place = told.place
        peer = f"{place.host} [{place.remote_ip}]" if place.host else place.remote_ip or "?"
        return self.text(
            told.kind,
            number=told.number,
            peer=peer,
            listener=place.listener or "?",
            domain=place.domain or "?",
            moment=moment(told.at),
        )

    def _why(self, told: Explanation) -> Iterator[_Line]:
        yield "Outcome", self.text(told.outcome)
        if told.remark is not None:
            yield "Remark", told.remark.sentence(self._diagnosis)
        found = told.diagnosis
        if found is None:
            return
        yield "Why", found.tell_summary(self._diagnosis)
        yield "Who has to act", self.text(found.side)
        if seen := found.tell_evidence(self._diagnosis):
            yield "What was seen", seen
        if remedy := found.tell_remedy(self._diagnosis):
            yield "What to do", remedy
        yield "Cause", found.cause
        if told.fault is not None and told.fault.reason:
            yield "OpenSSL", told.fault.reason

    def _facts(self, told: Explanation) -> Iterator[_Line]:
        decision, place = told.decision, told.place
        decided = [
            ("Level", decision.level),
            ("Level from", decision.level_from),
            ("Sender group", decision.sender_group),
            ("Matched by", decision.match),
            ("Trusted", ", ".join(decision.trust)),
        ]
        port = f" {place.port}" if place.port else ""
        where = [
            ("Host", f"{place.host} [{place.remote_ip}]{port}".strip() if place.remote_ip else place.host),
            ("Own address", place.local_ip),
            ("Seconds", times_text(told.times)),
            ("Messages", ", ".join(f"MID {mid}" for mid in told.mids[:20])),
        ]
        tls = [*self._tls(told.tls)] if told.tls is not None else []
        shown = [*self._verification(told)] if told.verification is not None else []
        if told.check is not None:
            shown = [*self._chain(told.check.chain), *self._revocation(told.check.revocation)]
        for heading, rows in (
            ("Decision", decided),
            ("Connection", where),
            ("Protocol", tls),
            ("Certificate", shown),
        ):
            filled = [row for row in rows if row[1]]
            if filled:
                yield heading, ""
                yield from filled

    def _yes(self, value: bool) -> str:
        return self.text("yes" if value else "no")

    def _tls(self, found: TlsFacts) -> Iterator[_Line]:
        yield "Protocol", found.protocol
        yield "Cipher", found.cipher
        yield "Key exchange", found.group or ""
        yield "Resumed", self._yes(found.resumed)
        yield "Name asked for", found.server_name or ""
        yield "Certificate of", found.peer_subject or ""
        yield "Fingerprint", found.peer_sha256 or ""

    def _verification(self, told: Explanation) -> Iterator[_Line]:
        found = told.verification
        assert found is not None
        yield from self._chain(found.chain)
        yield "Names", ", ".join(found.names)
        verdict = found.hosted if told.decision.level.endswith("hosted") else found.verify
        if verdict.matched:
            yield "Name matched", f"{verdict.name} ({verdict.expected})"
        elif verdict.name:
            yield "Nearest name", f"{verdict.name} ({verdict.expected})"
        yield from self._revocation(found.revocation)
        yield "Pinned key", "" if found.pinned is None else self._yes(found.pinned)
        yield "Levels that it meets", ", ".join(found.would_deliver)

    def _revocation(self, found: Revocation) -> Iterator[_Line]:
        if found != "not-checked":
            yield "Revocation", self.text(found)

    def _chain(self, chain: Sequence[Link]) -> Iterator[_Line]:
        for link in chain:
            words = {
                "subject": link.subject or "?",
                "issuer": link.issuer or "?",
                "begin": day(link.not_before),
                "end": day(link.not_after),
                "sha256": link.sha256,
            }
            yield "Chain", self.text("issued", **words)


def moment(at: float) -> str:
    """'2026-02-14 19:20:28 UTC'."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
