"""The web GUI."""
