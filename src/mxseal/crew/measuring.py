"""The gateway at this moment, as metrics tell it."""

from __future__ import annotations

import os
from collections.abc import Sequence

import msgspec

from mxseal.alerts.sources import Sources
from mxseal.certs.judge import not_after
from mxseal.certs.profiles import parse, sent, uses
from mxseal.certs.x509 import read_pem
from mxseal.commands.services import PushState
from mxseal.config.history import Numbered
from mxseal.config.model import Document
from mxseal.crew.crew import Crew
from mxseal.sinks import gauges
from mxseal.sinks.gauges import State


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """What is known beside the crew."""

    version: str
    started_at: float
    now: float
    current: Numbered
    ready: bool
    sources: Sources
    pushes: Sequence[PushState]


async def page(crew: Crew, gateway: Measured) -> str:
    """All metrics, as text."""
    return gauges.text(crew.board, gauges.measured(await look(crew, gateway)))


async def look(crew: Crew, gateway: Measured) -> State:
    current = gateway.current
    document = current.document
    now = gateway.now
    held = await crew.gauges()
    return State(
        at=now,
        version=gateway.version,
        started_at=gateway.started_at,
        ready=gateway.ready,
        revision=current.number,
        suspended=crew.suspended,
        workers=crew.workers,
        running={"leader": os.getpid(), **crew.processes()},
        messages=held.messages,
        size=held.size,
        at_work=held.at_work,
        limits=(document.queue.max_messages, document.queue.max_bytes),
        incoming=held.incoming,
        outgoing=held.outgoing,
        oldest=await gateway.sources.oldest(),
        lanes=await crew.lanes(),
        certificates=_certificates(document, now),
        authorities=_authorities(document),
        lists=gateway.sources.lists(),
        disk=gateway.sources.disk(),
        pushes=gateway.pushes,
    )


def _certificates(document: Document, now: float) -> list[tuple[str, bool, float]]:
    found = []
    for profile in document.certificates:
        bundle = parse(profile)
        if not isinstance(bundle, list):
            end = min(not_after(each) for each in (bundle.leaf, *sent(profile, bundle, now)[1:]))
            found.append((profile.name, bool(uses(document, profile.name)), end))
    return found


def _authorities(document: Document) -> list[float]:
    read = [read_pem(authority.certificate.encode()) for authority in document.trust.authorities]
    return [not_after(bundle.leaf) for bundle in read if not isinstance(bundle, list)]
