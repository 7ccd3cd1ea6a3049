"""The demonstration, `make demo`: a gateway, a real mail server behind it, mail through both."""
