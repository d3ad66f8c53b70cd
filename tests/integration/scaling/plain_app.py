"""A Celery application that has never heard of Laneway, but for one line that REPORT asks for."""

import os
import time
from pathlib import Path

from celery import Celery

import laneway

app = Celery("plain", broker=os.environ["BROKER"])
app.conf.update(
    task_acks_late=True,
    worker_prefetch_multiplier=1,
    task_default_queue="plain",
    broker_connection_retry_on_startup=True,
    broker_transport_options={
        "global_keyprefix": os.environ.get("PREFIX", ""),
        "priority_steps": [0, 5],
        "queue_order_strategy": "priority",
    },
)
if os.environ.get("REPORT"):
    app.steps["worker"].add(laneway.CapacityReport)


@app.task
def nap(seconds: float) -> None:
    """Be busy."""
    time.sleep(seconds)


@app.task
def hold(released: str) -> None:
    """Be busy until a file is there."""
    while not Path(released).exists():
        time.sleep(0.02)
