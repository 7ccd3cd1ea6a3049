"""What an appliance sends: HTTP and JSON of any shape are an answer or a fault, within bounds."""

from __future__ import annotations

from hypothesis import strategies as st

from mxseal.analysis import threatgrid
from mxseal.analysis.http import LONGEST, HttpExchange, Response
from mxseal.analysis.samples import item
from mxseal.analysis.threatgrid import Access, Refusal, Sample
from tests.fuzz.target import HOSTILE, Target, cuts, joined, one_safe_line

_ACCESS = Access(host="tg.example.com", key="k")
_FILE = item("a.txt", "text/plain", b"content")


def run(data: bytes) -> None:
    whole = _heard([data])
    for pieces in cuts(data, 4):
        assert _heard(pieces) == whole, "what is heard hangs on how it is cut"


def _heard(pieces: list[bytes]) -> list[str]:
    exchange = HttpExchange(threatgrid.submit(_ACCESS, _FILE))
    assert b"".join(iter(exchange.output, b"")).startswith(b"POST /api/v2/samples HTTP/1.1\r\n")
    for piece in pieces:
        exchange.receive(piece)
    exchange.eof()
    assert exchange.done
    if exchange.fault is not None and not exchange.response.content:
        assert one_safe_line(exchange.fault)
        assert not exchange.reusable
        return ["fault"]
    assert len(exchange.response.content) <= LONGEST
    return _understood(exchange.response)


def _understood(response: Response) -> list[str]:
    meanings = (
        threatgrid.found(response, _FILE.sha256),
        threatgrid.submitted(response),
        threatgrid.progress(response, "abc"),
        threatgrid.score(response),
        threatgrid.login(response),
    )
    for meaning in meanings:
        if isinstance(meaning, Refusal):
            assert one_safe_line(meaning.text)
            assert meaning.after is None or 0 <= meaning.after <= 3600
        elif isinstance(meaning, Sample):
            assert threatgrid.identifier(meaning.reference)
        elif isinstance(meaning, int):
            assert 0 <= meaning <= 100
        elif isinstance(meaning, str):
            assert one_safe_line(meaning)
    return [repr(meaning) for meaning in meanings]


_SHA = _FILE.sha256.encode()
_JSON = st.sampled_from([
    b'{"data":{"id":"abc","state":"run","sha256":"%b"}}' % _SHA, b'{"data":{"items":[{"item":{"id":7}}]}}',
    b'{"data":{"score":95}}', b'{"data":{"score":true}}', b'{"data":{"score":1e400}}',
    b'{"data":{"score":-1}}',
    b'{"data":[{"id":"../..","sha256":"%b"}]}' % _SHA, b'{"data":null}', b"[[[[", b"{}",
    b'{"data":{"login":"x\\u202e"}}',
    b'{"data":{"items":[{"item":{"id":"a1","state":"succ","sha256":"%b"}}]}}' % _SHA,
]) | HOSTILE.map(lambda x: b'{"data":"%b"}' % x[:60])  # fmt: skip
_STATUS = st.sampled_from(
    [b"200 OK", b"200 OK", b"200 OK", b"401 No", b"429 Later", b"500 Oh", b"100 Go", b"999 x", b"20 x"]
)
_EXTRA = st.sampled_from(
    [b"", b"Retry-After: 20\r\n", b"Retry-After: -1\r\n", b"Connection: close\r\n", b"X\r\n"]
)


def _whole(status: bytes, extra: bytes, content: bytes) -> bytes:
    return b"HTTP/1.1 %b\r\n%bContent-Length: %d\r\n\r\n%b" % (status, extra, len(content), content)


_CHUNKED = _JSON.map(
    lambda c: b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(c), c)
)
_GOOD = st.builds(_whole, _STATUS, _EXTRA, _JSON)
TARGET = Target(
    name="threatgrid-answers",
    run=run,
    inputs=joined(_GOOD | _GOOD | _CHUNKED | _JSON | st.binary(max_size=8), 3),
    words=(b"HTTP/1.1 200 OK\r\n", b"\r\n\r\n", b'{"data":', b'"score"', b'"items"'),
)
