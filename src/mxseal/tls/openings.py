"""Why a connection ended before its TLS handshake, or went on without: stage by stage. PURE."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

from mxseal.tls import observed
from mxseal.tls.causes import CAUSES
from mxseal.tls.facts import Diagnosis, Observation, StageTimes
from mxseal.tls.policy import Condition

Stage = Literal["connect", "banner", "ehlo", "starttls", "handshake", "ehlo_again"]
Ended = Literal["timeout", "closed", "refused", "unreachable", "replied", "no-smtp"]
"""refused, unreachable: of connecting; replied: an error reply; no-smtp: what came is no reply at all."""

_CAUSES: dict[tuple[Stage, Ended], str] = {
    ("connect", "timeout"): "connect-timeout",
    ("connect", "refused"): "connect-refused",
    ("connect", "unreachable"): "connect-unreachable",
    ("banner", "timeout"): "banner-timeout",
    ("banner", "closed"): "banner-closed",
    ("banner", "replied"): "banner-refused",
    ("ehlo", "timeout"): "ehlo-timeout",
    ("ehlo", "closed"): "ehlo-closed",
    ("ehlo", "replied"): "ehlo-refused",
    ("starttls", "timeout"): "starttls-timeout",
    ("starttls", "closed"): "starttls-closed",
    ("handshake", "timeout"): "timeout",
    ("handshake", "closed"): "peer-gone",
    ("ehlo_again", "timeout"): "ehlo-timeout",
    ("ehlo_again", "closed"): "peer-closed-later",
    ("ehlo_again", "replied"): "ehlo-refused",
}
_MASKED = re.compile(r"X{3,}A?|\*{4,}", re.IGNORECASE)
"""What SMTP inspection of Cisco firewalls makes of STARTTLS: XXXXXXXA, and older ones asterisks."""
_EXTENSIONS_SHOWN = 12
"""Of an EHLO reply; servers have about ten."""
_ERRNO = {
    61: "refused",
    111: "refused",
    60: "timeout",
    110: "timeout",
    51: "unreachable",
    65: "unreachable",
    101: "unreachable",
    113: "unreachable",
}


def masked_offer(offered: Sequence[str]) -> str:
    """The line of an EHLO reply that a firewall has overwritten, '' without one."""
    return next((line for line in offered if _MASKED.fullmatch(line.strip().partition(" ")[0])), "")


def diagnose_unavailable(
    condition: Condition,
    host: str,
    *,
    reply: str = "",
    offered: Sequence[str] = (),
) -> Diagnosis:
    """Why TLS never began: one of the three conditions. `reply`: the server's answer to the command that it
    refused, with its code; `offered`: the lines of its EHLO reply behind the first."""
    cause: str = condition
    code = reply[:3] if reply[:3].isdigit() else ""
    overwritten = masked_offer(offered)
    if condition == "no-starttls" and overwritten:
        cause = "starttls-masked"
    elif condition == "starttls-refused" and code.startswith("4"):
        cause = "starttls-not-now"  # RFC 3207 §4: 454 is for the moment
    said = [Observation("it-answered", {"reply": observed.one_line(reply)})] if reply else []
    if offered:
        said.append(Observation("it-offered", {"text": observed.shown(offered, _EXTENSIONS_SHOWN)}))
    words = {"code": code, "text": observed.one_line(overwritten)}
    return _tell(cause, host, words, said)


def diagnose_stage(
    stage: Stage,
    ended: Ended | None,
    host: str,
    *,
    reply: str = "",
    reason: str = "",
    times: StageTimes | None = None,
) -> Diagnosis:
    """Why a connection to a next hop ended in `stage` for another reason than a TLS fault.

    `ended` None: it is read from `reason`, which is then as the mail log has it, such as '[Errno 61] …',
    'timeout'. `reply`: with its code, where the server gave one.
    """
    how = ended or _how(stage, reply, reason)
    cause = _CAUSES.get((stage, how))
    if how == "no-smtp":
        cause = "not-smtp"
    if cause is None:
        cause = "connect-failed" if stage == "connect" else "unexplained"
    said = [Observation("it-answered", {"reply": observed.one_line(reply)})] if reply else []
    words = {"code": reply[:3] if reply[:3].isdigit() else "", "reason": observed.one_line(reason)}
    return _tell(cause, host, words, [*said, *observed.spent(times)])


def diagnose_without_tls(*, sender: bool = False) -> Diagnosis:
    """Why a client that never asked for TLS was refused. `sender`: because of whom it sent for."""
    cause = "sender-without-tls" if sender else "starttls-not-used"
    return Diagnosis(cause=cause, side=CAUSES[cause].side, words={"who": "client"})


def _how(stage: Stage, reply: str, reason: str) -> Ended:
    if reply:
        return "replied"
    if reason.startswith("timeout"):
        return "timeout"
    number = re.match(r"\[Errno (\d+)\]", reason)
    if number is None:
        return "no-smtp" if stage in ("banner", "ehlo", "starttls") else "closed"
    known = _ERRNO.get(int(number[1][:9]))
    if stage == "connect":
        return known or "closed"  # type: ignore[return-value]
    return "timeout" if known == "timeout" else "closed"


def _tell(cause: str, host: str, words: dict[str, str], seen: Sequence[Observation]) -> Diagnosis:
    entry = CAUSES[cause]
    places = entry.summary + entry.remedy
    needed = {place: word for place, word in words.items() if word and f"{{{place}}}" in places}
    name = observed.one_line(host)
    who = {"who": "server", "host": name} if name else {"who": "server"}
    return Diagnosis(cause=cause, side=entry.side, words={**who, **needed}, seen=tuple(seen))
