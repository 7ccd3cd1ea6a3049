"""Reading logs: which files there are, searching and following them. Knows lines, nothing of events."""
