"""The indexer of message tracking: from the lines of the JSON log to rows, each exactly once."""
