"""The client's side of LDAP (RFC 4511): requests out, answers in, by message number. PURE.

Bytes come from a server that may be anybody's: messages are measured before they are read, and what a client
is never sent is not read at all. `receive` does not raise; what is wrong stands in `fault`.
"""

from __future__ import annotations

from typing import Final

import msgspec
from sansldap import (
    BindResponse,
    ExtendedOperations,
    ExtendedResponse,
    LDAPClient,
    LDAPError,
    LDAPMessage,
    LDAPResult,
    SaslCredential,
    SearchResultDone,
    SearchResultEntry,
    SearchScope,
)
from sansldap.asn1 import NotEnougData

from mxseal.ldap.filters import parse
from mxseal.ldap.values import Entry, Search

LONGEST_MESSAGE: Final = 1 << 20
ENTRIES: Final = 20
"""Of one answer; the server is asked for no more, and where it sends more they are not kept."""
_VALUES = 200
_LONGEST_VALUE = 1024
_UNASKED = 200
_FLOOD = 4 << 20
"""Messages, and bytes, about one search beyond which the server does not answer but flood."""
_SEQUENCE = 0x30
_INTEGER = 0x02
_ANSWERS = frozenset((0x61, 0x64, 0x65, 0x73, 0x78))
"""Bind response, entry, done, reference, extended response: all that is asked for (RFC 4511 §4)."""

SUCCESS, SIZE_LIMIT, REFERRAL, NO_SUCH_OBJECT, INVALID_CREDENTIALS = 0, 4, 10, 32, 49


class Answer(msgspec.Struct, frozen=True):
    """The end of one request."""

    number: int
    code: int
    """Result code, 0 is success (RFC 4511 §4.1.9)."""
    name: str
    """The code's, in the standard's spelling."""
    text: str
    """The server's diagnostic message, one line."""
    entries: tuple[Entry, ...] = ()


class _Unreadable(Exception):
    """What came is no LDAP that a client is sent."""


class Conversation:
    """One connection's messages. Requests may be sent before earlier ones are answered."""

    def __init__(self) -> None:
        self.fault: str | None = None
        """Set once: the connection is of no use any more."""
        self.heard = 0
        """Whole messages that have come."""
        self._session = LDAPClient()
        self._buffer = bytearray()
        self._entries: dict[int, list[Entry]] = {}
        self._told: dict[int, tuple[int, int]] = {}

    # --- out ------------------------------------------------------------------------------------------------

    def start_tls(self) -> int:
        """RFC 4511 §4.14. Nothing else may be sent until its answer has come."""
        return self._session.extended_request(ExtendedOperations.LDAP_START_TLS.value)

    def bind_simple(self, name: str, password: str) -> int:
        return self._session.bind_simple(name, password)

    def bind_external(self) -> int:
        """SASL EXTERNAL: as whom the TLS client certificate says (RFC 4513 §5.2.3)."""
        return self._session.bind("", SaslCredential("EXTERNAL", b""))

    def search(self, search: Search, seconds: int) -> int:
        """`seconds`: after which the server may give up. ValueError for a filter that is none."""
        number = self._session.search_request(
            base_object=search.base,
            scope=SearchScope.SUBTREE if search.whole else SearchScope.BASE,
            size_limit=ENTRIES,
            time_limit=seconds,
            filter=parse(search.filter),
            attributes=list(search.attributes) or ["1.1"],  # RFC 4511 §4.5.1.8: none
        )
        self._entries[number] = []
        return number

    def unbind(self) -> None:
        if self.fault is None:
            self._session.unbind()

    def output(self) -> bytes:
        return self._session.data_to_send()

    # --- in -------------------------------------------------------------------------------------------------

    @property
    def buffered(self) -> int:
        """Bytes of a message that is not complete."""
        return len(self._buffer)

    def receive(self, data: bytes) -> list[Answer]:
        """What has been answered with these bytes."""
        if self.fault is not None:
            return []
        self._buffer += data
        answers: list[Answer] = []
        try:
            while (message := self._next()) is not None:
                self.heard += 1
                for each in self._read(message):
                    answer = self._taken(each, len(message))
                    if answer is not None:
                        answers.append(answer)
        except _Unreadable as error:
            self.fault = str(error)
            self._buffer.clear()
        return answers

    def _next(self) -> bytes | None:
        """The next whole message; None: more has to come. By length, which is known from the first octets."""
        buffer = self._buffer
        if len(buffer) < 2:
            return None
        if buffer[0] != _SEQUENCE:
            raise _Unreadable("what the server sends is not LDAP")
        head, length = 2, buffer[1]
        if length & 0x80:
            octets = length & 0x7F
            if not 0 < octets <= 4:  # RFC 4511 §5.1: definite lengths only; and nobody needs longer ones
                raise _Unreadable("a message of the server has no length that can be")
            head += octets
            if len(buffer) < head:
                return None
            length = int.from_bytes(buffer[2:head])
        if length > LONGEST_MESSAGE:
            raise _Unreadable(f"a message of the server has {length} octets")
        if len(buffer) < head + length:
            return None
        message = bytes(buffer[: head + length])
        del buffer[: head + length]
        self._check(message, head)
        return message

    def _check(self, message: bytes, head: int) -> None:
        """Only what answers to a client: the library would read requests too, and those nest."""
        try:
            tag, size = message[head], message[head + 1]
            operation = message[head + 2 + size]
        except IndexError:
            raise _Unreadable("a message of the server is cut short") from None
        if tag != _INTEGER or not 0 < size <= 4:
            raise _Unreadable("a message of the server has no number")
        if operation not in _ANSWERS:
            raise _Unreadable(f"the server sends what no client is sent (operation 0x{operation:02x})")

    def _read(self, message: bytes) -> list[LDAPMessage]:
        try:
            read = self._session.receive(message)
        except LDAPError as error:
            raise _Unreadable(one_line(str(error))) from None
        except (NotEnougData, ValueError, IndexError, OverflowError, RecursionError):
            raise _Unreadable("a message of the server can't be read") from None
        if len(read) != 1:  # a part of it claims to be longer than the whole
            raise _Unreadable("a message of the server can't be read")
        return read

    def _taken(self, message: LDAPMessage, size: int) -> Answer | None:
        number = message.message_id
        if isinstance(message, SearchResultEntry):
            self._counted(number, size)
            found = self._entries.get(number)
            if found is not None and len(found) < ENTRIES:
                found.append(_entry(message))
            return None
        if isinstance(message, SearchResultDone):
            self._told.pop(number, None)
            return _answer(number, message.result, tuple(self._entries.pop(number, ())))
        if isinstance(message, BindResponse | ExtendedResponse):
            return _answer(number, message.result, ())
        self._counted(number, size)  # a reference to another server, which is not followed
        return None

    def _counted(self, number: int, size: int) -> None:
        count, total = self._told.get(number, (0, 0))
        self._told[number] = count, total = count + 1, total + size
        if count > _UNASKED:
            raise _Unreadable(f"the server sends more than {_UNASKED} messages about one search")
        if total > _FLOOD:
            raise _Unreadable(f"the server sends more than {_FLOOD >> 20} MiB about one search")


def _answer(number: int, result: LDAPResult, entries: tuple[Entry, ...]) -> Answer:
    # Not int(): the library's own number for a code that it does not know is 0, which is success.
    code = int(result.result_code.value)
    return Answer(number, code, code_name(code), one_line(result.diagnostics_message or ""), entries)


def code_name(code: int) -> str:
    """`invalidCredentials` for 49, as RFC 4511 §4.1.9 spells them."""
    return _CODES.get(code, f"code {code}")


def _entry(message: SearchResultEntry) -> Entry:
    """Bounded: values of a directory may be photographs."""
    values: dict[str, tuple[str, ...]] = {}
    for attribute in message.attributes[:_VALUES]:
        texts = [raw.decode("utf-8", "replace") for raw in attribute.values[:_VALUES]]
        values[attribute.name.lower()[:200]] = tuple(text for text in texts if len(text) <= _LONGEST_VALUE)
    return Entry(message.object_name[:_LONGEST_VALUE], values)


def one_line(text: str) -> str:
    """Text of a server as it can stand in a sentence."""
    shown = "".join(letter if letter.isprintable() else " " for letter in text[:300])
    return " ".join(shown.split())


_CODES = {
    0: "success",
    1: "operationsError",
    2: "protocolError",
    3: "timeLimitExceeded",
    4: "sizeLimitExceeded",
    7: "authMethodNotSupported",
    8: "strongerAuthRequired",
    10: "referral",
    11: "adminLimitExceeded",
    12: "unavailableCriticalExtension",
    13: "confidentialityRequired",
    14: "saslBindInProgress",
    16: "noSuchAttribute",
    17: "undefinedAttributeType",
    18: "inappropriateMatching",
    19: "constraintViolation",
    21: "invalidAttributeSyntax",
    32: "noSuchObject",
    33: "aliasProblem",
    34: "invalidDNSyntax",
    48: "inappropriateAuthentication",
    49: "invalidCredentials",
    50: "insufficientAccessRights",
    51: "busy",
    52: "unavailable",
    53: "unwillingToPerform",
    54: "loopDetect",
    80: "other",
}
