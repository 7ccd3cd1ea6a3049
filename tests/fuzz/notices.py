"""What the gateway writes into mail out of what strangers said: the Received line, and notifications.

They are read back by Python's email package, which shares no code with what wrote them.
"""

from __future__ import annotations

import re
from email import message_from_bytes, policy

from hypothesis import strategies as st

from mxseal.mail import dsn, received
from mxseal.mail.status import of_reply
from mxseal.smtp.grammar import Flaw, mailbox
from mxseal.tls.facts import TlsFacts
from tests.fuzz.target import HOSTILE, Target, fields, of_fields, text

NOW = 1_771_096_828.0
BOUNDARY = "5e1f" * 8
_LONGEST_LINE = 998
"""RFC 5322 §2.1.1: octets of a line without its CRLF, which some servers hold others to."""
_STATUS_FIELDS = {
    "final-recipient",
    "action",
    "status",
    "remote-mta",
    "diagnostic-code",
    "last-attempt-date",
    "will-retry-until",
}


def run(data: bytes) -> None:
    options, hello, name, address, said, original = fields(data, 6)
    _trace(text(hello), text(name), _mailbox(address), text(said), utf8=b"u" in options)
    _notice(options, text(name), _mailbox(address), text(said), original)


def _mailbox(given: bytes) -> str:
    """An address that the listener would have taken, else one that it would."""
    found = mailbox(given.decode("utf-8", "replace"))
    return "user@example.com" if isinstance(found, Flaw) else found


def _trace(hello: str, name: str, recipient: str, reason: str, *, utf8: bool) -> None:
    facts = TlsFacts(
        protocol="TLSv1.3",
        cipher="TLS_AES_256_GCM_SHA384",
        bits=256,
        peer_certificates=(b"x",),
        verify_error=reason,
    )
    hop = received.Received(
        hello=hello, client_name=name or None, client_ip="2001:db8::1", hostname="mx.example.com",
        smtputf8=utf8, tls=facts, mid=7, recipient=recipient,
    )  # fmt: skip
    line = received.render(hop, NOW)
    assert _lines(line)[-1] == b""
    assert all(part[:1] in b" \t" for part in _lines(line)[1:-1]), "a second field"
    # A quoted local part keeps what is in it; everything else has no more comments and clauses than its own.
    shown = re.sub(rb'"(?:[^"\\]|\\.)*"', b"", line)
    assert shown.count(b"(") == shown.count(b")")
    assert shown.count(b";") == 1
    message = message_from_bytes(line + b"\r\nbody\r\n", policy=policy.SMTPUTF8)
    assert message.keys() == ["Received"]


def _notice(options: bytes, host: str, address: str, said: str, original: bytes) -> None:
    code = "000" if b"n" in options else "550"
    # More than a hundred recipients are told about in fewer words.
    count = 101 if b"m" in options else 1
    failed = dsn.FailedRecipient(
        address=address, status=of_reply(code, None), code=code, text=said, remote_host=host or None
    )
    report = dsn.Report(
        kind="delay" if b"d" in options else "bounce", hostname="mx.example.com", mid=9, to=address,
        recipients=(failed,) * count, arrived=NOW - 60, now=NOW, retry_until=NOW + 60, boundary=BOUNDARY,
    )  # fmt: skip
    whole = b"w" in options
    content = dsn.render(report, original, whole=whole)
    ours = (
        content.replace(original, b"", 1)
        if whole and original
        else content.partition(b"\r\nContent-Type: text/rfc822")[0]
    )
    for line in _lines(ours):
        assert len(line) <= _LONGEST_LINE, f"a line of {len(line)} octets"
        assert not re.search(rb"[\x00-\x08\x0b-\x1f\x7f]", line), "a control character in a notification"
    if BOUNDARY.encode() not in original:
        _read_back(content, count)


def _read_back(content: bytes, count: int) -> None:
    message = message_from_bytes(content, policy=policy.SMTPUTF8)
    assert message.keys() == [
        "From", "To", "Date", "Message-ID", "Subject", "Auto-Submitted", "MIME-Version", "Content-Type",
    ]  # fmt: skip
    assert message.get_content_type() == "multipart/report"
    parts = content.split(b"\r\n--" + BOUNDARY.encode())
    assert len(parts) == 5, "not three parts and an end"
    assert parts[-1] == b"--\r\n"
    groups = parts[2].partition(b"\r\n\r\n")[2].rstrip(b"\r\n").split(b"\r\n\r\n")
    assert len(groups) == 1 + count, "another recipient than those that failed"
    for group in groups[1:]:
        names = [line.partition(b":")[0].decode().lower() for line in group.split(b"\r\n")]
        assert set(names) <= _STATUS_FIELDS, f"a field that a stranger added: {names}"
        assert len(set(names)) == len(names)


def _lines(data: bytes) -> list[bytes]:
    lines = data.split(b"\r\n")
    assert not any(b"\r" in line or b"\n" in line for line in lines), "a bare line end"
    return lines


_ADDRESSES = st.one_of(
    st.sampled_from(
        [
            b"user@example.com",
            b'"a b"@example.com',
            b"\xc3\xa9@\xc3\xa9.example",
            b'">\r\n"@d.ef',
            b"a@[192.0.2.1]",
        ]
    ),
    HOSTILE.map(lambda octets: b'"' + octets.replace(b'"', b"") + b'"@example.com'),
    HOSTILE.map(lambda octets: octets + b"@example.com"),
)
_ORIGINALS = st.sampled_from(
    [
        b"Subject: x\r\n\r\nbody\r\n",
        b"\r\nbody\r\n",
        b"Subject: x\r\n",
        b"",
        b"A: b\r\n\r\n--" + BOUNDARY.encode() + b"--\r\n",
    ]
) | HOSTILE.map(
    lambda octets: b"Subject: " + octets.replace(b"\r", b"").replace(b"\n", b"") + b"\r\n\r\nbody\r\n"
)

TARGET = Target(
    name="notices",
    run=run,
    inputs=of_fields(
        st.sampled_from([b"", b"u", b"w", b"dw", b"n", b"ndm", b"m", b"uw"]),
        HOSTILE,
        HOSTILE,
        _ADDRESSES,
        HOSTILE,
        _ORIGINALS,
    ),
    words=(
        b"\r\n",
        b"\r\n\r\n",
        b"--5e1f",
        b"Final-Recipient: rfc822; x",
        b"(",
        b")",
        b";",
        b"@example.com",
        b"\xe4\xb8\x80" * 300,
    ),
)
