"""The shop's notifications written by hand: grpcio, FastAPI, Celery and SQLite, with the guarantees that Laneway gives.

Held to the same behaviour as the shop's by tests/integration/twin; counted and measured by `python -m tests.benchmarks.twin`.
Only what a team would write for one service is here; a second service would share a part of it, and that part would be a
library.
"""
