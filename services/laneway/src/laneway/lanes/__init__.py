"""The lanes: how calls reach handlers and leave them. One handler, one policy, one context for all."""
