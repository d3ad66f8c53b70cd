"""A Celery application. The two lines on capacity are all that it knows of Laneway, and it may do without them."""

import os
import time

from celery import Celery

import laneway

app = Celery("thumbnails", broker=os.environ["BROKER_URL"])
app.conf.update(task_acks_late=True, worker_prefetch_multiplier=1)
app.steps["worker"].add(laneway.CapacityReport)


@app.task
def thumbnail(picture: str) -> None:
    print(f"a thumbnail of {picture}")
    time.sleep(2)
