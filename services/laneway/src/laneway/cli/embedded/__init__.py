"""The servers that a laptop lacks: a broker, a collector of traces, a mail server. They know nothing of services."""
