"""What every part of the document shares."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Table(BaseModel):
    """What every part of the document shares: frozen, no unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")
