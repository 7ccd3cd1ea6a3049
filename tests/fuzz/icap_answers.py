"""What an ICAP server sends: reading it must never break, never keep more than its bounds, and never take for
a verdict what is none."""

from __future__ import annotations

from hypothesis import strategies as st

from mxseal.analysis.icap import Finding, Place, Service, finding, options, scan, service_of
from mxseal.analysis.samples import item
from tests.fuzz.target import HOSTILE, Target, cuts, joined, one_safe_line

_PLACE = Place("icap.example.com", 1344, "avscan")
_FILE = item("a.txt", "text/plain", b"the content of a file, " * 9)
_BOUND = 64 * 1024 + 16


def run(data: bytes) -> None:
    whole = _heard([data])
    for pieces in cuts(data):
        # Behind a 100 it counts whether the rest had been sent when an answer came.
        assert _heard(pieces) == whole or b" 100" in data, "what is heard hangs on how it is cut"


def _heard(pieces: list[bytes]) -> list[str]:
    """What an answer to OPTIONS, and one to a scan with and without a preview, are taken for."""
    told: list[str] = []
    exchanges = [options(_PLACE)]
    exchanges += [scan(_PLACE, Service("RESPMOD", preview, "", ""), _FILE) for preview in (None, 8)]
    for number, exchange in enumerate(exchanges):
        sent = b"".join(iter(exchange.output, b""))
        for piece in pieces:
            exchange.receive(piece)
            sent += b"".join(iter(exchange.output, b""))
            kept = len(exchange._reading._rest)
            assert kept <= _BOUND + len(piece), "more is kept than a head"
        exchange.eof()
        assert exchange.done
        if exchange.fault is not None:
            assert one_safe_line(exchange.fault)
            assert not exchange.reusable
            told.append("fault")
            continue
        if number == 0:
            service = service_of(exchange.answer)
            assert one_safe_line(service.name if isinstance(service, Service) else service.text)
            told.append(repr(service))
            continue
        found = finding(exchange)
        if isinstance(found, Finding):
            assert one_safe_line(found.threat)
            if found.disposition == "clean":
                assert _FILE.content[-20:] in sent, "called clean without having seen it"
        else:
            assert one_safe_line(found.text)
        told.append(repr(found))
    return told


_STATUS = st.sampled_from([
    b"ICAP/1.0 200 OK", b"ICAP/1.0 204 Unmodified", b"ICAP/1.0 100 Continue", b"ICAP/1.0 404 No",
    b"ICAP/1.0 500", b"ICAP/1.0 200", b"HTTP/1.1 200 OK",
])  # fmt: skip
_HEADER = st.sampled_from([
    b"Encapsulated: res-hdr=0, res-body=19", b"Encapsulated: null-body=0", b"Encapsulated: res-body=0",
    b"Encapsulated: res-hdr=0, null-body=19", b"Encapsulated: opt-body=0", b"Encapsulated: res-body=999999",
    b"Methods: RESPMOD, REQMOD", b"Methods: REQMOD", b"Preview: 1024", b"Preview: -1", b"Connection: close",
    b"X-Infection-Found: Type=0; Resolution=2; Threat=Bad;", b"X-Virus-ID: Bad", b"ISTag: \"x\"",
    b"X-Violations-Found: 1\r\n\t-\r\n\tBad\r\n\t0\r\n\t0", b"X-Violations-Found: 0",
]) | HOSTILE.map(lambda x: b"X: " + x[:90])  # fmt: skip
_HEAD = st.tuples(_STATUS, st.lists(_HEADER, max_size=4)).map(lambda h: b"\r\n".join([h[0], *h[1], b"", b""]))
_INNER = st.sampled_from([b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 403 No\r\n\r\n", b"HTTP/1.1 200 OK\n\n\n\n"])
_CHUNK = st.binary(max_size=20).map(lambda c: b"%x\r\n%b\r\n" % (len(c), c))
_BODY = st.sampled_from([
    b"%x\r\n%b\r\n0\r\n\r\n" % (_FILE.size, _FILE.content), b"0\r\n\r\n", b"ffffffff\r\n",
    b"5;x=y\r\nabcde\r\n",
])  # fmt: skip
TARGET = Target(
    name="icap-answers",
    run=run,
    inputs=joined(_HEAD | _HEAD | _INNER | _CHUNK | _BODY | st.binary(max_size=8), 8),
    words=(b"ICAP/1.0 200 OK\r\n", b"\r\n\r\n", b"Encapsulated: res-hdr=0, res-body=19\r\n", b"0\r\n\r\n"),
)
