"""Readers of events that write: the text log of the reference and its JSON twin."""
