"""The closed list of causes, and what is said of each: whose side, one sentence what, one what to do. PURE.

The English texts are the keys of the catalogue (gettext), so a changed text needs its translation renewed:
src/mxseal/locale. Places in them: `{Peer}` begins a sentence with "The client" or "The server
mx.example.com", `{peer}` says the same within one; `{certificate}` is "the certificate Main" or "our
certificate"; what the others are stands in `telling.PLACES`.
"""

from __future__ import annotations

from mxseal.tls.causes_certificate import CERTIFICATE
from mxseal.tls.causes_handshake import HANDSHAKE
from mxseal.tls.causes_opening import OPENING
from mxseal.tls.telling import Cause, Side

CAUSES: dict[str, Cause] = {**OPENING, **HANDSHAKE, **CERTIFICATE}
"""By the stable identifier that logs and counters use. The order is that of a connection's life."""

__all__ = ["CAUSES", "Cause", "Side"]
