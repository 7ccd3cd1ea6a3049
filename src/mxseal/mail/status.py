"""Enhanced status codes (RFC 3463) in the mail log's words, and the status of a reply that has none. PURE."""

from __future__ import annotations

_WORDS = {
    "0.0": "Undefined status",
    "1.0": "Unknown address error",
    "1.1": "Bad destination email address",
    "1.2": "Bad destination host",
    "1.3": "Bad destination email address syntax",
    "1.10": "Destination takes no mail",
    "2.0": "Other mailbox problem",
    "2.1": "Mailbox disabled",
    "2.2": "Mailbox full",
    "2.3": "Message too long for the mailbox",
    "3.0": "Other mail system problem",
    "3.1": "Mail system full",
    "3.2": "Not accepting messages at this time",
    "3.4": "Message too large",
    "4.0": "Other network problem",
    "4.1": "No answer from host",
    "4.2": "Bad connection",
    "4.3": "Directory server failure",
    "4.4": "Unable to route",
    "4.5": "Mail system congestion",
    "4.6": "Routing loop detected",
    "4.7": "Delivery expired (message too old)",
    "5.0": "Other protocol problem",
    "5.3": "Too many recipients",
    "6.0": "Other content problem",
    "6.7": "Address needs SMTPUTF8",
    "7.0": "Other security problem",
    "7.1": "Delivery not authorized",
    "7.4": "Security features not supported",
    "7.5": "Cryptographic failure",
}
_BY_CODE = {
    "421": "4.3.2",
    "450": "4.2.0",
    "452": "4.3.1",
    "550": "5.1.0",
    "551": "5.1.6",
    "552": "5.2.2",
    "553": "5.1.3",
    "000": "4.4.0",
}


def words(status: str) -> str:
    """What a status is called, e.g. '5.1.0' -> 'Unknown address error'."""
    subject_detail = status.partition(".")[2]
    subject = subject_detail.partition(".")[0]
    return _WORDS.get(subject_detail) or _WORDS.get(f"{subject}.0") or _WORDS["0.0"]


def of_reply(code: str, enhanced: str | None) -> str:
    """The reply's own status where it agrees with the code (RFC 2034 §3), else the code's usual one."""
    if enhanced is not None and enhanced[0] == code[0]:
        return enhanced
    return _BY_CODE.get(code) or f"{'5' if code.startswith('5') else '4'}.3.0"
