"""The conversation: answers find their requests, and what no server should send ends it."""

from __future__ import annotations

import pytest
import sansldap as sl
from sansldap import LDAPResultCode, PartialAttribute

from mxseal.ldap.conversation import ENTRIES, LONGEST_MESSAGE, Answer, Conversation, code_name
from mxseal.ldap.values import Search

SEARCH = Search("dc=lab", "(mail=a@example.com)", ("mail",))


class Pair:
    """A conversation and the library's own server, which reads what it says."""

    def __init__(self) -> None:
        self.client = Conversation()
        self.server = sl.LDAPServer()

    def heard(self) -> list[sl.LDAPMessage]:
        return self.server.receive(self.client.output())

    def told(self) -> list[Answer]:
        return self.client.receive(self.server.data_to_send())


def test_answers_in_another_order_find_their_requests() -> None:
    pair = Pair()
    first, second = (pair.client.search(Search("dc=lab", f"(cn={n})"), 5) for n in "ab")
    pair.heard()
    pair.server.search_result_entry(second, "cn=b", [])
    pair.server.search_result_done(second)
    pair.server.search_result_entry(first, "cn=a", [])
    pair.server.search_result_done(first)
    answers = pair.told()
    assert [(a.number, [e.name for e in a.entries]) for a in answers] == [
        (second, ["cn=b"]),
        (first, ["cn=a"]),
    ]


def test_an_answer_may_come_byte_by_byte() -> None:
    pair = Pair()
    number = pair.client.search(SEARCH, 5)
    pair.heard()
    pair.server.search_result_entry(number, "cn=a", [PartialAttribute("Mail", [b"a@example.com", b"\xff"])])
    pair.server.search_result_done(number)
    data = pair.server.data_to_send()
    answers = [answer for at in range(len(data)) for answer in pair.client.receive(data[at : at + 1])]
    assert answers[0].entries[0].of("mail") == ("a@example.com", "�")


def test_what_is_asked_is_bounded_and_reads_no_attribute_that_is_not_wanted() -> None:
    pair = Pair()
    pair.client.search(Search("dc=lab", "(cn=a)"), 7)
    (request,) = pair.heard()
    assert isinstance(request, sl.SearchRequest)
    assert (request.size_limit, request.time_limit, request.attributes) == (ENTRIES, 7, ["1.1"])
    assert request.deref_aliases == sl.DereferencingPolicy.NEVER


def test_references_to_other_servers_are_not_followed() -> None:
    pair = Pair()
    number = pair.client.search(SEARCH, 5)
    pair.heard()
    pair.server.search_result_reference(number, ["ldap://elsewhere.test/"])
    pair.server.search_result_done(number)
    (answer,) = pair.told()
    assert answer.entries == ()


def test_a_server_that_sends_more_than_was_asked_for_fills_no_memory() -> None:
    pair = Pair()
    number = pair.client.search(SEARCH, 5)
    pair.heard()
    for at in range(100):
        values = [b"x" * 2000, b"y"] * 10
        pair.server.search_result_entry(number, f"cn={at}", [PartialAttribute("mail", values)])
    pair.server.search_result_done(number)
    (answer,) = pair.told()
    assert len(answer.entries) == ENTRIES
    assert all(entry.of("mail") == ("y",) * 10 for entry in answer.entries)


def test_photographs_of_many_megabytes_are_not_read_to_their_end() -> None:
    pair = Pair()
    number = pair.client.search(SEARCH, 5)
    pair.heard()
    for at in range(6):
        pair.server.search_result_entry(number, f"cn={at}", [PartialAttribute("photo", [b"x" * 1_000_000])])
    pair.told()
    assert pair.client.fault == "the server sends more than 4 MiB about one search"


def test_a_server_that_floods_is_hung_up_on() -> None:
    pair = Pair()
    number = pair.client.search(SEARCH, 5)
    pair.heard()
    for _ in range(300):
        pair.server.search_result_reference(number, ["ldap://elsewhere.test/"])
    pair.told()
    assert pair.client.fault == "the server sends more than 200 messages about one search"


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"220 mail.example.com ESMTP\r\n", "is not LDAP"),
        (b"HTTP/1.1 400 Bad Request\r\n", "is not LDAP"),
        (b"\x30\x80", "no length"),
        (b"\x30\x85\x01\x00\x00\x00\x00", "no length"),
        (b"\x30\x84\x7f\xff\xff\xff", "2147483647 octets"),
        (b"\x30\x83\x10\x00\x01" + b"x" * 100, f"{LONGEST_MESSAGE + 1} octets"),
        (b"\x30\x03\x02\x01\x01", "cut short"),
        (b"\x30\x05\x04\x01\x01\x61\x00", "no number"),
        (b"\x30\x05\x02\x01\x01\x60\x00", "no client is sent"),
        (b"\x30\x05\x02\x01\x01\x63\x00", "no client is sent"),
        (b"\x30\x0c\x02\x01\x01\x61\x07\x0a\x01\x00\x04\x7f\x04\x00", "can't be read"),
        (b"\x30\x0c\x02\x01\x63\x61\x07\x0a\x01\x00\x04\x00\x04\x00", "unexpected message id"),
    ],
)
def test_what_no_server_should_send_ends_the_conversation(data: bytes, fault: str) -> None:
    conversation = Conversation()
    conversation.bind_simple("cn=a", "b")
    assert conversation.receive(data) == []
    assert fault in (conversation.fault or "")
    assert conversation.receive(b"\x30\x0c\x02\x01\x01\x61\x07\x0a\x01\x00\x04\x00\x04\x00") == []


def test_a_notice_of_disconnection_is_told_in_its_own_words() -> None:
    pair = Pair()
    pair.client.search(SEARCH, 5)
    pair.heard()
    name = sl.ExtendedOperations.LDAP_NOTICE_OF_DISCONNECTION.value
    text = "too\nmany connections"
    with pytest.raises(sl.LDAPError):  # it is packed all the same; the library's server sends none unasked
        pair.server.extended_response(
            0, name, result_code=LDAPResultCode.UNAVAILABLE, diagnostics_message=text
        )
    pair.told()
    assert "NoticeOfDisconnect" in (pair.client.fault or "")
    assert "too many connections" in (pair.client.fault or "")


def test_a_result_code_has_the_standard_s_name_or_its_number() -> None:
    assert (code_name(49), code_name(4711)) == ("invalidCredentials", "code 4711")
