"""The web face: pages for browsers."""
