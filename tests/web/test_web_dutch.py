"""What stays English on a Dutch page: nothing that has a translation, wherever it was kept."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser

import pytest

from lab.ca import Authority
from mxseal.faces.web.retold import catalogue_of, retold
from mxseal.faces.web.texts import catalogue
from mxseal.tls.facts import Diagnosis
from tests.web.alert_texts import titles
from tests.web.asking import Ask, asker
from tests.web.pages import EXAMPLES
from tests.web.serving import WebServing

_PLACE = re.compile(r"\{\w*\}")


class Reader(HTMLParser):
    """The texts of a page, those apart that are no prose: code, logs, what was typed."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []
        self._apart: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        plain = tag in {"code", "pre", "script", "style"} or (
            tag != "html" and dict(attrs).get("lang") == "en"
        )
        if (plain or self._apart) and tag not in {"input", "br", "wbr", "meta", "link", "img", "hr"}:
            self._apart.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if self._apart and self._apart[-1] == tag:
            self._apart.pop()

    def handle_data(self, data: str) -> None:
        if not self._apart and (text := " ".join(data.split())):
            self.texts.append(text)


@pytest.fixture
def ask(web: WebServing, authority: Authority) -> Iterator[Ask]:
    with asker(web, authority) as make:
        yield make


def left(text: str) -> bool:
    """Whether a text of a Dutch page is one that has a Dutch one."""
    # one word alone may be somebody's name, or a value as it is typed
    return " " in text and (catalogue("nl").get(text, text) != text or retold("nl", text) != text)


def test_no_sentence_with_a_translation_stays_english_on_any_page(ask: Ask) -> None:
    client = ask("anna", **{"Accept-Language": "nl"})
    found = set()
    for address in sorted({each for each in EXAMPLES.values() if each} - {"/login"}):
        reader = Reader()
        page = client.get(address)
        assert '<html lang="nl"' in page.text
        reader.feed(page.text)
        found |= {(address, text) for text in reader.texts if left(text)}
    assert found == set()


def test_a_sentence_that_a_record_keeps_is_told_in_dutch_with_what_stood_in_it() -> None:
    words = {"who": "server", "host": "mx.{bank}.example", "reason": "no route to host"}
    kept = Diagnosis(cause="connect-unreachable", side="unclear", words=words)
    dutch = kept.tell_summary(lambda text: catalogue_of("nl", "diagnosis").get(text, text))
    assert "mx.{bank}.example" in dutch
    assert dutch != kept.summary
    assert retold("nl", kept.summary) == dutch
    assert retold("en", kept.summary) == kept.summary
    assert retold("nl", "What nobody has translated {name}") == "What nobody has translated {name}"


def test_a_sentence_of_a_strangers_making_takes_no_time() -> None:
    text = "TLS connection to " + " was required but could not be established: " * 20
    assert retold("nl", text).startswith("Een TLS-verbinding met ")
    assert retold("nl", "a" * 100_000) == "a" * 100_000


def test_every_title_of_an_alert_has_a_translation_with_its_places() -> None:
    known = catalogue_of("nl", "alerts")

    def shape(text: str) -> str:
        return _PLACE.sub("{}", text)

    assert {shape(text) for text in titles()} - {shape(text) for text in known} == {"{} {}"}
    places = {one: (_PLACE.findall(one), _PLACE.findall(other)) for one, other in known.items()}
    assert [one for one, (ours, theirs) in places.items() if sorted(ours) != sorted(theirs)] == []
    told = retold("nl", "The certificate mx 2 expires in 3 days")
    assert told == "Het certificaat mx 2 verloopt over 3 dagen"
