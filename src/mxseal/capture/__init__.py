"""Recordings of connections that can be read with Wireshark: packets, keys and what is left out. PURE."""
