"""What a recording without content shows of analysis servers: heads, and lengths in the place of all else."""

from __future__ import annotations

from itertools import pairwise

import pytest

from mxseal.analysis import threatgrid
from mxseal.analysis.http import HttpExchange
from mxseal.analysis.icap import Place, Service, scan
from mxseal.analysis.samples import item
from mxseal.analysis.threatgrid import Access
from mxseal.capture.masking_analysis import AnalysisMasking

FILE = item("a.txt", "text/plain", b"secret text 0123456789\r\n\r\nGET / HTTP/1.1\r\n\r\n" * 40)
CUTS = (1, 7, 100_000)


def masked(sent: bytes, size: int, *, ours: bool = True) -> bytes:
    masking = AnalysisMasking()
    edges = [*range(0, len(sent), size), len(sent)]
    show = masking.client if ours else masking.server
    return b"".join(show(sent[a:b]) for a, b in pairwise(edges)) + masking.ended()


def whole(exchange: HttpExchange) -> bytes:
    return b"".join(iter(exchange.output, b""))


@pytest.mark.parametrize("size", CUTS)
@pytest.mark.parametrize("way", ["header", "parameter"])
def test_of_http_the_heads_are_shown_and_neither_keys_nor_files(size: int, way: str) -> None:
    access = Access(
        host="tg.example.com", key="key0key1", key_as="header" if way == "header" else "parameter"
    )
    sent = whole(HttpExchange(threatgrid.submit(access, FILE)))
    sent += whole(HttpExchange(threatgrid.look_up(access, FILE.sha256)))
    shown = masked(sent, size)
    assert len(shown) == len(sent)
    assert b"secret" not in shown
    assert b"key0key1" not in shown
    assert shown.startswith(b"POST /api/v2/samples HTTP/1.1\r\n")
    assert b"GET /api/v2/samples?sha256=" in shown


@pytest.mark.parametrize("size", CUTS)
@pytest.mark.parametrize("preview", [None, 0, 16])
def test_of_icap_pieces_of_a_file_keep_their_sizes_and_show_nothing(size: int, preview: int | None) -> None:
    exchange = scan(Place("h", 1344, "avscan"), Service("RESPMOD", preview, "", ""), FILE)
    sent = b"".join(iter(exchange.output, b""))
    if preview is not None:
        exchange.receive(b"ICAP/1.0 100 Continue\r\n\r\n")
        sent += b"".join(iter(exchange.output, b""))
    following = b"OPTIONS icap://h/avscan ICAP/1.0\r\nEncapsulated: null-body=0\r\n\r\n"
    shown = masked(sent + following, size)
    assert len(shown) == len(sent) + len(following)
    assert b"secret" not in shown
    assert shown.startswith(b"RESPMOD icap://h:1344/avscan ICAP/1.0\r\n")
    assert shown.endswith(following)


@pytest.mark.parametrize("size", CUTS)
def test_of_answers_what_was_found_is_shown_and_no_file_that_comes_back(size: int) -> None:
    inner = b"HTTP/1.1 200 OK\r\n\r\n"
    sent = b"ICAP/1.0 100 Continue\r\n\r\nICAP/1.0 200 OK\r\nX-Infection-Found: Type=0; Threat=Bad;\r\n"
    sent += b"Encapsulated: res-hdr=0, res-body=%d\r\n\r\n" % len(inner) + inner
    sent += b"%x\r\n%b\r\n0\r\n\r\n" % (len(FILE.content), FILE.content)
    sent += b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nsecret\r\n0\r\n\r\n"
    sent += b"ICAP/1.0 204 Unmodified\r\n\r\n"
    shown = masked(sent, size, ours=False)
    assert len(shown) == len(sent)
    assert b"secret" not in shown
    assert b"Threat=Bad" in shown
    assert shown.endswith(b"ICAP/1.0 204 Unmodified\r\n\r\n")


@pytest.mark.parametrize(
    "sent",
    [
        b"EHLO secret\r\n\r\n",
        b"zz secret\r\n\r\n",
        b"5;secret-secret\xff",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nsecret\r\n",
        b"\r\n\r\nsecret",
    ],
)
def test_what_is_neither_is_not_shown(sent: bytes) -> None:
    assert b"secret" not in masked(sent + b"secret\r\n\r\n", 5)
