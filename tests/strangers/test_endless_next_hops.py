"""Next hops that answer without end: mail for them waits, what they send is not kept, others get theirs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from lab.hostile import Hostile
from lab.place import free_port
from lab.script import Behaviour
from mxseal.events.types import DeliveryClosed, RecipientDelayed, RecipientsDelivered
from tests.relay.harness import route, running

START = Callable[..., Hostile]
ENDLESS = (
    "banner-endless",
    "ehlo-endless",
    "mail-endless",
    "end-endless",
    "reply-one-long-line",
    "talks-unasked",
)


@pytest.mark.parametrize("behaviour", ENDLESS)
async def test_mail_for_a_next_hop_without_end_waits_and_other_mail_goes_out(
    behaviour: str, hostile: START, tmp_path: Path
) -> None:
    bad, good = hostile(behaviour), hostile(Behaviour())
    document = route(good.port)
    document["smtp_routes"] = {"bad.test": [f"127.0.0.1:{bad.port}"], "all": [f"127.0.0.1:{good.port}"]}
    async with running(tmp_path / "home", free_port(), document) as relay:
        await relay.submit("to@bad.test")
        await relay.submit("to@example.com")
        await relay.told.until(RecipientsDelivered)
        (delayed,) = await relay.told.until(RecipientDelayed)
        assert delayed.recipient == "to@bad.test"
        await relay.told.until(DeliveryClosed, 2)
        assert all(len(line) < 5000 for line in relay.lines())
