"""Content by HTTP from an address that an administrator wrote: bounded in time and size, over verified TLS.

Redirects are not followed: what is fetched comes from the address that stands in the document.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable

import httpx2

from mxseal.config.model import Document

LARGEST = 64 << 20
"""Bytes. The largest public lists of revoked certificates have about 30 million."""
_SECONDS = 15.0
_WHOLE_SECONDS = 180.0
_TELL_EVERY = 1 << 20


class NotFetched(Exception):
    """Nothing came, or not all; the text says why."""


def trust(document: Document) -> ssl.SSLContext:
    """What servers that this gateway asks by HTTPS are verified against: the lists that deliveries use
    (reference §1.5). Raises ssl.SSLError or OSError when a list can't be read."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if document.trust.system:
        if document.delivery.ca_file:
            context.load_verify_locations(document.delivery.ca_file)
        else:
            context.load_default_certs()
    if document.trust.custom:
        for authority in document.trust.authorities:
            context.load_verify_locations(cadata=authority.certificate)
    return context


async def fetch(url: str, document: Document, tell: Callable[[int], None], largest: int = LARGEST) -> bytes:
    """The content at `url`. `tell` hears how many bytes came, every now and then. Raises NotFetched."""
    try:
        context = trust(document)
    except (ssl.SSLError, OSError) as error:
        raise NotFetched(f"the list of trusted authorities can't be read: {error}") from None
    headers = {"User-Agent": "MXSeal", "Accept-Encoding": "identity"}
    client = httpx2.AsyncClient(
        verify=context, timeout=_SECONDS, follow_redirects=False, trust_env=False, http2=False
    )
    try:
        async with (
            asyncio.timeout(_WHOLE_SECONDS),
            client,
            client.stream("GET", url, headers=headers) as response,
        ):
            _refuse_status(response)
            return await _content(response, tell, largest)
    except TimeoutError:
        raise NotFetched(f"it was not complete within {_WHOLE_SECONDS:g} seconds") from None
    except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
        raise NotFetched(_words(error)) from None


async def _content(response: httpx2.Response, tell: Callable[[int], None], largest: int) -> bytes:
    announced = response.headers.get("Content-Length", "")
    if announced.isdecimal() and int(announced) > largest:
        raise NotFetched(_too_large(largest))
    parts: list[bytes] = []
    size = told = 0
    # Raw: a few kilobytes that unpack to gigabytes stay a few kilobytes.
    async for part in response.aiter_raw():
        size += len(part)
        if size > largest:
            raise NotFetched(_too_large(largest))
        parts.append(part)
        if size - told >= _TELL_EVERY:
            told = size
            tell(size)
    return b"".join(parts)


def _too_large(largest: int) -> str:
    return f"it is larger than {largest >> 20} MiB"


def _refuse_status(response: httpx2.Response) -> None:
    status = response.status_code
    if 300 <= status < 400:
        target = response.headers.get("Location", "an unknown place")[:200]
        raise NotFetched(f"it answers {status} and sends on to {target}: configure that address")
    if status != 200:
        raise NotFetched(f"it answers {status} {response.reason_phrase[:100]}")


def _words(error: Exception) -> str:
    if isinstance(error, httpx2.TimeoutException):
        return f"no answer within {_SECONDS:g} seconds"
    return str(error).strip()[:300] or type(error).__name__
