"""`certconfig crl`: sources on the candidate; lists of those in force, from a real web server."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from lab.ca import Authority
from mxseal.certs.revocation import CrlKeeper
from mxseal.clock import ManualClock
from mxseal.commands import certificate_crl, configuration
from mxseal.commands.context import Role
from mxseal.commands.registry import Registry
from mxseal.config.model import CrlSource
from mxseal.events.bus import Bus
from mxseal.storage.home import Home
from tests.certs.publisher import Publisher, crl, der, trusting
from tests.commands.desk import Desk
from tests.commands.gateway import FakeServices

COMMANDS = Registry((certificate_crl, configuration))
CRL = ("certconfig", "crl")
START = datetime.now(UTC).timestamp()
DAY = 86_400.0


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority("Partner Root")


@pytest.fixture
def web() -> Iterator[Publisher]:
    with Publisher() as server:
        yield server


class Services(FakeServices):
    """A gateway whose keeper has the document in force."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.clock = ManualClock(START)
        self.crls = CrlKeeper(Home(folder), self.clock, Bus())

    def now(self) -> float:
        return self.clock.now()


def desk(tmp_path: Path, role: Role = "certificate-officer") -> Desk:
    return Desk(COMMANDS, role, services=Services(tmp_path))


def keeper(made: Desk) -> CrlKeeper:
    assert isinstance(made.services, Services)
    return made.services.crls


async def in_force(made: Desk, authority: Authority) -> None:
    """Commit, with an authority that is believed, and hand the document to the keeper."""
    trust = trusting(authority).trust.model_copy(
        update={"crl_sources": made.document.trust.crl_sources, "crl_outbound": True}
    )
    made.services.edit(made.context.owner, trust=trust)
    await made.ok("commit", "sources")
    keeper(made).configure(made.document)


async def test_a_source_is_made_changed_and_deleted(tmp_path: Path) -> None:
    made = desk(tmp_path)
    await made.ok(*CRL, "new", "Partner CA", "http://crl.partner.example/ca.crl", "--schedule", "weekly",
                  "--secondary", "https://mirror.example/ca.crl")  # fmt: skip
    assert made.document.trust.crl_sources == (
        CrlSource(
            name="Partner CA", url="http://crl.partner.example/ca.crl",
            secondary_url="https://mirror.example/ca.crl", schedule="weekly",
        ),
    )  # fmt: skip
    assert "the lists are fetched and not used" in made.text
    await made.ok(
        *CRL, "edit", "partner ca", "--secondary", "none", "--schedule", "hourly", "--enable", "off"
    )
    (source,) = made.document.trust.crl_sources
    assert (source.secondary_url, source.schedule, source.enabled) == (None, "hourly", False)
    assert "Say what changes" in await made.refused(*CRL, "edit", "partner ca")
    assert "There is a source called Partner CA already" in await made.refused(
        *CRL, "new", "partner ca", "http://x.example/"
    )
    await made.ok(*CRL, "delete", "Partner CA")
    assert not made.document.trust.crl_sources


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("ftp://crl.example/ca.crl", "is not an http:// or https:// address"),
        ("ldap://crl.example/cn=ca", "is not an http:// or https:// address"),
        ("file:///etc/passwd", "is not an http:// or https:// address"),
        ("http://user:secret@crl.example/", "would stand in the document"),
        ("http://crl.example/a b", "characters that a URL can't have"),
        ("http://crl.example:99999/", "is not a URL"),
        ("crl.example", "is not an http:// or https:// address"),
    ],
)
async def test_addresses_that_are_none_are_refused_here_and_by_commit(
    url: str, told: str, tmp_path: Path
) -> None:
    made = desk(tmp_path)
    assert told in await made.refused(*CRL, "new", "x", url)
    trust = made.document.trust.model_copy(update={"crl_sources": (CrlSource(name="x", url=url),)})
    made.services.edit(made.context.owner, trust=trust)
    assert await made.run("commit", "x") == "failed"
    assert told in made.text


async def test_two_sources_of_one_name_are_refused_by_commit(tmp_path: Path) -> None:
    made = desk(tmp_path)
    twice = tuple(CrlSource(name=name, url="http://x.example/") for name in ("a", "A"))
    trust = made.document.trust.model_copy(update={"crl_sources": twice})
    made.services.edit(made.context.owner, trust=trust)
    assert await made.run("commit", "x") == "failed"
    assert "the name 'A' is used twice" in made.text


async def test_setup_switches_the_look_up_and_says_what_is_missing(tmp_path: Path) -> None:
    made = desk(tmp_path)
    await made.ok(*CRL, "setup", "--inbound", "on", "--outbound", "on")
    assert (made.document.trust.crl_inbound, made.document.trust.crl_outbound) == (True, True)
    assert "there is no source that is switched on" in made.text
    await made.ok(*CRL, "setup", "--inbound", "off")
    assert (made.document.trust.crl_inbound, made.document.trust.crl_outbound) == (False, True)
    assert "Say what changes" in await made.refused(*CRL, "setup")


async def test_an_update_fetches_what_is_in_force_and_tells_how_it_goes(
    tmp_path: Path, web: Publisher, authority: Authority
) -> None:
    made = desk(tmp_path, "administrator")
    assert "There is no source in the configuration in force" in await made.refused(*CRL, "update")
    web.pages["/ca.crl"] = der(crl(authority, authority.issue("a.example").certificate, at=START))
    await made.ok(*CRL, "new", "partner", web.url())
    await made.ok(*CRL, "new", "gone", web.url("/gone.crl"))
    assert "There is no source in the configuration" in await made.refused(*CRL, "update")
    await in_force(made, authority)
    await made.ok(*CRL, "update", "partner")
    assert made.text.startswith(
        f"partner: asking {web.url()} partner: 1 revoked certificate of Partner Root, valid until 2"
    )
    assert [chunk.get("progress") or chunk["outcome"]["revoked"] for chunk in made.chunks] == [
        f"asking {web.url()}", 1,
    ]  # fmt: skip
    told = await made.refused(*CRL, "update")
    assert "gone: not fetched: " in told
    assert "404 Not Found; there is no list" in told
    assert told.endswith("Not fetched: gone")
    assert len(web.asked) == 3


async def test_the_list_shows_what_is_here_and_what_is_wrong(
    tmp_path: Path, web: Publisher, authority: Authority
) -> None:
    made = desk(tmp_path)
    await made.ok(*CRL, "list")
    assert "There is no source." in made.text
    web.pages["/ca.crl"] = der(crl(authority, at=START))
    await made.ok(*CRL, "new", "partner", web.url())
    await made.ok(*CRL, "new", "gone", web.url("/gone.crl"))
    await in_force(made, authority)
    await made.run(*CRL, "update")
    rows = await made.ok(*CRL, "list")
    assert [(row["name"], row["list"], row["revoked"], row["failures"]) for row in rows] == [
        ("partner", "in-date", 0, 0),
        ("gone", "none", None, 1),
    ]
    assert "404 Not Found" in rows[1]["problem"]
    assert "Incoming mail: not looked up. Deliveries: looked up." in made.text
    assert isinstance(made.services, Services)
    made.services.clock.advance(2 * DAY)
    rows = await made.ok(*CRL, "list")
    assert rows[0]["list"] == "outdated"
    assert "out of date" in made.text


async def test_print_shows_a_list_and_finds_one_certificate_in_it(
    tmp_path: Path, web: Publisher, authority: Authority
) -> None:
    made = desk(tmp_path)
    revoked = [authority.issue(f"{n}.example").certificate for n in range(3)]
    web.pages["/ca.crl"] = der(crl(authority, *revoked, at=START))
    await made.ok(*CRL, "new", "partner", web.url())
    shown = await made.ok(*CRL, "print", "partner")
    assert (shown["list"], shown["url"]) == ("none", web.url())
    await in_force(made, authority)
    await made.ok(*CRL, "update")
    sheet, rows = await made.ok(*CRL, "print", "Partner", "--limit", "2")
    assert (sheet["issuer"], sheet["signed_by"], sheet["revoked"]) == ("Partner Root", "Partner Root", 3)
    assert [row["reason"] for row in rows] == ["keyCompromise"] * 2
    assert "2 of 3." in made.text
    number = f"{revoked[2].serial_number:X}"
    spelled = ":".join(
        number.zfill(len(number) + len(number) % 2)[at : at + 2] for at in range(0, len(number), 2)
    )
    _, rows = await made.ok(*CRL, "print", "partner", "--serial", spelled.lower())
    assert [row["serial"] for row in rows] == [number]
    await made.ok(*CRL, "print", "partner", "--serial", "abc")
    assert "abc is not in the list." in made.text
    keeper(made).path("partner").write_bytes(b"damaged")
    assert "'certconfig crl update' fetches it anew" in await made.refused(*CRL, "print", "partner")


async def test_an_operator_fetches_and_changes_nothing(tmp_path: Path) -> None:
    made = desk(tmp_path, "operator")
    assert "needs the role" in await made.refused(*CRL, "new", "x", "http://x.example/")
    assert "There is no source in the configuration" in await made.refused(*CRL, "update")


async def test_completion_knows_the_sources(tmp_path: Path) -> None:
    made = desk(tmp_path)
    await made.ok(*CRL, "new", "partner", "http://x.example/")
    assert [each.value for each in COMMANDS.complete([*CRL, "update"], "p", made.context)] == ["partner"]
