"""LDAP as a client speaks it (RFC 4511, 4515): values, filters, the conversation without a socket. PURE."""
