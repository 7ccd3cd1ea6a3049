"""Files to try an analysis server with. PURE."""

from __future__ import annotations

import hashlib

from mxseal.analysis.values import Item


def eicar() -> Item:
    """The test file of eicar.org, which every scanner finds and which does no harm. Put together here:
    scanners would find it in the source."""
    head = "X5O!P%@AP[4" + chr(92) + "PZX54(P^)7CC)7}"
    text = head + "$EICAR" + "-STANDARD-ANTI" + "VIRUS-TEST-FILE!" + "$H+H*"
    return item("eicar.com", "application/octet-stream", text.encode())


def harmless() -> Item:
    """A text of which nobody should think ill."""
    return item(
        "mxseal-test.txt", "text/plain", b"MXSeal tests whether files are analysed. This one is harmless.\r\n"
    )


def item(name: str, media_type: str, content: bytes) -> Item:
    """A file with its digest."""
    return Item(name, media_type, len(content), hashlib.sha256(content).hexdigest(), content)
