"""SMTP without sockets: grammar, requests and replies, the content's dot-stuffing, both roles. PURE."""
