"""What a laptop lacks: a broker, a mail server and a collector of traces, for `laneway up`."""
