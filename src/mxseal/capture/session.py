"""A TLS session without its content: records opened, masked, and sealed under other secrets. PURE."""

from __future__ import annotations

import struct
from collections.abc import Callable

from mxseal.capture.masking import Masking
from mxseal.capture.records import (
    APPLICATION,
    TLS13,
    Modern,
    Negotiated,
    Protection,
    Unreadable,
    protections,
    record,
)
from mxseal.capture.suites import SUITES

_CHANGE, _ALERT, _HANDSHAKE = 20, 21, 22
_SERVER_HELLO, _KEY_UPDATE = 2, 24
_VERSIONS, _ENCRYPT_THEN_MAC = 43, 22
_LARGEST = (1 << 14) + 2048
_RECORD = 1 << 14
_LARGEST_HELLO = 16 * 1024
_NOT_TLS_SHOWN = 64
_MASTER = "CLIENT_RANDOM"
_HANDSHAKE_SECRETS = ("CLIENT_HANDSHAKE_TRAFFIC_SECRET", "SERVER_HANDSHAKE_TRAFFIC_SECRET")
_SECRETS = ("CLIENT_TRAFFIC_SECRET_0", "SERVER_TRAFFIC_SECRET_0")
_MASTER_BYTES = 48
Shown = list[tuple[bool, bytes]]
"""(whether it is the client's, bytes of the wire as the file has them), in order."""


class _Side:
    """One direction."""

    def __init__(self) -> None:
        self.rest = b""
        self.protected = False
        """Behind ChangeCipherSpec (TLS 1.2), behind the ServerHello (TLS 1.3)."""
        self.blind = False
        """The records can't be opened: they stay as they are, and nothing in the file opens them."""
        self.handshake: Protection | None = None
        """TLS 1.3: the keys of the handshake, while they may be in use."""
        self.own: Protection | None = None
        self.made: Protection | None = None
        self.version = b"\3\3"


class Resealed:
    """Both directions of one session."""

    def __init__(self, masking: Masking, fresh: Callable[[int], bytes]) -> None:
        self.remarks: list[str] = []
        self._masking = masking
        self._fresh = fresh
        self._sides = {True: _Side(), False: _Side()}
        self._hello = b""
        self._agreed: Negotiated | None = None
        self._known: dict[str, bytes] = {}
        self._client_random = b""
        self._lines: list[str] = []

    # --- secrets --------------------------------------------------------------------------------------------

    def secret(self, line: str) -> None:
        """A line of the session's own key log. Those of the handshake go into the file, no others do."""
        words = line.split()
        if len(words) != 3:
            return
        label, random, value = words
        self._client_random = bytes.fromhex(random)
        self._known[label] = bytes.fromhex(value)
        if label in _HANDSHAKE_SECRETS and line not in self._lines:
            self._lines.append(line)

    def secrets(self) -> list[str]:
        """The key log for the file: the handshake's own secrets, and made-up ones for all behind it."""
        return list(self._lines)

    def _publish(self, label: str, secret: bytes) -> None:
        self._lines.append(f"{label} {self._client_random.hex()} {secret.hex()}")

    # --- records --------------------------------------------------------------------------------------------

    def take(self, data: bytes, *, by_client: bool) -> Shown:
        """Bytes of the wire. What is behind the last whole record waits for more."""
        side = self._sides[by_client]
        data, side.rest = side.rest + data, b""
        out: Shown = []
        joined = False
        while data:
            if side.blind:
                return [*out, (by_client, data)]
            if len(data) < 5:
                break
            kind, size = data[0], struct.unpack_from("!H", data, 3)[0]
            if not _CHANGE <= kind <= APPLICATION + 1 or data[1] != 3 or size > _LARGEST:
                return out + self._not_tls(data, side, by_client)
            if len(data) < 5 + size:
                break
            whole = data[: 5 + size]
            shown = self._record(kind, data[1:3], data[5 : 5 + size], by_client)
            # Records that stay as they are travel together, as they came; those that are made anew one by
            # one: Wireshark's reading of SMTP finds the end of content only where a packet has one of them.
            if joined and shown == [(by_client, whole)]:
                out[-1] = (by_client, out[-1][1] + whole)
            else:
                out += shown
                joined = shown == [(by_client, whole)]
            data = data[5 + size :]
        side.rest = data
        return out

    def _not_tls(self, data: bytes, side: _Side, by_client: bool) -> Shown:
        """Clear text in the place of TLS: enough of it to see what it is, which may be anything."""
        if side.protected:
            return []
        side.protected = True
        self.remarks.append("What is no TLS is cut after its first bytes")
        return [(by_client, data[:_NOT_TLS_SHOWN])]

    def _record(self, kind: int, version: bytes, body: bytes, by_client: bool) -> Shown:
        whole = record(kind, version, body)
        side = self._sides[by_client]
        if not by_client and self._agreed is None and kind == _HANDSHAKE:
            self._read_hello(body)
        agreed = self._agreed
        if agreed is None:
            return [(by_client, whole)]
        if kind == _CHANGE:
            side.protected = side.protected or agreed.version != TLS13
            return [(by_client, whole)]
        if agreed.version == TLS13:
            if kind != APPLICATION:
                return [(by_client, whole)]
        elif not side.protected:
            return [(by_client, whole)]
        side.version = version
        return self._opened(kind, version, body, by_client)

    def _opened(self, kind: int, version: bytes, body: bytes, by_client: bool) -> Shown:
        side = self._sides[by_client]
        whole = record(kind, version, body)
        if side.own is None and not self._keys(by_client):
            return self._give_up(whole, by_client)
        if side.handshake is not None:
            try:
                side.handshake.open(kind, version, body)
            except Unreadable:
                side.handshake = None  # the keys behind the handshake are in use now
            else:
                return [(by_client, whole)]
        if side.own is None or side.made is None:
            return self._give_up(whole, by_client)
        try:
            inner, plain = side.own.open(kind, version, body)
        except Unreadable:
            return self._give_up(whole, by_client)
        if inner != APPLICATION:
            sealed = side.made.seal(inner, version, plain)
            if inner == _HANDSHAKE and plain[:1] == bytes((_KEY_UPDATE,)):
                self._renew(side)
            return [(by_client, sealed)]
        return self._masked(plain, by_client)

    def _masked(self, plain: bytes, by_client: bool) -> Shown:
        if by_client:
            return self._sealed(self._masking.client(plain), by_client=True)
        # The reply first: what the client has said before it can be judged then.
        shown = self._sealed(self._masking.server(plain), by_client=False)
        return shown + self._sealed(self._masking.client(b""), by_client=True)

    def _sealed(self, plain: bytes, *, by_client: bool) -> Shown:
        side = self._sides[by_client]
        if side.made is None:
            return []
        pieces = (plain[at : at + _RECORD] for at in range(0, len(plain), _RECORD))
        return [(by_client, side.made.seal(APPLICATION, side.version, piece)) for piece in pieces]

    @staticmethod
    def _renew(side: _Side) -> None:
        for keys in (side.own, side.made):
            if isinstance(keys, Modern):
                keys.renew()

    def _give_up(self, whole: bytes, by_client: bool) -> Shown:
        """Kept as they are: no secret of the file opens them."""
        self._sides[by_client].blind = True
        who = "client" if by_client else "server"
        self.remarks.append(f"Records of the {who} could not be opened and stay encrypted")
        return [(by_client, whole)]

    # --- keys -----------------------------------------------------------------------------------------------

    def _keys(self, by_client: bool) -> bool:
        """Find the keys of a direction; False: they are not known, or of a suite that is not."""
        agreed = self._agreed
        if agreed is None or agreed.suite is None:
            return False
        side = self._sides[by_client]
        if agreed.version == TLS13:
            own = self._known.get(_SECRETS[not by_client])
            first = self._known.get(_HANDSHAKE_SECRETS[not by_client])
            if first is None:
                return False
            if side.handshake is None:
                side.handshake = Modern(agreed.suite, first)
            if own is not None:
                side.own = Modern(agreed.suite, own)
                made = self._fresh(len(own))
                side.made = Modern(agreed.suite, made)
                self._publish(_SECRETS[not by_client], made)
            return True
        master = self._known.get(_MASTER)
        if master is None:
            return False
        made = self._fresh(_MASTER_BYTES)
        self._publish(_MASTER, made)
        agreed = Negotiated(
            agreed.version,
            agreed.suite,
            agreed.encrypt_then_mac,
            self._client_random,
            agreed.server_random,
        )
        own_keys, made_keys = protections(agreed, master), protections(agreed, made)
        for of_client in (True, False):
            each = self._sides[of_client]
            each.own, each.made = own_keys[not of_client], made_keys[not of_client]
        return True

    def _read_hello(self, body: bytes) -> None:
        """Look for the ServerHello in what the server says first (RFC 8446 §4.1.3)."""
        self._hello = (self._hello + body)[:_LARGEST_HELLO]
        if len(self._hello) < 4 or self._hello[0] != _SERVER_HELLO:
            return
        size = int.from_bytes(self._hello[1:4], "big")
        if len(self._hello) >= 4 + size:
            self._agreed = _agreed(self._hello[4 : 4 + size])

    def ended(self) -> bytes:
        """The connection is over; the last bytes of the client, sealed."""
        last = self._masking.ended()
        return b"".join(data for _, data in self._sealed(last, by_client=True))


def _agreed(hello: bytes) -> Negotiated | None:
    """From a ServerHello's body. None for one that does not hold what it says."""
    try:
        version, random = struct.unpack_from("!H32s", hello)
        at = 35 + hello[34]
        suite = SUITES.get(struct.unpack_from("!H", hello, at)[0])
        extensions = dict(_extensions(hello[at + 5 :]))
    except (struct.error, IndexError):
        return None
    if chosen := extensions.get(_VERSIONS):
        version = int.from_bytes(chosen, "big")
    return Negotiated(version, suite, _ENCRYPT_THEN_MAC in extensions, b"", random)


def _extensions(data: bytes) -> list[tuple[int, bytes]]:
    found: list[tuple[int, bytes]] = []
    while len(data) >= 4:
        kind, size = struct.unpack_from("!HH", data)
        found.append((kind, data[4 : 4 + size]))
        data = data[4 + size :]
    return found
