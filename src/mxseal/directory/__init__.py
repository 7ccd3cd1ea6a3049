"""Directories in use: connections, hosts, answers that are kept, and what an answer means for mail."""
