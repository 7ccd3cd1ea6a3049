"""The TLS strip: sender, gateway, next hop, result, each with what was seen of its TLS. PURE.

Values are those of `trackmessage` and `tlspeers` for programs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from mxseal.faces.web.texts import N_, Say

_STATES: dict[str, tuple[str, str, str]] = {
    "verified": (N_("encrypted and verified"), "good", "lock-checked"),
    "encrypted": (N_("encrypted"), "good", "lock"),
    "no-certificate": (N_("encrypted, no certificate shown"), "weak", "lock"),
    "unverified": (N_("encrypted, not verified"), "weak", "lock"),
    "clear": (N_("in clear"), "bad", "lock-open"),
    "tls-failed": (N_("TLS failed"), "bad", "bad"),
    "failed": (N_("connection failed"), "bad", "bad"),
    "tls-not-used": (N_("refused: TLS was not used"), "bad", "lock-open"),
}
"""Outcome of a connection -> word, kind of badge, picture."""
RESULTS: dict[str, tuple[str, str]] = {
    "waiting": (N_("waits in the queue"), "weak"),
    "delivered": (N_("delivered"), "good"),
    "partly-delivered": (N_("partly delivered"), "weak"),
    "bounced": (N_("bounced"), "bad"),
    "deleted": (N_("deleted"), "idle"),
    "quarantined": (N_("in quarantine"), "bad"),
}
"""State of a message or recipient -> word, kind of badge."""
_STEPS: dict[str, tuple[str, str]] = {
    "delivered": (N_("delivered"), "good"),
    "delayed": (N_("delayed"), "weak"),
    "bounced": (N_("bounced"), "bad"),
    "double-bounced": (N_("bounced"), "bad"),
    "possible": (N_("perhaps delivered"), "weak"),
    "deleted": (N_("deleted"), "idle"),
}


class Cell(msgspec.Struct, frozen=True, kw_only=True):
    """One of the four; all texts are in the reader's language."""

    head: str
    name: str
    state: str
    kind: str
    """good, weak, bad, idle: of the state's badge."""
    glyph: str
    lines: tuple[str, ...] = ()
    """In small type."""


def of_message(story: Mapping[str, Any], hostname: str, speak: Say) -> list[list[Cell]]:
    """One strip for each connection to a next hop, the newest first; one without any while there is none."""
    message = story["message"]
    came = next((each for each in story["connections"] if each["kind"] == "icid"), None)
    went = [each for each in story["connections"] if each["kind"] == "dcid"]
    first = _sender(message, came, speak)
    word, kind = RESULTS[message["state"]]
    result = _plain(speak(N_("Result")), "", speak(word), kind)
    strips = []
    for each in reversed(went):
        steps = [step for step in story["steps"] if step["dcid"] == each["number"]]
        gateway = _gateway(hostname, came, each, speak)
        strips.append([first, gateway, _hop(each, speak), _outcome(steps, result, speak)])
    return strips or [[first, _gateway(hostname, came, None, speak), _no_hop(speak), result]]


def _sender(message: Mapping[str, Any], came: Mapping[str, Any] | None, speak: Say) -> Cell:
    head = speak(N_("Sender"))
    if came is None:
        own = speak(N_("this gateway itself")) if message["icid"] is None else speak(N_("not on record"))
        return _plain(head, own, speak(N_("no connection")))
    return _cell(head, came["host"] or came["ip"], came, speak)


def _gateway(
    hostname: str, came: Mapping[str, Any] | None, went: Mapping[str, Any] | None, speak: Say
) -> Cell:
    lines = [
        speak(text, level=each["level"])
        for each, text in ((came, N_("in: level {level}")), (went, N_("out: level {level}")))
        if each is not None and each["level"]
    ]
    return _plain(speak(N_("Gateway")), hostname, speak(N_("accepted")), lines=tuple(lines), glyph="ok")


def _hop(went: Mapping[str, Any], speak: Say) -> Cell:
    return _cell(speak(N_("Next hop")), went["host"] or went["domain"], went, speak)


def _no_hop(speak: Say) -> Cell:
    return _plain(speak(N_("Next hop")), "", speak(N_("no connection yet")))


def _outcome(steps: list[Mapping[str, Any]], otherwise: Cell, speak: Say) -> Cell:
    if not steps:
        return otherwise
    word, kind = _STEPS.get(steps[-1]["kind"], _STEPS["deleted"])
    count = sum(len(step["rids"]) for step in steps)
    told = speak(N_("1 recipient")) if count == 1 else speak(N_("{n} recipients"), n=count)
    return _plain(speak(N_("Result")), told, speak(word), kind)


def _cell(head: str, name: str, connection: Mapping[str, Any], speak: Say) -> Cell:
    state, kind, glyph = _STATES[connection["outcome"]]
    tls = connection["tls"] or {}
    facts = (tls.get("protocol"), tls.get("cipher"), tls.get("group"))
    lines = [each for each in facts if each]
    lines += [speak(text, **places) for text, places in _verified_by(connection["explanation"])]
    return Cell(head=head, name=name, state=speak(state), kind=kind, glyph=glyph, lines=tuple(lines))


def _verified_by(told: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, str]]]:
    """Who vouches for the certificate that was shown, and whose it is."""
    found = told.get("verification") or told.get("check") or {}
    chain = found.get("chain") or ()
    if told["outcome"] == "verified" and chain:
        yield N_("verified by {issuer}"), {"issuer": short_name(chain[-1]["issuer"])}
    elif chain:
        yield N_("certificate by {issuer}"), {"issuer": short_name(chain[0]["issuer"])}


def _plain(
    head: str, name: str, state: str, kind: str = "idle", *, lines: tuple[str, ...] = (), glyph: str = ""
) -> Cell:
    picture = glyph or {"good": "ok", "weak": "weak", "bad": "bad"}.get(kind, "idle")
    return Cell(head=head, name=name, state=state, kind=kind, glyph=picture, lines=lines)


def of_peer(peer: Mapping[str, Any], hostname: str, speak: Say) -> list[Cell]:
    """The strip of the last connection with a partner that told anything about TLS."""
    facts = peer["facts"]
    ours = _plain(speak(N_("Gateway")), hostname, speak(N_("this gateway")))
    if facts is None:
        theirs = _plain(_role(peer, speak), peer["host"] or peer["domain"], speak(N_("nothing is known")))
    else:
        theirs = _peer_cell(peer, facts, speak)
        level = (speak(N_("level {level}"), level=facts["level"]),) if facts["level"] else ()
        ours = _plain(speak(N_("Gateway")), hostname, speak(N_("this gateway")), lines=level)
    counts = peer["connections"]
    total, bad = sum(counts.values()), counts["failed"] + counts["broken"]
    told = speak(N_("{bad} of {n} connections failed"), bad=bad, n=total)
    state = speak(N_("takes mail")) if bad < total else speak(N_("nothing went over"))
    kind = "good" if not bad else "weak" if bad < total else "bad"
    result = _plain(speak(N_("Result")), told, state, kind)
    return [theirs, ours, result] if peer["direction"] == "in" else [ours, theirs, result]


def _role(peer: Mapping[str, Any], speak: Say) -> str:
    return speak(N_("Sender")) if peer["direction"] == "in" else speak(N_("Next hop"))


def state_of(facts: Mapping[str, Any]) -> tuple[str, str, str]:
    """Of a partner's last connection: word, kind of badge, picture."""
    if facts["outcome"] != "tls":
        return _STATES["clear" if facts["outcome"] == "clear" else "tls-failed"]
    if facts["trusted"] is None:
        return _STATES["encrypted"]
    matched = "matched" in (facts["names"], facts["names_hosted"]) or not facts["names"]
    return _STATES["verified" if facts["trusted"] and matched else "unverified"]


def _peer_cell(peer: Mapping[str, Any], facts: Mapping[str, Any], speak: Say) -> Cell:
    state, kind, glyph = state_of(facts)
    lines = [each for each in (facts["protocol"], facts["cipher"], facts["group"]) if each]
    if facts["issuer"]:
        text = N_("verified by {issuer}") if facts["trusted"] else N_("certificate by {issuer}")
        lines.append(speak(text, issuer=short_name(facts["issuer"])))
    return Cell(
        head=_role(peer, speak), name=peer["host"] or peer["domain"], state=speak(state), kind=kind,
        glyph=glyph, lines=tuple(lines),
    )  # fmt: skip


def short_name(subject: str) -> str:
    """The common name of an RFC 4514 subject, else all of it."""
    found = re.search(r"(?:^|,)CN=((?:[^,\\]|\\.)+)", subject)
    return re.sub(r"\\(.)", r"\1", found[1]) if found else subject
