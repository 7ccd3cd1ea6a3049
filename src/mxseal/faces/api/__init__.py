"""The REST API: one route for each command, over HTTPS, for programs with a token."""
