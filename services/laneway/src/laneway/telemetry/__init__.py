"""Traces, metrics and logs: objects that are made once per process and handed in. Knows nothing of calls."""
