"""Lists of revoked certificates from a real web server: fetched, judged, kept, and read by workers."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from lab.ca import Authority, Issued
from mxseal.certs import fetching
from mxseal.certs.revocation import CrlKeeper, CrlState
from mxseal.certs.revoked import Lists, Revoked, read_lists
from mxseal.clock import ManualClock
from mxseal.config.model import Document
from mxseal.events.bus import Bus
from mxseal.events.types import RevocationListFailed, RevocationListFetched
from mxseal.storage.home import Home
from mxseal.tls.anchors import Revocations
from mxseal.tls.verification import Revocation
from tests.certs.publisher import Publisher, crl, der, pem, trusting
from tests.relay.harness import Collected

START = datetime.now(UTC).timestamp()
HOUR = 3600.0


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority("Partner Root")


@pytest.fixture(scope="module")
def issuer(authority: Authority) -> Authority:
    return authority.intermediate("Partner Issuer")


@pytest.fixture(scope="module")
def withdrawn(issuer: Authority) -> Issued:
    return issuer.issue("mx.partner.example")


@pytest.fixture(scope="module")
def sound(issuer: Authority) -> Issued:
    return issuer.issue("mx2.partner.example")


@pytest.fixture
def web() -> Iterator[Publisher]:
    with Publisher() as server:
        yield server


class Desk:
    """A keeper and what it tells; another one at the same home is a restart."""

    def __init__(self, folder: Path, clock: ManualClock | None = None) -> None:
        self.home = Home(folder)
        self.clock = clock or ManualClock(START)
        self.told = Collected()
        bus = Bus()
        bus.add(self.told)
        self.keeper = CrlKeeper(self.home, self.clock, bus)
        self.changes = 0
        self.keeper.changed = self._changed

    def _changed(self) -> None:
        self.changes += 1

    @property
    def folder(self) -> Path:
        return self.home.root / "crl"

    async def fetched(self, count: int = 1) -> RevocationListFetched:
        found = await self.told.until(RevocationListFetched, count)
        await self.at_rest()
        return found[-1]

    async def failed(self, count: int = 1) -> RevocationListFailed:
        found = await self.told.until(RevocationListFailed, count)
        await self.at_rest()
        return found[-1]

    async def at_rest(self) -> None:
        """Until nothing that is due is being fetched any more."""
        while self.keeper._working is not None:
            await asyncio.sleep(0)

    @property
    def state(self) -> CrlState:
        (state,) = self.keeper.states()
        return state


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def source(web: Publisher, path: str = "/ca.crl", **values: Any) -> dict[str, Any]:
    return {"name": "partner", "url": web.url(path), **values}


def chain(issued: Issued) -> tuple[bytes, ...]:
    return tuple(each.public_bytes(Encoding.DER) for each in issued.chain)


def lists_of(desk: Desk, document: Document) -> Lists:
    return read_lists(desk.folder, document, desk.clock.now())


# --- fetching and keeping ---------------------------------------------------------------------------------


@pytest.mark.parametrize("form", [der, pem])
async def test_a_list_is_fetched_at_the_start_and_kept_for_the_owner_alone(
    form: Any, desk: Desk, web: Publisher, issuer: Authority, withdrawn: Issued
) -> None:
    made = crl(issuer, withdrawn.certificate, at=START)
    web.pages["/ca.crl"] = form(made)
    desk.keeper.start(trusting(issuer, source(web)))
    told = await desk.fetched()
    await desk.keeper.stop()
    assert (told.source, told.issuer, told.revoked, told.fresh) == ("partner", "Partner Issuer", 1, True)
    assert told.next_update == int(START) + 24 * HOUR
    kept = desk.folder / "partner.crl"
    assert kept.read_bytes() == der(made)
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert stat.S_IMODE(desk.folder.stat().st_mode) == 0o700
    assert desk.changes == 1
    state = desk.state
    assert (state.signer, state.url, state.problem, state.failures) == (
        "Partner Issuer", web.url(), "", 0,
    )  # fmt: skip


async def test_what_was_known_survives_a_restart_and_nothing_is_fetched_before_its_time(
    desk: Desk, web: Publisher, issuer: Authority
) -> None:
    document = trusting(issuer, source(web))
    web.pages["/ca.crl"] = der(crl(issuer, at=START, hours=1000))
    desk.keeper.start(document)
    await desk.fetched()
    await desk.keeper.stop()
    desk.clock.advance(23 * HOUR)
    again = Desk(desk.home.root, desk.clock)
    again.keeper.start(document)
    await again.at_rest()
    assert again.state == desk.state
    assert web.asked == ["/ca.crl"]
    again.clock.advance(HOUR)
    assert not (await again.fetched()).fresh
    await again.keeper.stop()
    assert web.asked == ["/ca.crl"] * 2
    assert again.changes == 0


@pytest.mark.parametrize(("schedule", "hours"), [("hourly", 1), ("daily", 24), ("weekly", 168)])
async def test_a_schedule_says_when_the_next_attempt_is(
    schedule: str, hours: int, desk: Desk, web: Publisher, issuer: Authority
) -> None:
    web.pages["/ca.crl"] = der(crl(issuer, at=START, hours=1000))
    desk.keeper.start(trusting(issuer, source(web, schedule=schedule)))
    await desk.fetched()
    desk.clock.advance(hours * HOUR - 1)
    await desk.at_rest()
    assert len(web.asked) == 1
    desk.clock.advance(1)
    await desk.fetched(2)
    await desk.keeper.stop()


async def test_a_list_that_ends_before_the_schedule_is_replaced_when_it_ends(
    desk: Desk, web: Publisher, issuer: Authority
) -> None:
    web.pages["/ca.crl"] = der(crl(issuer, at=START, hours=2))
    desk.keeper.start(trusting(issuer, source(web, schedule="weekly")))
    await desk.fetched()
    web.pages["/ca.crl"] = der(crl(issuer, at=START + 2 * HOUR))
    desk.clock.advance(2 * HOUR)
    assert (await desk.fetched(2)).fresh
    await desk.keeper.stop()
    assert desk.state.kept(desk.clock.now()) == "in-date"


@pytest.mark.parametrize("values", [{"schedule": "never"}, {"enabled": False}])
async def test_a_source_that_is_never_due_is_fetched_by_hand_only(
    values: dict[str, Any], desk: Desk, web: Publisher, issuer: Authority
) -> None:
    web.pages["/ca.crl"] = der(crl(issuer, at=START))
    desk.keeper.start(trusting(issuer, source(web, **values)))
    desk.clock.advance(1000 * HOUR)
    await desk.at_rest()
    assert web.asked == []
    desk.clock.advance(-1000 * HOUR)
    steps: list[str] = []
    state = await desk.keeper.update("partner", steps.append)
    assert state.problem == ""
    assert steps == [f"asking {web.url()}"]
    with pytest.raises(KeyError):
        await desk.keeper.update("nobody")
    await desk.keeper.stop()


async def test_the_second_address_is_asked_when_the_first_fails(
    desk: Desk, web: Publisher, issuer: Authority
) -> None:
    web.pages["/second.crl"] = der(crl(issuer, at=START))
    desk.keeper.start(trusting(issuer, source(web, secondary_url=web.url("/second.crl"))))
    assert (await desk.fetched()).url == web.url("/second.crl")
    await desk.keeper.stop()
    assert web.asked == ["/ca.crl", "/second.crl"]


async def test_attempts_that_fail_are_repeated_with_growing_waits(
    desk: Desk, web: Publisher, issuer: Authority
) -> None:
    desk.keeper.start(trusting(issuer, source(web, schedule="hourly")))
    failed = await desk.failed()
    assert failed.kept == "none"
    assert failed.problem == f"{web.url()}: it answers 404 Not Found"
    for number, wait in enumerate((300.0, 600.0, 1200.0, 2400.0, 3600.0, 3600.0), 2):
        desk.clock.advance(wait - 1)
        await desk.at_rest()
        assert len(web.asked) == number - 1
        desk.clock.advance(1)
        await desk.failed(number)
    await desk.keeper.stop()


async def test_a_list_that_does_not_come_leaves_the_last_one_which_ends_by_itself(
    desk: Desk, web: Publisher, issuer: Authority
) -> None:
    web.pages["/ca.crl"] = der(crl(issuer, at=START, hours=25))
    desk.keeper.start(trusting(issuer, source(web), crl_outbound=True))
    await desk.fetched()
    del web.pages["/ca.crl"]
    desk.clock.advance(24 * HOUR)
    assert (await desk.failed()).kept == "in-date"
    desk.clock.advance(HOUR)
    assert (await desk.failed(2)).kept == "outdated"
    await desk.keeper.stop()
    assert desk.changes == 2, "the workers read it once more, now as out of date"
    (fact,) = desk.keeper.facts()
    assert fact.next_update == int(START) + 25 * HOUR
    assert "404" in fact.problem


async def test_a_new_document_removes_lists_and_asks_new_addresses_at_once(
    desk: Desk, web: Publisher, issuer: Authority
) -> None:
    web.pages["/ca.crl"] = web.pages["/other.crl"] = der(crl(issuer, at=START))
    desk.keeper.start(trusting(issuer, source(web)))
    await desk.fetched()
    desk.keeper.configure(trusting(issuer, source(web, "/other.crl")))
    assert (await desk.fetched(2)).url == web.url("/other.crl")
    desk.keeper.configure(trusting(issuer))
    await desk.keeper.stop()
    assert list(desk.folder.glob("*.crl")) == []
    assert desk.keeper.states() == []


async def test_facts_are_those_of_lists_in_use(desk: Desk, web: Publisher, issuer: Authority) -> None:
    desk.keeper.configure(trusting(issuer, source(web)))
    assert desk.keeper.facts() == []
    desk.keeper.configure(trusting(issuer, source(web), crl_inbound=True))
    assert [fact.name for fact in desk.keeper.facts()] == ["partner"]
    desk.keeper.configure(trusting(issuer, source(web, enabled=False), crl_inbound=True))
    assert desk.keeper.facts() == []


async def test_a_disk_that_refuses_is_told_and_the_last_list_stays(
    desk: Desk, web: Publisher, issuer: Authority
) -> None:
    web.pages["/ca.crl"] = der(crl(issuer, at=START))
    desk.keeper.configure(trusting(issuer, source(web)))
    desk.folder.write_text("a file where the folder should be")
    state = await desk.keeper.update("partner")
    assert state.problem.startswith("the list can't be kept: ")
    assert state.found is None


# --- what is not taken ------------------------------------------------------------------------------------


async def problem_of(desk: Desk, web: Publisher, issuer: Authority, page: Any) -> str:
    """Why a page is not taken; nothing may change on the disk."""
    web.pages["/ca.crl"] = page
    desk.keeper.configure(trusting(issuer, source(web, schedule="never")))
    before = {path: path.read_bytes() for path in desk.folder.glob("*.crl")}
    state = await desk.keeper.update("partner")
    assert {path: path.read_bytes() for path in desk.folder.glob("*.crl")} == before
    return state.problem.removeprefix(f"{web.url()}: ")


@pytest.mark.parametrize(
    ("page", "told"),
    [
        (b"\x30\x03\x02\x01\x01", "what came is no list of revoked certificates, or is damaged"),
        (b"", "what came is no list"),
        (b"\n<html>Sign in</html>", "what came is a web page"),
        (b"-----BEGIN CERTIFICATE-----\n", "what came is PEM text of another kind"),
        (b"-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n", "what came is no list"),
        ((302, {"Location": "http://127.0.0.1/x"}), "it answers 302 and sends on to http://127.0.0.1/x"),
        ((503, {}), "it answers 503 Service Unavailable"),
        ((200, {"Content-Length": str(65 << 20)}), "it is larger than 64 MiB"),
    ],
)
async def test_what_is_no_list_is_refused(
    page: Any, told: str, desk: Desk, web: Publisher, issuer: Authority
) -> None:
    assert (await problem_of(desk, web, issuer, page)).startswith(told)


async def test_several_lists_in_one_file_are_refused(desk: Desk, web: Publisher, issuer: Authority) -> None:
    both = pem(crl(issuer, at=START)) * 2
    assert "several lists" in await problem_of(desk, web, issuer, both)


async def test_what_goes_on_beyond_the_bound_is_cut_off(web: Publisher) -> None:
    web.pages["/big"] = bytes(3 << 20)
    web.unbounded.add("/big")
    sizes: list[int] = []
    with pytest.raises(fetching.NotFetched, match="larger than 2 MiB"):
        await fetching.fetch(web.url("/big"), Document(), sizes.append, largest=2 << 20)
    assert await fetching.fetch(web.url("/big"), Document(), sizes.append) == bytes(3 << 20)
    assert sizes
    assert all(size <= 3 << 20 for size in sizes)


async def test_a_server_that_is_not_there_is_told(desk: Desk, issuer: Authority) -> None:
    desk.keeper.configure(trusting(issuer, {"name": "partner", "url": "http://127.0.0.1:1/ca.crl"}))
    assert "http://127.0.0.1:1/ca.crl: " in (await desk.keeper.update("partner")).problem


async def test_a_forged_signature_is_refused(desk: Desk, web: Publisher, issuer: Authority) -> None:
    forged = crl(issuer, at=START, signer=Authority("Partner Issuer"))
    assert await problem_of(desk, web, issuer, der(forged)) == (
        "the signature of the list is not that of Partner Issuer, whose name it has"
    )


async def test_a_list_of_an_authority_that_is_in_no_list_is_refused(
    desk: Desk, web: Publisher, issuer: Authority
) -> None:
    other = crl(Authority("Somebody Else"), at=START)
    told = await problem_of(desk, web, issuer, der(other))
    assert told.startswith("its issuer Somebody Else is in no list of authorities; ")


async def test_an_authority_that_may_not_sign_lists_signs_none(desk: Desk, web: Publisher) -> None:
    leaf = Authority("Partner Root")
    no_signer = _without_crl_sign(leaf)
    document = trusting(leaf, source(web, schedule="never"))
    entry = {"name": "Lab", "certificate": no_signer}
    plain = document.model_dump()
    plain["trust"]["authorities"] = [entry]
    web.pages["/ca.crl"] = der(crl(leaf, at=START))
    desk.keeper.configure(Document.model_validate(plain))
    assert "the signature of the list is not that of" in (await desk.keeper.update("partner")).problem


def _without_crl_sign(authority: Authority) -> str:
    """The same authority, whose certificate allows it to sign certificates alone."""
    old = authority.certificate
    builder = (
        x509.CertificateBuilder()
        .subject_name(old.subject)
        .issuer_name(old.subject)
        .public_key(old.public_key())
        .serial_number(7)
        .not_valid_before(old.not_valid_before_utc)
        .not_valid_after(old.not_valid_after_utc)
    )
    off = dict.fromkeys(
        ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "crl_sign",
         "encipher_only", "decipher_only", "digital_signature"), False,
    )  # fmt: skip
    usage = x509.KeyUsage(key_cert_sign=True, **off)
    signed = builder.add_extension(usage, critical=True).sign(authority.key, old.signature_hash_algorithm)  # type: ignore[arg-type]
    return signed.public_bytes(Encoding.PEM).decode()


async def test_lists_of_another_time_are_refused(desk: Desk, web: Publisher, issuer: Authority) -> None:
    ended = crl(issuer, at=START - 48 * HOUR)
    assert "the list is out of date" in await problem_of(desk, web, issuer, der(ended))
    early = crl(issuer, at=START, made=1)
    assert "of a time to come" in await problem_of(desk, web, issuer, der(early))


async def test_an_older_list_does_not_replace_a_newer_one(
    desk: Desk, web: Publisher, issuer: Authority, withdrawn: Issued
) -> None:
    web.pages["/ca.crl"] = der(crl(issuer, withdrawn.certificate, at=START))
    desk.keeper.configure(trusting(issuer, source(web, schedule="never")))
    assert not (await desk.keeper.update("partner")).problem
    replayed = crl(issuer, at=START, made=-2)
    assert await problem_of(desk, web, issuer, der(replayed)) == "the list is older than the one that is here"


@pytest.mark.parametrize(
    ("extension", "told"),
    [
        (x509.DeltaCRLIndicator(1), "changes to another list only"),
        (
            x509.IssuingDistributionPoint(
                full_name=None, relative_name=None, only_contains_user_certs=False,
                only_contains_ca_certs=False, only_some_reasons=None, indirect_crl=True,
                only_contains_attribute_certs=False,
            ),
            "speaks for several authorities",
        ),
    ],
)  # fmt: skip
async def test_lists_that_make_sense_beside_others_only_are_refused(
    extension: x509.ExtensionType, told: str, desk: Desk, web: Publisher, issuer: Authority
) -> None:
    assert told in await problem_of(desk, web, issuer, der(crl(issuer, at=START, extension=extension)))


async def test_https_is_verified_against_the_trust_lists(
    desk: Desk, tmp_path: Path, authority: Authority, issuer: Authority
) -> None:
    good, bad = issuer.issue("127.0.0.1"), Authority("Somebody Else").issue("127.0.0.1")
    for issued, taken in ((good, True), (bad, False)):
        with Publisher(issued, tmp_path) as web:
            web.pages["/ca.crl"] = der(crl(issuer, at=START))
            desk.keeper.configure(trusting(issuer, source(web, schedule="never")))
            state = await desk.keeper.update("partner")
            assert (state.problem == "") is taken, state.problem
            assert bool(web.asked) is taken
    assert "CERTIFICATE_VERIFY_FAILED" in state.problem


# --- who reads them ---------------------------------------------------------------------------------------


async def kept(
    desk: Desk, web: Publisher, document: Document, *lists: x509.CertificateRevocationList
) -> None:
    """The lists, fetched by the sources of the document in order."""
    desk.keeper.configure(document)
    for each, found in zip(document.trust.crl_sources, lists, strict=True):
        web.pages[each.url.removeprefix(web.url(""))] = der(found)
        assert not (await desk.keeper.update(each.name)).problem


def both(web: Publisher, issuer: Authority, **trust: Any) -> Document:
    """Sources for both authorities of a chain."""
    root = {"name": "root", "url": web.url("/root.crl"), "schedule": "never"}
    return trusting(issuer, source(web, schedule="never"), root, **trust)


async def test_a_worker_knows_what_is_revoked_what_is_not_and_what_has_no_list(
    desk: Desk, web: Publisher, issuer: Authority, withdrawn: Issued, sound: Issued
) -> None:
    document = both(web, issuer)
    await kept(
        desk, web, document,
        crl(issuer, withdrawn.certificate, at=START), crl(issuer.root, at=START),
    )  # fmt: skip
    found = lists_of(desk, document)
    assert found.check(chain(withdrawn)) == "revoked"
    assert found.check(chain(sound)) == "good"
    stranger = Authority("Somebody Else").issue("mx.example")
    assert found.check(chain(stranger)) == "no-list"
    (desk.folder / "root.crl").unlink()
    assert lists_of(desk, document).check(chain(sound)) == "no-list"
    assert lists_of(desk, document).check(chain(withdrawn)) == "revoked"
    (desk.folder / "partner.crl").write_bytes(b"damaged")
    assert lists_of(desk, document).check(chain(withdrawn)) == "no-list"


async def test_a_list_that_is_out_of_date_vouches_for_nobody_and_pardons_nobody(
    desk: Desk, web: Publisher, issuer: Authority, withdrawn: Issued, sound: Issued
) -> None:
    document = both(web, issuer)
    desk.clock = ManualClock(START - 100 * HOUR)
    desk.keeper._clock = desk.clock
    old = START - 100 * HOUR
    await kept(desk, web, document, crl(issuer, withdrawn.certificate, at=old), crl(issuer.root, at=old))
    found = read_lists(desk.folder, document, START)
    assert found.check(chain(sound)) == "no-list"
    assert found.check(chain(withdrawn)) == "revoked"


async def test_a_list_in_a_file_that_was_exchanged_counts_only_with_its_authoritys_signature(
    desk: Desk, web: Publisher, issuer: Authority, withdrawn: Issued
) -> None:
    document = both(web, issuer)
    desk.folder.mkdir()
    forged = crl(issuer, withdrawn.certificate, at=START, signer=Authority("Partner Issuer"))
    (desk.folder / "partner.crl").write_bytes(der(forged))
    assert lists_of(desk, document).check(chain(withdrawn)) == "no-list"


async def test_trust_anchors_of_destinations_vouch_for_lists_too(
    desk: Desk, web: Publisher, issuer: Authority, withdrawn: Issued
) -> None:
    document = trusting(issuer, source(web, schedule="never"), custom=False)
    await kept(desk, web, document, crl(issuer, withdrawn.certificate, at=START))
    assert lists_of(desk, document).check(chain(withdrawn)) == "no-list"
    plain = document.model_dump() | {
        "destinations": [{"domain": "partner.example", "trust_anchors": ["Lab Issuer"]}]
    }
    anchored = Document.model_validate(plain)
    assert lists_of(desk, anchored).check(chain(withdrawn)) == "revoked"


async def test_switches_say_for_whom_the_lists_are_looked_up(
    desk: Desk, web: Publisher, issuer: Authority, withdrawn: Issued
) -> None:
    revoked = Revoked(desk.home, desk.clock)
    assert (revoked.inbound(), revoked.outbound()) == (None, None)
    await kept(
        desk,
        web,
        trusting(issuer, source(web, schedule="never")),
        crl(issuer, withdrawn.certificate, at=START),
    )
    for inbound, outbound in ((False, False), (True, False), (False, True), (True, True)):
        document = trusting(issuer, source(web, schedule="never"), crl_inbound=inbound, crl_outbound=outbound)
        await revoked.configure(document)
        assert (revoked.inbound() is not None) is inbound
        assert (revoked.outbound() is not None) is outbound


async def test_a_worker_that_is_told_of_a_change_reads_the_new_list(
    desk: Desk, web: Publisher, issuer: Authority, withdrawn: Issued
) -> None:
    document = trusting(issuer, source(web, schedule="never"), crl_inbound=True)
    await kept(desk, web, document, crl(issuer, at=START, made=-2))
    revoked = Revoked(desk.home, desk.clock)
    await revoked.configure(document)
    before = revoked.inbound()
    assert before is not None
    assert before.check(chain(withdrawn)) == "no-list"
    await kept(desk, web, document, crl(issuer, withdrawn.certificate, at=START))
    await revoked.reread()
    after = revoked.inbound()
    assert after is not None
    assert after.check(chain(withdrawn)) == "revoked"


def test_a_chain_is_looked_up_once() -> None:
    asked: list[Sequence[bytes]] = []

    class Counting(Revocations):
        def __init__(self) -> None:
            pass

        def check(self, chain: Sequence[bytes]) -> Revocation:
            asked.append(chain)
            return "good"

    found = Lists(Counting(), None)
    assert [found.check((b"leaf", b"between")), found.check((b"leaf", b"between"))] == ["good", "good"]
    assert found.check((b"other",)) == "good"
    assert asked == [(b"leaf", b"between"), (b"other",)]
