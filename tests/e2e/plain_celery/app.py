"""A plain Celery application. Of Laneway it knows one line, and that only where REPORT is set."""

import os
import time

import redis
from celery import Celery

app = Celery("plain", broker=os.environ["BROKER_URL"])
app.conf.update(task_acks_late=True, worker_prefetch_multiplier=1, task_ignore_result=True)
record = redis.Redis.from_url(os.environ["BROKER_URL"])

if os.environ.get("REPORT"):
    import laneway

    app.steps["worker"].add(laneway.CapacityReport)


@app.task
def work(number, seconds):
    """Take some time, and leave a record of having begun and ended."""
    record.rpush("begun", number)
    time.sleep(seconds)
    record.rpush("ended", number)
