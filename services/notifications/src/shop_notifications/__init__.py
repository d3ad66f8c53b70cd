"""Tells customers, by queued e-mail."""
