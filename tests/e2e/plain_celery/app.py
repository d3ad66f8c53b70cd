"""A plain Celery application. Of Laneway it knows one line, and that only where REPORT is set."""

import os
import socket
import time

import redis
from celery import Celery
from redis.backoff import ConstantBackoff
from redis.retry import Retry

BROKER = os.environ["BROKER_URL"]
app = Celery("plain", broker=BROKER)
app.conf.broker_transport_options = {"visibility_timeout": int(os.environ.get("VISIBILITY", "3600"))}
app.conf.update(task_acks_late=True, worker_prefetch_multiplier=1, task_ignore_result=True)
record = redis.Redis.from_url(BROKER, retry=Retry(ConstantBackoff(0.5), 120), retry_on_error=[redis.RedisError])

if os.environ.get("REPORT"):
    import laneway

    app.steps["worker"].add(laneway.CapacityReport)


@app.task
def work(number, seconds):
    """Take some time, and leave on record where it began and ended."""
    record.rpush("begun", f"{number} {socket.gethostname()}")
    time.sleep(seconds)
    record.rpush("ended", f"{number} {socket.gethostname()}")
