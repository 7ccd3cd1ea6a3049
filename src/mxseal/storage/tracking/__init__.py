"""Message tracking at rest: one database that an indexer fills from the event log and commands read."""
