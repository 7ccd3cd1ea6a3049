"""What the HTTP faces need of the gateway beside what the commands need."""

from __future__ import annotations

from typing import Protocol

from mxseal.faces.web.sessions import WebServices


class HttpServices(WebServices, Protocol):
    """All of them together."""

    @property
    def ready(self) -> bool:
        """Whether mail is taken: all workers run, and nothing is stopping."""
        ...
