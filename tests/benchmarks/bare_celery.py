"""What a user would write: a task of plain Celery, with the settings that lose the least."""

import os

from celery import Celery

QUEUE = "bare"

app = Celery("bare", broker=os.environ.get("BROKER_URL", "redis://127.0.0.1:6379/0"), set_as_current=False)
app.conf.update(
    task_default_queue=QUEUE,
    task_acks_late=True,
    task_ignore_result=True,
    worker_prefetch_multiplier=1,
    worker_enable_remote_control=False,
    worker_send_task_events=False,
    broker_connection_retry_on_startup=True,
)


@app.task(name="nothing")  # type: ignore[untyped-decorator]
def nothing(payload: str) -> None:
    """Do nothing."""
