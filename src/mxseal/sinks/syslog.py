"""Lines of logs as syslog messages: RFC 5424, RFC 3164, or the form of the reference (§4.1)."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import get_args

import msgspec

from mxseal.config.model import Facility, SyslogPush
from mxseal.config.subscriptions import LogWanted, framing_of

LONGEST = 64 << 10
"""Bytes of a message; longer ones are cut with '...'."""
LONGEST_DATAGRAM = 8 << 10
"""RFC 5426 §3.2: receivers should take 2 KB; what usual ones take without being told so."""
_FACILITIES: tuple[str, ...] = get_args(Facility)
_SEVERITIES = {"Critical": 2, "Warning": 4, "Info": 6, "Debug": 7, "Trace": 7}
_INFO = 6
_STAMP = 24
"""Characters of 'Sat Feb 14 19:20:28 2026', which begin each line of a text log."""
_APP = "mxseal"
_LONGEST_ID = 32
_WEEKDAY = 4


class _At(msgspec.Struct):
    """What is read of a line of the JSON log."""

    at: float


_JSON = msgspec.json.Decoder(_At)


class Messages:
    """Makes messages of one log's lines. Keeps the stamp of the last second."""

    def __init__(self, log: LogWanted, push: SyslogPush, hostname: str) -> None:
        self._push = push
        self._facility = _FACILITIES.index(push.facility) * 8
        self._octets = framing_of(push) == "octets"
        self._json = log.kind == "json"
        self._utc = log.logs.time == "utc"
        self._name = log.name
        self._hostname = hostname
        self._kept = ("", "")
        self._longest = LONGEST_DATAGRAM if push.transport == "udp" else LONGEST

    def datagrams(self, lines: bytes, now: float) -> list[bytes]:
        """A message for each line. `now`: for lines that do not tell when they were written."""
        # Not `splitlines`: U+2028 in a stranger's subject would begin a forged message.
        return [self._message(line, now) for line in lines.decode("utf-8", "replace").split("\n") if line]

    def frames(self, lines: bytes, now: float) -> tuple[bytes, int]:
        """The same for a connection: bytes, and how many messages they are."""
        messages = self.datagrams(lines, now)
        if self._octets:
            # RFC 5425 §4.3: MSG-LEN SP SYSLOG-MSG, and nothing between two of them.
            return b"".join([b"%d %b" % (len(each), each) for each in messages]), len(messages)
        return b"".join([each + b"\n" for each in messages]), len(messages)

    def _message(self, line: str, now: float) -> bytes:
        stamp, severity, text = self._json_parts(line, now) if self._json else self._parts(line, now)
        head = f"<{self._facility + severity}>"
        form = self._push.format
        if form == "esa":
            head += f"{stamp[_WEEKDAY:19]} {self._name}: "
        elif form == "rfc3164":
            head += f"{stamp[_WEEKDAY:19]} {self._hostname} {self._name}: "
        else:
            head += f"1 {self._iso(stamp)} {self._hostname} {_APP} - {self._name[:_LONGEST_ID]} - "
        message = (head + text).encode()
        if len(message) <= self._longest:
            return message
        return message[: self._longest - 3].decode("utf-8", "ignore").encode() + b"..."

    def _parts(self, line: str, now: float) -> tuple[str, int, str]:
        """(stamp, severity, text behind the stamp)."""
        level, colon, _ = line[_STAMP + 1 :].partition(": ")
        if colon and level in _SEVERITIES and line[_STAMP] == " ":
            return line[:_STAMP], _SEVERITIES[level], line[_STAMP + 1 :]
        return self._stamp(now), _INFO, line  # the rest of a line that a crash or a full disk cut

    def _json_parts(self, line: str, now: float) -> tuple[str, int, str]:
        try:
            now = _JSON.decode(line).at
        except msgspec.MsgspecError:
            pass  # a line that a crash cut: it is sent as it is, with the time of now
        return self._stamp(now), _INFO, line

    def _stamp(self, at: float) -> str:
        return time.asctime((time.gmtime if self._utc else time.localtime)(int(at)))

    def _iso(self, stamp: str) -> str:
        """RFC 5424 §6.2.3, with the zone in which the line was written."""
        if self._kept[0] != stamp:
            self._kept = stamp, self._read(stamp)
        return self._kept[1]

    def _read(self, stamp: str) -> str:
        try:
            parts = time.strptime(stamp, "%a %b %d %H:%M:%S %Y")
        except ValueError:
            return "-"
        if self._utc:
            return datetime(*parts[:6], tzinfo=UTC).isoformat().replace("+00:00", "Z")
        return datetime.fromtimestamp(time.mktime(parts), UTC).astimezone().isoformat()
