"""What a recording shows of a conversation with a directory: all but secrets (RFC 4511 §4.2). PURE."""

from __future__ import annotations

_BIND_REQUEST = 0x60
_SEQUENCE, _INTEGER = 0x30, 0x02
_LARGEST = 1 << 20
_HIDDEN = b"x"


class LdapMasking:
    """Passwords become as many x: lengths stay, so that the rest can be read."""

    def __init__(self) -> None:
        self._rest = b""
        self._lost = False
        """What came is no LDAP: nothing more of it is shown."""

    def restarted(self) -> None:
        self._rest, self._lost = b"", False

    def server(self, data: bytes) -> bytes:
        return data

    def client(self, data: bytes) -> bytes:
        """Whole messages; what is behind the last one waits for more."""
        out = b""
        data = self._rest + data
        self._rest = b""
        while data and not self._lost:
            found = _element(data)
            if found is None:
                self._lost = data[0] != _SEQUENCE or len(data) > _LARGEST
                self._rest = b"" if self._lost else data
                break
            start, end = found
            if data[0] != _SEQUENCE:
                self._lost = True
                break
            out += data[:start] + _hidden(data[start:end])
            data = data[end:]
        return out

    def ended(self) -> bytes:
        return b""


def _element(data: bytes) -> tuple[int, int] | None:
    """Where the content of the BER element at the beginning starts and ends; None: it is not all there, or
    none that can be."""
    if len(data) < 2:
        return None
    first = data[1]
    if first < 0x80:
        start, size = 2, first
    else:
        count = first & 0x7F
        if not 1 <= count <= 4 or len(data) < 2 + count:
            return None
        start, size = 2 + count, int.from_bytes(data[2 : 2 + count], "big")
    return (start, start + size) if len(data) >= start + size else None


def _hidden(message: bytes) -> bytes:
    """The content of an LDAPMessage, without the credentials of a bind request in it."""
    number = _element(message)
    if number is None or message[0] != _INTEGER:
        return _HIDDEN * len(message)
    at = number[1]
    if message[at : at + 1] != bytes((_BIND_REQUEST,)):
        return message
    body = _element(message[at:])
    if body is None:
        return _HIDDEN * len(message)
    # version, name, then the credentials: whatever their kind is, and all that follows
    place = at + body[0]
    for _ in ("version", "name"):
        part = _element(message[place:])
        if part is None:
            return _HIDDEN * len(message)
        place += part[1]
    secret = _element(message[place:])
    start = place + secret[0] if secret is not None else place
    return message[:start] + _HIDDEN * (len(message) - start)
