"""Alerts: what an administrator should know at once, told by mail and webhook, and never told too often."""
