"""What is wrong, as sentences with a link each, the worst first: what the overview begins with. PURE.

Values are those of commands for programs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

import msgspec

from mxseal.faces.web.texts import N_, Say

RENEW, URGENT = 30, 14
"""Days that a certificate has left."""
_MOST_CAUSES = 6
_MOST_NAMES = 3
ALERT_SECONDS = 86_400.0


class Trouble(msgspec.Struct, frozen=True):
    """`kind`: bad, weak. `at`: when it was seen last, seconds since the epoch."""

    kind: str
    text: str
    advice: str
    link: str
    at: float | None = None
    code: str = ""
    """The identifier of the cause, for searching."""


def worst_first(found: Iterable[Trouble]) -> list[Trouble]:
    return sorted(found, key=lambda each: each.kind != "bad")


def of_certificates(found: Sequence[Mapping[str, Any]], speak: Say) -> Iterator[Trouble]:
    """Those in use that run out, and the demonstration certificate where it is in use."""
    for facts in found:
        name, left = facts["name"], facts.get("days_left")
        if not facts["uses"]:
            continue
        link = f"/certificates/{quote(name, safe='')}"
        renew = speak(N_("Renew it and put the new one in."))
        if left is not None and left < 0:
            yield Trouble("bad", speak(N_("The certificate {name} has expired."), name=name), renew, link)
        elif left is not None and left < RENEW:
            kind = "bad" if left < URGENT else "weak"
            text = N_("The certificate {name} expires within a day.") if left < 1 else _EXPIRES
            yield Trouble(kind, speak(text, name=name, n=left), renew, link)
        elif name.lower() == "demo":
            text = speak(N_("The demonstration certificate is in use: peers can't verify it."))
            advice = speak(N_("Make one of your own, have it signed, and assign it."))
            yield Trouble("weak", text, advice, "/certificates/new")


_EXPIRES = N_("The certificate {name} expires in {n} days.")


def of_partners(report: Mapping[str, Any], speak: Say) -> Iterator[Trouble]:
    """Those with whom TLS failed in the time of the report, by cause."""
    by_cause: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for each in report["partners"]:
        if each["required_failed"] or each["preferred_failed"]:
            by_cause.setdefault((each["direction"], each["cause"]), []).append(each)
    for (side, cause), partners in list(by_cause.items())[:_MOST_CAUSES]:
        names = ", ".join(each["domain"] for each in partners[:_MOST_NAMES])
        if more := len(partners) - _MOST_NAMES:
            names = speak(N_("{names} and {n} more"), names=names, n=more) if more > 0 else names
        waits = any(each["required_failed"] for each in partners)
        text = {
            ("out", True): N_("TLS to {names} fails, and mail waits."),
            ("out", False): N_("TLS to {names} fails."),
            ("in", True): N_("TLS from {names} fails, and their mail is not taken."),
            ("in", False): N_("TLS from {names} fails."),
        }[side, waits]
        last = max(partners, key=lambda each: each["failed_at"] or 0)
        link = f"/partners/{quote(last['domain'], safe='')}"
        yield Trouble(
            "bad" if waits else "weak",
            speak(text, names=names),
            last["reason"],
            link,
            last["failed_at"],
            cause,
        )


def of_hosts(rows: Sequence[Sequence[Any]], speak: Say, *, cut: bool = False) -> Iterator[Trouble]:
    """Destinations that did not answer at the last attempt and that mail waits for. Rows of `tophosts`.
    `cut`: more may wait than was counted."""
    for name, _level, waiting, *_ in rows:
        if name.startswith("*") and (waiting or cut):
            domain = name.removeprefix("*")
            one = N_("{domain} does not answer: 1 recipient waits.")
            text = one if waiting == 1 else N_("{domain} does not answer: {n} recipients wait.")
            if cut:
                text = N_("{domain} does not answer, and the queue is long.")
            advice = speak(N_("See what its hosts say, then deliver again."))
            link = f"/queue/host/{quote(domain, safe='')}"
            yield Trouble("weak", speak(text, domain=domain, n=waiting), advice, link)


def of_alerts(found: Sequence[Mapping[str, Any]], now: float) -> Iterator[Trouble]:
    """The last ones of a day that are more than news; each title once."""
    seen: set[str] = set()
    for each in reversed(found):
        if each["severity"] in ("critical", "warning") and now - each["at"] < ALERT_SECONDS:
            if each["title"] in seen:
                continue
            seen.add(each["title"])
            kind = "bad" if each["severity"] == "critical" else "weak"
            yield Trouble(kind, each["title"], "", "/system/alerts", each["at"], each["kind"])
