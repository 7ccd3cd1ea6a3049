"""The trusted authorities against which chains are checked: those of the enabled lists, read in a thread."""

from __future__ import annotations

import asyncio
import functools
import threading
import warnings
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.utils import CryptographyDeprecationWarning

from mxseal.commands.context import CommandFailed
from mxseal.config.model import Document

_SYSTEM_LISTS = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)
"""Debian, Fedora, SUSE, Alpine."""
_quiet = threading.Lock()
"""Filters of warnings belong to the process: two threads that exchange them would mix them up."""


async def trusted(document: Document) -> Sequence[x509.Certificate] | None:
    """The custom list, where it is enabled, and the system's (or `delivery.ca_file` in its place), where that
    is; None where no list is enabled or the system has none.

    Raises CommandFailed when the document's list can't be read.
    """
    lists = document.trust
    own = [entry.certificate for entry in lists.authorities] if lists.custom else []
    roots = [root for text in own for root in x509.load_pem_x509_certificates(text.encode())]
    if lists.system:
        system = await asyncio.to_thread(_load, document.delivery.ca_file)
        roots += system or ()
    return roots or None


def _load(ca_file: str | None) -> Sequence[x509.Certificate] | None:
    for path in (ca_file,) if ca_file is not None else _SYSTEM_LISTS:
        try:
            status = Path(path).stat()
            return _parse(path, status.st_mtime_ns, status.st_size)
        except OSError as fault:
            if ca_file is not None:
                raise CommandFailed(
                    f"The file of trusted authorities {path} can't be read ({fault.strerror}). Correct "
                    "delivery.ca_file"
                ) from None
        except ValueError:
            raise CommandFailed(
                f"The file of trusted authorities {path} holds no certificate in PEM form"
            ) from None
    return None


@functools.lru_cache(maxsize=4)
def _parse(path: str, _modified: int, _size: int) -> tuple[x509.Certificate, ...]:
    """Once for each state of the file: a list has 150 certificates. Raises ValueError when it has none."""
    begin, end = b"-----BEGIN CERTIFICATE-----", b"-----END CERTIFICATE-----"
    parts = Path(path).read_bytes().split(begin)[1:]
    blocks = (begin + part.partition(end)[0] + end + b"\n" for part in parts)
    # The system's lists hold roots from before RFC 5280, of which the parser warns.
    with _quiet, warnings.catch_warnings():
        warnings.simplefilter("ignore", CryptographyDeprecationWarning)
        roots = tuple(root for block in blocks if (root := _root(block)) is not None)
    if not roots:
        raise ValueError(path)
    return roots


def _root(block: bytes) -> x509.Certificate | None:
    """None for one that can't be read: a single odd entry must not spoil the list."""
    try:
        root = x509.load_pem_x509_certificate(block)
        _ = root.subject, root.public_key()  # the parser is lazy
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return None
    return root
