"""TLS as bytes in, bytes out, and values: engine, contexts, policy, and why a handshake failed. PURE."""
