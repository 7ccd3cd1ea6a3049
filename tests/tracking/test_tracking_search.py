"""Messages are found by what is known of them."""

from __future__ import annotations

from typing import Any

import pytest

from mxseal.storage.tracking.values import Query, TlsWanted
from tests.tracking.journal import TLS13, Journal, Mail, Tracking


@pytest.fixture
def five(journal: Journal, mail: Mail, tracking: Tracking) -> Tracking:
    """1 delivered over TLS, 2 bounced, 3 waits after TLS failed, 4 in clear, 5 with a refused recipient."""
    journal.write(
        *mail.comes(), *mail.message(to=("bob@here.test", "Eve@Sub.Here.test"), subject="Grüße aus Köln"),
        *mail.goes(), *mail.delivered(0, 1), *mail.finished(),
        *mail.message("Carl@Other.test", ("gone@there.test",), message_id="<Odd-1@x>"),
        *mail.goes("there.test"), *mail.bounced(), *mail.finished(),
        *mail.message("", ("dan@masked.test",), subject="Re: Hello again"),
        *mail.goes("masked.test", failed=True, level="required"), *mail.delayed(),
        *mail.leaves(), *mail.comes(ip="2001:db8::5", name=None, tls=None),
        *mail.message("zoe@a_b.test", ("box@here.test",)), *mail.goes(tls=None), *mail.delivered(0),
        *mail.finished(),
        *mail.message(refused=("nobody@here.test",)), *mail.goes(), *mail.delivered(0), *mail.finished(),
    )  # fmt: skip
    tracking.run()
    return tracking


FOUND: list[tuple[dict[str, Any], list[int]]] = [
    ({}, [5, 4, 3, 2, 1]),
    ({"sender": "ann@sender.test"}, [5, 1]),
    ({"sender": "carl@other.TEST"}, [2]),
    ({"sender": "other.test"}, [2]),
    ({"sender": "@other.test"}, [2]),
    ({"sender": "<>"}, [3]),
    ({"sender": "a_b.test"}, [4]),
    ({"sender": "*a_b*"}, [4]),
    ({"sender": "axb.test"}, []),
    ({"sender": "*axb*"}, []),
    ({"recipient": "eve@sub.here.test"}, [1]),
    ({"recipient": "here.test"}, [5, 4, 1]),
    ({"recipient": ".here.test"}, [1]),
    ({"recipient": "bob@"}, [5, 1]),
    ({"recipient": "bo*"}, [5, 4, 1]),
    ({"recipient": "B*@here.test"}, [5, 4, 1]),
    ({"recipient": "*one*"}, [2]),
    ({"recipient": "gone"}, [2]),
    ({"recipient": "here.test", "sender": "ann@sender.test"}, [5, 1]),
    ({"recipient": "nobody@nowhere.test"}, []),
    ({"subject": "gruße"}, [1]),
    ({"subject": "ko\u0308ln"}, [1]),
    ({"subject": "KÖLN aus"}, [1]),
    ({"subject": "hel*"}, [5, 4, 3, 2]),
    ({"subject": 'again "hello'}, [3]),
    ({"subject": "koln again"}, []),
    ({"subject": "?!"}, []),
    ({"message_id": "odd-1@X"}, [2]),
    ({"message_id": "<Odd-1@x>"}, [2]),
    ({"message_id": "odd-2@x"}, []),
    ({"mid": 4}, [4]),
    ({"mid": 44}, []),
    ({"icid": 1}, [3, 2, 1]),
    ({"dcid": 2}, [2]),
    ({"dcid": 0}, []),
    ({"host": "mx.sender.test"}, [3, 2, 1]),
    ({"host": ".sender.test"}, [3, 2, 1]),
    ({"host": "2001:DB8::5"}, [5, 4]),
    ({"host": "mx.here.test"}, [5, 4, 1]),
    ({"host": "198.51.*"}, [5, 4, 3, 2, 1]),
    ({"happened": ("delivered",)}, [5, 4, 1]),
    ({"happened": ("bounced",)}, [2]),
    ({"happened": ("delayed", "tls-failed")}, [3]),
    ({"happened": ("delayed", "bounced")}, []),
    ({"happened": ("waiting",)}, [3]),
    ({"happened": ("in-clear",)}, [4]),
    ({"happened": ("refused-recipient",)}, [5]),
    ({"tls": TlsWanted(states=("failed",))}, [3]),
    ({"tls": TlsWanted(states=("clear",))}, [5, 4]),
    ({"tls": TlsWanted(states=("clear",), side="out")}, [4]),
    ({"tls": TlsWanted(protocol="tlsv1.3", side="in")}, [3, 2, 1]),
    ({"tls": TlsWanted(cipher=TLS13.cipher, side="out")}, [5, 2, 1]),
    ({"tls": TlsWanted(protocol="TLSv1.2")}, []),
    ({"tls": TlsWanted(level="required")}, [3]),
    ({"tls": TlsWanted(cause="starttls-masked")}, [3]),
]


@pytest.mark.parametrize(("query", "mids"), FOUND, ids=[str(query) for query, _ in FOUND])
def test_messages_are_found_by(five: Tracking, query: dict[str, Any], mids: list[int]) -> None:
    assert five.mids(**query) == mids


def test_a_time_bounds_a_search_on_both_sides(five: Tracking) -> None:
    third = five.all(mid=3)[0].at
    assert five.mids(since=third) == [5, 4, 3]
    assert five.mids(until=third) == [2, 1]
    assert five.mids(since=third, until=third + 0.0001) == [3]
    assert five.mids(since=third + 1e6) == []
    assert five.mids(until=third - 1e6) == []


def test_pages_join_without_a_gap_whatever_their_size(five: Tracking) -> None:
    for size in (1, 2, 3, 5, 100):
        assert [found.mid for found in five.all(page=size)] == [5, 4, 3, 2, 1]
        assert [found.mid for found in five.all(page=size, recipient="here.test")] == [5, 4, 1]


def test_paging_stays_where_it_is_while_messages_come_in(
    five: Tracking, journal: Journal, mail: Mail
) -> None:
    first = five.file.search(Query(), 2)
    journal.write(*mail.whole())
    five.run()
    second = five.file.search(Query(), 2, first.following)
    assert [found.mid for found in second.messages] == [3, 2]
    assert five.mids()[0] == 6


def test_a_page_whose_time_is_over_says_so_and_is_continued(five: Tracking) -> None:
    found, after, pages = [], None, 0
    while pages < 100:
        page = five.file.search(Query(recipient="here.test"), 50, after, seconds=-1)
        found += [each.mid for each in page.messages]
        pages, after = pages + 1, page.following
        if after is None:
            break
    assert found == [5, 4, 1]


def test_a_place_that_no_page_gave_is_refused(five: Tracking) -> None:
    for text in ("", "x", "1", "1.2.3", "1.-2", "1." + "9" * 50):
        with pytest.raises(ValueError, match="page"):
            five.file.search(Query(), 5, text)


def test_what_is_found_says_all_about_the_message(five: Tracking) -> None:
    (found,) = five.all(mid=1)
    assert (found.sender, found.recipients) == ("ann@sender.test", ("bob@here.test", "Eve@Sub.Here.test"))
    assert (found.state, found.delivered, found.recipient_count) == ("delivered", 2, 2)
    assert (found.remote_host, found.remote_ip) == ("mx.sender.test", "192.0.2.7")
    assert found.tls_in is not None
    assert (found.tls_in.state, found.tls_in.protocol, found.tls_in.group) == (
        "encrypted",
        "TLSv1.3",
        "x25519",
    )
    assert [tls.side for tls in found.tls_out] == ["out"]
    assert five.all(mid=2)[0].state == "bounced"
    assert five.all(mid=3)[0].state == "waiting"


def test_what_was_refused_is_found_apart(five: Tracking) -> None:
    page = five.file.refused(Query(recipient="here.test"), ("recipient",), 10)
    (refused,) = page.refused
    assert (refused.recipient, refused.mid, refused.reason) == ("nobody@here.test", 5, "by RAT")
    assert five.file.refused(Query(recipient="nobody@there.test"), (), 10).refused == ()
    story = five.file.story(5)
    assert story is not None
    assert [each.recipient for each in story.refused] == ["nobody@here.test"]
