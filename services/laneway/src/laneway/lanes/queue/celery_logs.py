"""What Celery writes into the log, made fit for it: no message's content, and nothing that we say already.

Celery prints the body of what it cannot run, and of what is rejected. What a caller sent may hold a card's token.
"""

import logging
from collections.abc import Callable

from celery.app import trace
from celery.worker import request
from celery.worker.consumer import consumer

from laneway.lanes.queue.outages import Outages

BROKER = "BROKER_UNAVAILABLE"
"""The outage that the consumer and our own connections share: the reason of `Unavailable` from the broker."""
AWAY = "the broker does not answer; check LANEWAY_BROKER_URL, or start it"

_WITH_A_BODY = {
    consumer.UNKNOWN_FORMAT: "it is no message of Celery's",
    consumer.UNKNOWN_TASK_ERROR: "no method of this service has its name",
    consumer.INVALID_TASK_ERROR: "it is no message of Celery's",
    consumer.MESSAGE_DECODE_ERROR: "it is not JSON",
}


def quieten(outages: Outages) -> None:
    """Put what Celery logs in our words, for the whole process; `outages` is told when the broker is away."""
    for logger, keep in (
        (consumer.logger, _of_the_consumer(outages)),
        (request.logger, _of_requests),
        (trace.logger, _of_runs),
    ):
        logger.addFilter(keep)


def _of_the_consumer(outages: Outages) -> Callable[[logging.LogRecord], bool]:
    def keep(record: logging.LogRecord) -> bool:
        args = record.args if isinstance(record.args, tuple) else ()
        if record.msg == consumer.CONNECTION_ERROR:
            outages.begin(BROKER, AWAY, broker=args[0], cause=str(args[1]).rstrip("."))
            return False
        if args[:1] == (consumer.CONNECTION_RETRY,):  # it was there until now
            outages.begin(BROKER, AWAY, cause=repr(args[1]))
            return False
        if record.msg in _WITH_A_BODY:
            record.msg, record.args, why = "unreadable message dropped", (), _WITH_A_BODY[record.msg]
            record.exc_info = record.exc_text = None
            vars(record).update(cause=why)
        return _of_requests(record)

    return keep


def _of_requests(record: logging.LogRecord) -> bool:
    """A copy that cannot be acknowledged comes again, and the broker's outage is known."""
    return not str(record.msg).startswith(("Couldn't ack", "Couldn't reject"))


def _of_runs(record: logging.LogRecord) -> bool:
    """A rejected run was told by whoever rejected it; of others, only the sentence is kept."""
    data = vars(record).pop("data", None)
    return not (isinstance(data, dict) and data.get("description") == trace.log_policy_reject.description)
