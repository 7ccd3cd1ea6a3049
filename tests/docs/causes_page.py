"""Makes docs/tls-causes.md out of the causes: `python -m tests.docs.causes_page > docs/tls-causes.md`."""

from __future__ import annotations

import re
import sys

from mxseal.tls.causes import CAUSES
from mxseal.tls.causes_certificate import CERTIFICATE
from mxseal.tls.causes_handshake import HANDSHAKE
from mxseal.tls.causes_opening import OPENING
from mxseal.tls.telling import Cause

INTRODUCTION = """\
<!-- Made by `python -m tests.docs.causes_page`; change the causes, not this file. -->
# Causes of TLS failures

Whatever goes wrong with TLS has one of these {count} causes. The name stands in the JSON log
(`diagnosis.cause`) and in `explain`; the sentences stand in mail_logs behind `TLS diagnosis:` or
`Connection diagnosis:`, with what was seen between the two. `explain` tells them in Dutch as well:

```console
mxseal explain icid 13
mxseal explain dcid 12 --lang nl
mxseal --json explain mid 3
```

Who has to act is one of: *ours* (whoever runs this gateway), *theirs* (whoever runs the peer), *between*
(whoever runs what lies between the two), *unclear* (nobody can say from here). Words in italics are filled
in.
"""
SECTIONS = (
    (
        "Before TLS",
        "The connection, the greeting, EHLO and STARTTLS. Where TLS is preferred, mail goes on without it.",
        OPENING,
    ),
    (
        "The handshake",
        "After STARTTLS was agreed. There is no way back to clear text in the same connection.",
        HANDSHAKE,
    ),
    (
        "The certificate",
        "Encrypted, and the peer's certificate is not verified: the level says whether mail goes over it.",
        CERTIFICATE,
    ),
)


def document() -> str:
    """The whole page."""
    parts = [INTRODUCTION.format(count=len(CAUSES))]
    for title, text, causes in SECTIONS:
        rows = ["| cause | who | what | what to do |", "|---|---|---|---|", *map(_row, causes.items())]
        parts.append("\n".join([f"## {title}\n", f"{text}\n", *rows, ""]))
    return "\n".join(parts)


def _row(entry: tuple[str, Cause]) -> str:
    name, cause = entry
    return f"| `{name}` | {cause.side} | {_shown(cause.summary)} | {_shown(cause.remedy)} |"


_SPOKEN = {"Peer": "The peer", "peer": "the peer", "certificate": "our certificate"}


def _shown(text: str) -> str:
    return re.sub(r"\{(\w+)\}", lambda place: _SPOKEN.get(place[1], f"*{place[1]}*"), text)


def main() -> int:
    """Print the page."""
    sys.stdout.write(document())
    return 0


if __name__ == "__main__":
    sys.exit(main())
