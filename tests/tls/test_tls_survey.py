"""Finding out versions and ciphers with few hellos, against servers made of a few lines."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from mxseal.tls.offer import VERSIONS, Offer, Version, suites
from mxseal.tls.serverhello import ServerAnswer
from mxseal.tls.survey import Survey, survey

Answering = Callable[[Offer], ServerAnswer]
REFUSED = ServerAnswer(kind="alert", text="handshake failure")
TOO_OLD = ServerAnswer(kind="alert", text="protocol version")
GCM, CHACHA, CBC, TRIPLE_DES = 0xC02F, 0xCCA8, 0xC013, 0x000A


class Server(msgspec.Struct, frozen=True, kw_only=True):
    """Takes these suites with these versions; the order is its own, or the client's."""

    versions: tuple[Version, ...] = ("TLSv1.3", "TLSv1.2")
    modern: tuple[int, ...] = (0x1301, 0x1302)
    older: tuple[int, ...] = (GCM, CHACHA)
    prefers: bool = True

    def __call__(self, offer: Offer) -> ServerAnswer:
        below = VERSIONS[VERSIONS.index(offer.version) :]
        if offer.version == "TLSv1.3":
            below = ("TLSv1.3",)
        version = next((each for each in below if each in self.versions), None)
        if version is None:
            return TOO_OLD
        mine = self.modern if version == "TLSv1.3" else self.older
        mine = tuple(number for number in mine if number in suites(version))
        order = mine if self.prefers else offer.ciphers
        cipher = next((each for each in order if each in mine and each in offer.ciphers), None)
        if cipher is None:
            return REFUSED
        return ServerAnswer(kind="hello", version=version, cipher=cipher, renegotiation=True)


def asked(server: Answering, most: int = 1000) -> tuple[Survey, list[Offer]]:
    """The survey, and what was offered."""
    asking = survey()
    offers = [next(asking)]
    while True:
        answer = server(offers[-1]) if len(offers) <= most else ServerAnswer(kind="untested", text="enough")
        try:
            offers.append(asking.send(answer))
        except StopIteration as end:
            return end.value, offers


def states(found: Survey) -> dict[str, str]:
    return {each.name: each.state for each in found.versions}


def names(found: Survey, version: str) -> set[str]:
    return {each.name for each in found.ciphers if each.version == version}


def test_a_current_server_is_known_after_a_dozen_hellos() -> None:
    found, offers = asked(Server())
    assert found.accepted == ("TLSv1.3", "TLSv1.2")
    assert states(found)["TLSv1"] == "refused"
    assert names(found, "TLSv1.3") == {"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384"}
    assert names(found, "TLSv1.2") == {
        "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
    }  # fmt: skip
    assert found.listed == ("TLSv1.3", "TLSv1.2")
    assert len(offers) == 5 + 2 + 3 + 1


def test_a_choice_of_a_lower_version_saves_the_hellos_for_those_between() -> None:
    found, offers = asked(Server(versions=("TLSv1",), older=(CBC,)))
    assert states(found) == {
        "TLSv1.3": "refused", "TLSv1.2": "refused", "TLSv1.1": "refused", "TLSv1": "accepted",
        "SSLv3": "refused",
    }  # fmt: skip
    assert [offer.version for offer in offers[:3]] == ["TLSv1.3", "TLSv1.2", "SSLv3"]


@settings(max_examples=30)
@given(
    st.sets(st.sampled_from(suites("TLSv1.2")), min_size=1, max_size=25),
    st.sets(st.sampled_from(suites("TLSv1.3"))),
    st.booleans(),
)
def test_every_suite_of_a_server_is_found_and_no_other(
    older: set[int], modern: set[int], prefers: bool
) -> None:
    versions: tuple[Version, ...] = ("TLSv1.3", "TLSv1.2") if modern else ("TLSv1.2",)
    server = Server(versions=versions, older=tuple(older), modern=tuple(modern), prefers=prefers)
    found, offers = asked(server)
    assert len(names(found, "TLSv1.2")) == len(older)
    assert len(names(found, "TLSv1.3")) == len(modern)
    assert len(found.ciphers) == len(older) + len(modern)
    assert len(offers) <= 5 + len(older) + len(modern) + 4


def test_whose_order_decides_is_seen_by_offering_the_first_choice_last() -> None:
    assert asked(Server())[0].order == "server"
    assert asked(Server(prefers=False))[0].order == "client"
    assert asked(Server(older=(GCM,)))[0].order == "unknown"


def test_broken_suites_are_asked_for_before_the_rest() -> None:
    server = Server(versions=("TLSv1.2",), older=(GCM, CHACHA, TRIPLE_DES))
    found, _ = asked(server, most=6)
    assert "TLS_RSA_WITH_3DES_EDE_CBC_SHA" in names(found, "TLSv1.2")
    assert "TLSv1.2" not in found.listed


def test_what_could_not_be_asked_is_untested_and_not_refused() -> None:
    found, _ = asked(Server(), most=2)
    assert states(found) == {
        "TLSv1.3": "accepted", "TLSv1.2": "accepted", "TLSv1.1": "untested", "TLSv1": "untested",
        "SSLv3": "untested",
    }  # fmt: skip
    assert found.listed == ()


def test_a_server_that_only_hangs_up_leaves_all_versions_untested() -> None:
    found, _ = asked(lambda _: ServerAnswer(kind="closed"))
    assert set(states(found).values()) == {"untested"}


def test_hanging_up_on_one_version_refuses_it_where_another_is_accepted() -> None:
    def choking(offer: Offer) -> ServerAnswer:
        return ServerAnswer(kind="closed") if offer.version == "TLSv1.3" else Server()(offer)

    found, _ = asked(choking)
    assert states(found)["TLSv1.3"] == "refused"
    assert found.versions[0].how == "closed without an answer"


def test_a_server_that_ignores_the_offer_is_not_asked_for_ever() -> None:
    def stubborn(offer: Offer) -> ServerAnswer:
        return ServerAnswer(kind="hello", version=offer.version, cipher=GCM)

    found, offers = asked(stubborn)
    assert len(offers) < 20
    assert any("which was not offered" in text for text in found.odd)


def test_a_server_that_takes_everything_is_not_asked_to_the_end() -> None:
    found, offers = asked(Server(versions=("TLSv1.2",), older=suites("TLSv1.2")))
    assert len(offers) < 150
    assert found.listed == ()


def test_clear_text_in_the_place_of_tls_is_told() -> None:
    found, _ = asked(lambda _: ServerAnswer(kind="clear-text", text="454 no TLS"))
    assert set(states(found).values()) == {"untested"}
    assert found.odd[0] == "The answer to a TLSv1.3 greeting was not TLS: 454 no TLS."


def test_a_version_higher_than_offered_is_not_believed() -> None:
    found, _ = asked(lambda _: ServerAnswer(kind="hello", version="TLSv1.3", cipher=0x1301))
    assert found.accepted == ("TLSv1.3",)
    assert found.versions[1].how == "chose TLSv1.3, which was not offered"
