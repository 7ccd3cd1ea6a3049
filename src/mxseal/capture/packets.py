"""The TCP connection that a conversation of bytes was, as packets. PURE.

The gateway sees bytes and not packets: addresses, ports, times and bytes are the connection's own, sequence
numbers, windows and the cutting into segments are made up so that they fit together (RFC 9293).
"""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Iterator

import msgspec

_FIN, _SYN, _RST, _PUSH, _ACK = 1, 2, 4, 8, 16
_TCP = 6
_SEGMENT = {4: 1460, 6: 1440}
_WINDOW, _WINDOW_SCALE = 65_535, 8
_HOPS = 64
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Endpoint(msgspec.Struct, frozen=True):
    """One side: an IP address as text, and a port."""

    address: str
    port: int


class Packet(msgspec.Struct, frozen=True):
    """From the IP header on. `ours`: the gateway sent it."""

    at: float
    ours: bool
    data: bytes


class _Side:
    """What one end has sent so far."""

    def __init__(self, endpoint: Endpoint, first: int) -> None:
        self.address = _address(endpoint.address)
        self.port = endpoint.port
        self.sequence = first


class Stream:
    """Makes packets, in order. Sides are told by `ours`: True is the gateway."""

    def __init__(self, local: Endpoint, remote: Endpoint, *, first: tuple[int, int]) -> None:
        """`first`: the sequence numbers that the gateway and the peer begin with."""
        self._sides = {True: _Side(local, first[0]), False: _Side(remote, first[1])}
        self._ended: set[bool] = set()
        self._version = self._sides[True].address.version
        if self._sides[False].address.version != self._version:
            raise ValueError(f"{remote.address} and {local.address} are of different kinds")

    def opened(self, at: float, *, by_us: bool) -> Iterator[Packet]:
        """SYN, SYN-ACK, ACK: the handshake was over when the gateway heard of the connection."""
        options = struct.pack("!BBHBBBB", 2, 4, _SEGMENT[self._version], 1, 3, 3, _WINDOW_SCALE)
        yield self._packet(at, by_us, _SYN, options=options)
        yield self._packet(at, not by_us, _SYN | _ACK, options=options)
        yield self._packet(at, by_us, _ACK)

    def sent(self, at: float, data: bytes, *, ours: bool) -> Iterator[Packet]:
        """One side sends, the other acknowledges."""
        size = _SEGMENT[self._version]
        for start in range(0, len(data), size):
            piece = data[start : start + size]
            last = _PUSH if start + size >= len(data) else 0
            yield self._packet(at, ours, _ACK | last, piece)
        yield self._packet(at, not ours, _ACK)

    def finished(self, at: float, *, ours: bool) -> Iterator[Packet]:
        """One side has no more to send; the connection is over when both have said so."""
        if ours not in self._ended:
            self._ended.add(ours)
            yield self._packet(at, ours, _FIN | _ACK)
            yield self._packet(at, not ours, _ACK)

    def reset(self, at: float, *, ours: bool) -> Iterator[Packet]:
        """One side hangs up."""
        yield self._packet(at, ours, _RST | _ACK)

    def _packet(self, at: float, ours: bool, flags: int, data: bytes = b"", options: bytes = b"") -> Packet:
        source, target = self._sides[ours], self._sides[not ours]
        window = _WINDOW if flags & _SYN else _WINDOW >> 2
        words = (5 + len(options) // 4) << 4
        acknowledged = target.sequence if flags & _ACK else 0
        head = struct.pack(
            "!HHIIBBH", source.port, target.port, source.sequence, acknowledged, words, flags, window
        )
        rest = options + data
        pseudo = _pseudo_header(source.address, target.address, len(head) + 4 + len(rest))
        total = checksum(pseudo + head + b"\0\0\0\0" + rest)
        tcp = head + struct.pack("!HH", total, 0) + rest
        source.sequence = (source.sequence + len(data) + bool(flags & (_SYN | _FIN))) & 0xFFFFFFFF
        return Packet(at, ours, _ip(source.address, target.address, tcp))


def checksum(data: bytes) -> int:
    """RFC 1071."""
    data += bytes(len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def _address(text: str) -> Address:
    address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def _pseudo_header(source: Address, target: Address, length: int) -> bytes:
    if source.version == 4:
        return source.packed + target.packed + struct.pack("!BBH", 0, _TCP, length)
    return source.packed + target.packed + struct.pack("!IHBB", length, 0, 0, _TCP)


def _ip(source: Address, target: Address, tcp: bytes) -> bytes:
    if source.version == 6:
        head = struct.pack("!IHBB", 0x60000000, len(tcp), _TCP, _HOPS)
        return head + source.packed + target.packed + tcp
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(tcp), 0, 0x4000, _HOPS, _TCP, 0)
    addresses = source.packed + target.packed
    total = checksum(head + addresses)
    return head[:10] + struct.pack("!H", total) + addresses + tcp
