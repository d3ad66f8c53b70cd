"""`laneway top`: what services, lanes, breakers, queues and pools do now, by their metrics."""
