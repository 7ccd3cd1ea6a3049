"""Knot answers for the zones that it is given."""

from __future__ import annotations

from collections.abc import Callable

import dns.rcode

from lab.knot import REVERSE, Knot

ZONE = "@ MX 10 mx1\n@ MX 20 mx2\nmx1 A 127.0.0.1\nmx2 A 127.0.0.1"


def test_knot_answers_mx_address_and_reverse_queries(knot: Callable[..., Knot]) -> None:
    server = knot({"example.test": ZONE, REVERSE: "1 PTR mx1.example.test."})
    assert server.look_up("example.test", "MX") == ("10 mx1.example.test.", "20 mx2.example.test.")
    assert server.look_up("mx1.example.test", "A") == ("127.0.0.1",)
    assert server.look_up(f"1.{REVERSE}", "PTR") == ("mx1.example.test.",)
    assert server.ask("absent.example.test", "A").rcode() == dns.rcode.NXDOMAIN


def test_knot_signs_its_zones_on_request(knot: Callable[..., Knot]) -> None:
    server = knot({"example.test": ZONE}, signed=True)
    answer = server.ask("example.test", "MX", dnssec=True)
    assert "RRSIG" in answer.to_text()
    assert " DS " in server.ds("example.test")
