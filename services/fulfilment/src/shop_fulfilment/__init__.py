"""Carries a placed order to its end: a saga over events."""
