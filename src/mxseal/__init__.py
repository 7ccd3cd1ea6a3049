"""MXSeal: an email security gateway whose subject is TLS."""

__version__ = "0.1.0"
