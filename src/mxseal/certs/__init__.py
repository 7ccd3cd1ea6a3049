"""Certificates: read, judge, make, keep and serve them. `now` is always in seconds since the epoch."""
