"""mxseal, less some parts: `python -m bench.unshadowed [--no-shadow] [--no-resumption] WORD…`.

For `bench.shadow` alone: what is measured there has no switch in the product, and is to have none. The
nursery forks workers off this process, so that they have the same parts.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from mxseal.__main__ import main
from mxseal.relay import channel
from mxseal.relay.opening import Opening
from mxseal.relay.outbound import Outbound
from mxseal.relay.verification import Verifier
from mxseal.sinks.peers import PeerRecord
from mxseal.tls.engine import Engine
from mxseal.tls.identity import NameVerdict
from mxseal.tls.policy import LEVELS
from mxseal.tls.verification import Verification

_LEADER = os.getpid()
_NOTHING = NameVerdict(matched=False)
_UNSEEN = Verification(trusted=False, verify=_NOTHING, hosted=_NOTHING, would_deliver=LEVELS)


async def _no_verification(*_: Any) -> Verification:
    return _UNSEEN


def _nothing(*_: Any) -> None:
    return None


class _Blind(Engine):
    """Does not look at what the next hop shows; the leading process does, at its own listeners."""

    def _peer_certificates(self) -> tuple[bytes, ...]:
        return super()._peer_certificates() if os.getpid() == _LEADER else ()


_NO_SHADOW = (
    (Verifier, "verify", _no_verification),
    (Opening, "_diagnose", _nothing),
    (Opening, "_remark", _nothing),
    (channel, "Engine", _Blind),
    (PeerRecord, "handle", _nothing),
)
"""No chain is read, verified, diagnosed or recorded."""
_NO_RESUMPTION = ((Outbound, "_session", _nothing),)
_SWITCHES = {"--no-shadow": _NO_SHADOW, "--no-resumption": _NO_RESUMPTION}

if __name__ == "__main__":
    while sys.argv[1:] and sys.argv[1] in _SWITCHES:
        for kind, name, part in _SWITCHES[sys.argv.pop(1)]:
            setattr(kind, name, part)
    sys.exit(main())
