"""The queue lane: rows become copies in the broker, Celery workers run them, reports come back.

Events take the same way, so this is the event lane too.
"""
