"""Alerts by HTTP: one POST of JSON to each webhook, over verified TLS, signed where there is a secret.

Redirects are not followed: an alert goes to the address that the administrator wrote and nowhere else.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import ssl
from typing import Any

import httpx2
import msgspec

from mxseal.alerts.post import Failure
from mxseal.certs.fetching import trust
from mxseal.config.model import Document, Webhook

SIGNATURE = "X-MXSeal-Signature"
_SECONDS = 10.0
_WHOLE_SECONDS = 30.0
_AGAIN = frozenset({408, 425, 429})
"""4xx that say 'not now' (RFC 9110 §15.5.9, RFC 8470 §5.2, RFC 6585 §4)."""


def signature(secret: bytes, at: int, body: bytes) -> str:
    """'t=<seconds>,v1=<hex>': HMAC-SHA-256 over the time, a dot and the body, so that a request can't be
    sent again a day later."""
    digest = hmac.new(secret, b"%d." % at + body, hashlib.sha256).hexdigest()
    return f"t={at},v1={digest}"


async def call(
    webhook: Webhook, payload: dict[str, Any], document: Document, secret: bytes | None, at: float
) -> Failure | None:
    """One attempt. None: the webhook answered 2xx."""
    body = msgspec.json.encode(payload)
    headers = {"Content-Type": "application/json", "User-Agent": "MXSeal"}
    if secret is not None:
        headers[SIGNATURE] = signature(secret, int(at), body)
    try:
        context = trust(document)
    except (ssl.SSLError, OSError) as error:
        return Failure(False, f"the list of trusted authorities can't be read: {error}")
    client = httpx2.AsyncClient(
        verify=context, timeout=_SECONDS, follow_redirects=False, trust_env=False, http2=False
    )
    try:
        async with (
            asyncio.timeout(_WHOLE_SECONDS),
            client,
            # The answer's content is of no interest, and may be endless: it is not read.
            client.stream("POST", webhook.url, content=body, headers=headers) as response,
        ):
            return _judge(response)
    except TimeoutError:
        return Failure(False, f"no answer within {_WHOLE_SECONDS:g} seconds")
    except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
        return Failure(False, _words(error))


def _judge(response: httpx2.Response) -> Failure | None:
    status = response.status_code
    if 200 <= status < 300:
        return None
    if 300 <= status < 400:
        target = response.headers.get("Location", "an unknown place")[:200]
        return Failure(True, f"it answers {status} and sends on to {target}: configure that address")
    return Failure(status < 500 and status not in _AGAIN, f"it answers {status} {response.reason_phrase}")


def _words(error: Exception) -> str:
    text = str(error).strip()
    if isinstance(error, httpx2.TimeoutException):
        return f"no answer within {_SECONDS:g} seconds"
    return text[:300] or type(error).__name__
