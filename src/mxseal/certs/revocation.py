"""Lists of revoked certificates: the leading process fetches those that are due and keeps them on the disk.

A list is taken in date and signed by an authority of the trust lists, or not at all; the last one stays where
the next does not come. `revoked` is the workers' side.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Iterable, Sequence
from pathlib import Path
from typing import Literal

import msgspec
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding

from mxseal.certs import crl
from mxseal.certs.crl import CrlSummary, Refused, read_crl
from mxseal.certs.facts import title
from mxseal.certs.fetching import NotFetched, fetch
from mxseal.certs.revoked import folder_of, list_file
from mxseal.clock import Clock, Timer
from mxseal.config.model import CrlSource, Document
from mxseal.events.bus import Bus
from mxseal.events.types import Event, RevocationListFailed, RevocationListFetched
from mxseal.storage.home import Home

_EVERY = {"hourly": 3600.0, "daily": 86_400.0, "weekly": 7 * 86_400.0}
_FIRST_RETRY = 300.0
_SOONEST = 300.0
"""Between two attempts by themselves."""
_INDEX = "index.json"
Roots = Callable[[Document], Awaitable[Sequence[x509.Certificate] | None]]
Progress = Callable[[str], None]
log = logging.getLogger(__name__)


async def no_roots(_document: Document) -> None:
    """There is no system list."""


class CrlState(msgspec.Struct, frozen=True, kw_only=True):
    """What is known about one source. Times in seconds since the epoch."""

    name: str
    url: str = ""
    """Where the list that is there came from; empty: there is none."""
    found: CrlSummary | None = None
    """What that list says about itself."""
    signer: str = ""
    """The authority that its signature was held against."""
    size: int = 0
    fetched_at: float | None = None
    """When it was last found to be the newest."""
    attempted_at: float | None = None
    problem: str = ""
    """Why the last attempt failed; empty when it did not."""
    failures: int = 0
    """Attempts since the last success."""

    @property
    def next_update(self) -> float | None:
        """When the list that is there ceases to count; None: there is none."""
        return self.found.next_update if self.found is not None else None

    def kept(self, now: float) -> Literal["none", "outdated", "in-date"]:
        """Whether there is a list, and one that counts."""
        if self.found is None:
            return "none"
        return "in-date" if now < self.found.next_update else "outdated"


# --- the leading process ----------------------------------------------------------------------------------


class CrlKeeper:
    """Fetches the lists of the document in force when they are due. One for a home."""

    def __init__(self, home: Home, clock: Clock, bus: Bus, roots: Roots = no_roots) -> None:
        """`roots`: the system's list of authorities."""
        self.changed: Callable[[], None] = lambda: None
        """Called when workers have to read the lists again."""
        self._folder = folder_of(home)
        self._clock = clock
        self._bus = bus
        self._roots = roots
        self._document = Document()
        self._states: dict[str, CrlState] = {}
        self._outdated: frozenset[str] = frozenset()
        self._one_by_one = asyncio.Lock()
        self._timer: Timer | None = None
        self._working: asyncio.Task[None] | None = None
        self._running = False

    def start(self, document: Document) -> None:
        """Begin to fetch what is due."""
        self._states = _read_index(self._folder)
        self._running = True
        self.configure(document)

    def configure(self, document: Document) -> None:
        """A new document is in force. Lists of sources that it does not have are removed."""
        before = {source.name: source for source in self._document.trust.crl_sources}
        self._document = document
        for source in document.trust.crl_sources:
            known = before.get(source.name)
            state = self._states.get(source.name)
            if known is not None and state is not None and _elsewhere(known, source):
                # Another address: it is asked at once, and the list that is there serves meanwhile.
                self._states[source.name] = msgspec.structs.replace(state, attempted_at=None, failures=0)
        self._forget_others()
        self._look()

    async def stop(self) -> None:
        """Fetch nothing any more."""
        self._running = False
        if self._timer is not None:
            self._timer.cancel()
        if self._working is not None:
            self._working.cancel()
            await asyncio.wait([self._working])

    def states(self) -> list[CrlState]:
        """All sources of the document in force, in its order."""
        sources = self._document.trust.crl_sources
        return [self._states.get(source.name, CrlState(name=source.name)) for source in sources]

    def facts(self) -> list[CrlState]:
        """The lists that are in use: of sources that are switched on, while a check is."""
        trust = self._document.trust
        if not (trust.crl_inbound or trust.crl_outbound):
            return []
        used = {source.name for source in trust.crl_sources if source.enabled}
        return [state for state in self.states() if state.name in used]

    @property
    def folder(self) -> Path:
        """Where the lists are, for `revoked.read_lists`."""
        return self._folder

    def path(self, name: str) -> Path:
        """The file with the list of a source, in DER."""
        return list_file(self._folder, name)

    async def update(self, name: str, tell: Progress = lambda _text: None) -> CrlState:
        """Fetch the list of a source of the document in force now. KeyError: there is no such source."""
        source = next((each for each in self._document.trust.crl_sources if each.name == name), None)
        if source is None:
            raise KeyError(name)
        async with self._one_by_one:
            state = await self._fetch(source, tell)
        self._look()
        return state

    # --- when ---------------------------------------------------------------------------------------------

    def _look(self) -> None:
        """Tell what went out of date, begin what is due, and sleep until something is."""
        if not self._running:
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        now = self._clock.now()
        self._tell_outdated(now)
        times = {source.name: self._due(source, now) for source in self._document.trust.crl_sources}
        if self._working is None and any(at is not None and at <= now for at in times.values()):
            self._working = asyncio.get_running_loop().create_task(self._work())
            self._working.add_done_callback(self._worked)
        later = [at for at in times.values() if at is not None and at > now]
        later += [at for state in self._states.values() if (at := state.next_update) and at > now]
        if later:
            self._timer = self._clock.call_later(min(later) - now, self._look)

    def _due(self, source: CrlSource, now: float) -> float | None:
        """When a source is to be asked; None: only by hand."""
        if not source.enabled or source.schedule == "never":
            return None
        state = self._states.get(source.name)
        if state is None or state.attempted_at is None or state.attempted_at > now:  # the clock went back
            return now
        every = _EVERY[source.schedule]
        if state.failures:
            return state.attempted_at + min(every, _FIRST_RETRY * 2.0 ** min(state.failures - 1, 16))
        soon = state.next_update if state.next_update is not None else state.attempted_at
        return max(state.attempted_at + _SOONEST, min(state.attempted_at + every, soon))

    def _tell_outdated(self, now: float) -> None:
        outdated = frozenset(state.name for state in self._states.values() if state.kept(now) == "outdated")
        if outdated != self._outdated:
            self._outdated = outdated
            self.changed()

    async def _work(self) -> None:
        now = self._clock.now()
        for source in self._document.trust.crl_sources:
            due = self._due(source, now)
            if due is not None and due <= now:
                async with self._one_by_one:
                    if source in self._document.trust.crl_sources:
                        await self._fetch(source, lambda _text: None)

    def _worked(self, task: asyncio.Task[None]) -> None:
        self._working = None
        if task.cancelled():
            return
        if (error := task.exception()) is not None:
            log.error("the lists of revoked certificates could not be fetched", exc_info=error)
            if self._running:
                self._timer = self._clock.call_later(_SOONEST, self._look)
            return
        self._look()

    # --- fetching -----------------------------------------------------------------------------------------

    async def _fetch(self, source: CrlSource, tell: Progress) -> CrlState:
        before = self._states.get(source.name, CrlState(name=source.name))
        now = self._clock.now()
        problems: list[str] = []
        for url in filter(None, (source.url, source.secondary_url)):
            tell(f"asking {url}")
            try:
                content = await fetch(url, self._document, lambda size: tell(f"{size >> 20} MiB came"))
                state, fresh = await self._take(before, url, content)
            except (NotFetched, Refused) as error:
                problems.append(f"{url}: {error}")
                continue
            except OSError as error:
                problems.append(f"the list can't be kept: {error.strerror or error}")
                break
            self._keep(state)
            self._publish_fetched(state, fresh)
            if fresh:
                self.changed()
            return state
        failed = msgspec.structs.replace(
            before, attempted_at=now, problem="; ".join(problems), failures=before.failures + 1
        )
        self._keep(failed)
        self._publish(
            RevocationListFailed(
                at=now, source=source.name, url=source.url, problem=failed.problem, kept=failed.kept(now)
            )
        )
        return failed

    async def _take(self, before: CrlState, url: str, content: bytes) -> tuple[CrlState, bool]:
        """Judge and store what came; whether it differs from what was there. Raises Refused, OSError."""
        now = self._clock.now()
        authorities = await self._authorities()
        der, found, by = await asyncio.to_thread(_judge, content, authorities, now)
        known = before.found
        if known is not None and known.issuer == found.issuer and found.this_update < known.this_update:
            # Replayed on the way: a list that is older, and in date, without what was revoked since.
            raise Refused("the list is older than the one that is here")
        path = list_file(self._folder, before.name)
        fresh = await asyncio.to_thread(_store, path, der)
        state = CrlState(
            name=before.name,
            url=url,
            found=found,
            signer=title(by),
            size=len(der),
            fetched_at=now,
            attempted_at=now,
        )
        return state, fresh or known is None

    async def _authorities(self) -> list[x509.Certificate]:
        trust = self._document.trust
        own = [_certificate(entry.certificate) for entry in trust.authorities]
        listed = [each for each in own if each is not None]
        if trust.system:
            listed += await self._roots(self._document) or ()
        return listed

    def _keep(self, state: CrlState) -> None:
        """Remember a state, unless its source went meanwhile."""
        if any(source.name == state.name for source in self._document.trust.crl_sources):
            self._states[state.name] = state
            self._write_index()

    def _forget_others(self) -> None:
        names = {source.name for source in self._document.trust.crl_sources}
        gone = [name for name in self._states if name not in names]
        for name in gone:
            del self._states[name]
        if gone:
            self._write_index()
        for path in self._folder.glob("*.crl"):
            if path.name.removesuffix(".crl") not in names:
                try:
                    path.unlink(missing_ok=True)
                except OSError as error:
                    log.warning("%s can't be removed: %s", path, error)

    def _write_index(self) -> None:
        try:
            _replace(self._folder / _INDEX, msgspec.json.encode(list(self._states.values())))
        except OSError as error:
            # The lists themselves are there; after a restart they are fetched once more than needed.
            log.warning("%s can't be written: %s", self._folder / _INDEX, error)

    # --- telling ------------------------------------------------------------------------------------------

    def _publish_fetched(self, state: CrlState, fresh: bool) -> None:
        assert state.found is not None, "what was fetched was read"
        self._publish(
            RevocationListFetched(
                at=self._clock.now(),
                source=state.name,
                url=state.url,
                issuer=state.found.issuer,
                revoked=state.found.count,
                this_update=state.found.this_update,
                next_update=state.found.next_update,
                fresh=fresh,
            )
        )

    def _publish(self, event: Event) -> None:
        self._bus.publish(event)


def _elsewhere(one: CrlSource, other: CrlSource) -> bool:
    return (one.url, one.secondary_url) != (other.url, other.secondary_url)


def _judge(
    content: bytes, authorities: Iterable[x509.Certificate], now: float
) -> tuple[bytes, CrlSummary, x509.Certificate]:
    """(DER, what it says, who signed it). Raises Refused."""
    found = read_crl(content)
    crl.refuse_partial(found)
    told = crl.summary(found)
    by = crl.signer(found, authorities)
    crl.refuse_untimely(told, now)
    return found.public_bytes(Encoding.DER), told, by


def _certificate(pem: str) -> x509.Certificate | None:
    try:
        return x509.load_pem_x509_certificate(pem.encode())
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return None  # it signs nothing; `commit` has told it


# --- files ------------------------------------------------------------------------------------------------


def _store(path: Path, der: bytes) -> bool:
    """Write a list; False: it is there already. Raises OSError."""
    try:
        if path.read_bytes() == der:
            return False
    except OSError:
        pass  # it is written anew, which tells what is wrong
    _replace(path, der)
    return True


def _replace(path: Path, content: bytes) -> None:
    """Whole or not at all, also when the power fails."""
    path.parent.mkdir(mode=0o700, exist_ok=True)
    beside = path.with_name(path.name + ".new")
    beside.touch(mode=0o600)
    with beside.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)


def _read_index(folder: Path) -> dict[str, CrlState]:
    """What was known at the last stop; sources whose list is not there begin anew."""
    try:
        found = msgspec.json.decode((folder / _INDEX).read_bytes(), type=list[CrlState])
    except (OSError, msgspec.DecodeError):
        return {}
    return {
        state.name: state for state in found if state.found is None or list_file(folder, state.name).exists()
    }
