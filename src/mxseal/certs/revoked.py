"""What a worker knows of revoked certificates: the lists that the leading process keeps on the disk.

What a list that is out of date says is revoked stays revoked; what it does not name is not good, it has no
list.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509

from mxseal.certs.crl import Refused, read_crl
from mxseal.certs.fetching import LARGEST
from mxseal.clock import Clock
from mxseal.config.model import Document
from mxseal.storage.home import Home
from mxseal.tls.anchors import Revocations
from mxseal.tls.contexts import ClientTls, ContextProblem, client_context
from mxseal.tls.verification import Revocation

_NO_CHECK_TIME = 0x200000
"""X509_V_FLAG_NO_CHECK_TIME."""
_PARTIAL_CHAIN = 0x80000
"""X509_V_FLAG_PARTIAL_CHAIN: a destination's trust anchor may be an intermediate."""
_REMEMBERED = 2000
log = logging.getLogger(__name__)


def folder_of(home: Home) -> Path:
    """Where the lists of a home are: NAME.crl in DER, and what is known about them."""
    return home.root / "crl"


def list_file(folder: Path, name: str) -> Path:
    """The file of a source's list. Names of sources have no '/', and begin with a letter or digit."""
    return folder / f"{name}.crl"


class Lists:
    """The lists of one moment. What relaying asks for each chain that it found trusted."""

    def __init__(self, current: Revocations | None, outdated: Revocations | None) -> None:
        self._current = current
        self._outdated = outdated
        self._known: dict[bytes, Revocation] = {}

    def check(self, chain: tuple[bytes, ...]) -> Revocation:
        """`chain`: DER, leaf first.

        OpenSSL verifies a list's signature each time, 10 ms for one of 10 MB, so answers are remembered.
        When a list ends there are new `Lists`.
        """
        mark = hashlib.sha256(b"".join(chain)).digest()
        found = self._known.get(mark)
        if found is None:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            found = self._known[mark] = self._check(chain)
        return found

    def _check(self, chain: tuple[bytes, ...]) -> Revocation:
        found: Revocation = self._current.check(chain) if self._current is not None else "no-list"
        if found == "no-list" and self._outdated is not None and self._outdated.check(chain) == "revoked":
            return "revoked"  # nobody is taken back into grace by a list that does not come
        return found


class Revoked:
    """What a worker knows of revoked certificates: the files, read for the document in force."""

    def __init__(self, home: Home, clock: Clock) -> None:
        self._folder = folder_of(home)
        self._clock = clock
        self._document = Document()
        self._lists: Lists | None = None
        self._one_by_one = asyncio.Lock()

    async def configure(self, document: Document) -> None:
        """Read the lists for a document that is put in force."""
        self._document = document
        await self.reread()

    async def reread(self) -> None:
        """A list changed, or went out of date."""
        async with self._one_by_one:
            document = self._document
            trust = document.trust
            if trust.crl_inbound or trust.crl_outbound:
                self._lists = await asyncio.to_thread(read_lists, self._folder, document, self._clock.now())
            else:
                self._lists = None

    def outbound(self) -> Lists | None:
        """For next hops' certificates; None: the check is off."""
        return self._lists if self._document.trust.crl_outbound else None

    def inbound(self) -> Lists | None:
        """For clients' certificates; None: the check is off."""
        return self._lists if self._document.trust.crl_inbound else None


def read_lists(folder: Path, document: Document, now: float) -> Lists:
    """The lists of a document's sources, as far as they are there. Takes its time with large ones."""
    current: list[x509.CertificateRevocationList] = []
    outdated: list[x509.CertificateRevocationList] = []
    for source in document.trust.crl_sources:
        if not source.enabled:
            continue
        found = _read(list_file(folder, source.name))
        if found is not None:
            due = found.next_update_utc
            (current if due is not None and due.timestamp() > now else outdated).append(found)
    return Lists(_held(document, current, 0), _held(document, outdated, _NO_CHECK_TIME))


def _read(path: Path) -> x509.CertificateRevocationList | None:
    try:
        with path.open("rb") as file:
            return read_crl(file.read(LARGEST))
    except FileNotFoundError:
        return None  # not fetched yet
    except (OSError, Refused) as error:
        log.warning("the list of revoked certificates %s can't be read: %s", path, error)
        return None


def _held(
    document: Document, lists: Sequence[x509.CertificateRevocationList], flags: int
) -> Revocations | None:
    """The lists beside the authorities that a chain may end in; None without lists."""
    if not lists:
        return None
    try:
        context = client_context(_authorities_in_force(document))
    except ContextProblem as problem:
        log.warning("the lists of revoked certificates are not used: %s", problem)
        return None
    store = context.get_cert_store()
    assert store is not None, "every context has a store"
    store.set_flags(_PARTIAL_CHAIN | flags)
    return Revocations.beside(context, lists)


def _authorities_in_force(document: Document) -> ClientTls:
    """Those of the lists that are on, the trust anchors of destinations, and those of browsers."""
    trust = document.trust
    anchors = {name for entry in document.destinations for name in entry.trust_anchors}
    anchors |= {name for entry in document.interfaces for name in entry.client_authorities}
    counting = [entry for entry in trust.authorities if trust.custom or entry.name in anchors]
    return ClientTls(
        trust=document.delivery.ca_file,
        system=trust.system,
        authorities=tuple(entry.certificate for entry in counting),
        post_quantum=False,
    )
