"""Readers of events that write: the text log of the reference and its JSON twin."""

from __future__ import annotations

from mxseal.sinks.jsonlog import JsonLog
from mxseal.sinks.maillog import MailLog

__all__ = ["JsonLog", "MailLog"]
