"""Laneway: one contract, and every call picks its lane."""
