"""The Celery side: `celery -A tests.benchmarks.twin.worker worker -P threads`."""

import base64
import logging
import os
import smtplib
import uuid
from email.message import EmailMessage
from typing import Any
from urllib.parse import urlsplit

from celery import Celery, Task
from celery.signals import worker_init, worker_shutdown
from google.protobuf.message import DecodeError
from kombu import Queue
from opentelemetry.trace import SpanKind

from shop.fulfilment.v1.events_pb2 import OrderRejected, OrderShipped
from shop.notifications.v1.notifications_pb2 import SendEmailRequest
from tests.benchmarks.twin import telemetry
from tests.benchmarks.twin.store import Store

log = logging.getLogger("notifications")

SERVICE = "shop.notifications.v1.Notifications"
SEND, SHIPPED, REJECTED = (f"{SERVICE}.{name}" for name in ("SendEmail", "OnOrderShipped", "OnOrderRejected"))
EMAIL_QUEUE, EVENT_QUEUE = "notifications.email", "notifications.events"
SENDER = "shop@laneway.example"
SMTP_TIMEOUT = 10
CARRIED = ("traceparent", "tracestate")

app = Celery("notifications", broker=os.environ.get("BROKER_URL", "redis://127.0.0.1:6379/0"), set_as_current=False)
app.conf.update(
    task_queues=[Queue(EMAIL_QUEUE, routing_key=EMAIL_QUEUE), Queue(EVENT_QUEUE, routing_key=EVENT_QUEUE)],
    task_create_missing_queues=False,
    accept_content=["json"],
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    task_ignore_result=True,
    worker_prefetch_multiplier=1,
    worker_enable_remote_control=False,
    worker_send_task_events=False,
    worker_hijack_root_logger=False,
    broker_connection_retry_on_startup=True,
    broker_connection_max_retries=None,
    broker_transport_options={
        "visibility_timeout": 3600, "socket_keepalive": True, "socket_timeout": 15, "health_check_interval": 10,
        "unacked_key": "twin:unacked", "unacked_index_key": "twin:unacked-index",
    },
)  # fmt: skip

_store: Store | None = None


@worker_init.connect
def _begin(**_: Any) -> None:
    telemetry.configure()


@worker_shutdown.connect
def _end(**_: Any) -> None:
    telemetry.shutdown()


def store() -> Store:
    """The service's, made when it is first needed."""
    global _store
    if _store is None:
        _store = Store(os.environ["DATABASE"])
    return _store


def publish(task: str, id: str, payload: bytes, headers: dict[str, str]) -> None:
    """A copy of a message for the workers."""
    queue = EMAIL_QUEUE if task == SEND else EVENT_QUEUE
    app.send_task(
        task, [base64.b64encode(payload).decode()], task_id=id, queue=queue, headers=headers,
        retry=False, argsrepr="(…)", kwargsrepr="{}",
    )  # fmt: skip


@app.task(bind=True, name=SHIPPED)
def on_order_shipped(task: Task, argument: str) -> None:
    """An order is on its way."""

    def mail(payload: bytes) -> SendEmailRequest:
        event = OrderShipped.FromString(payload)
        body = f"Your order {event.order} is on its way. Its tracking number is {event.tracking}.\n"
        return SendEmailRequest(to=event.email, subject=f"Shipped: {event.order}", body=body)

    _react(task, argument, mail)


@app.task(bind=True, name=REJECTED)
def on_order_rejected(task: Task, argument: str) -> None:
    """An order will not come."""

    def mail(payload: bytes) -> SendEmailRequest:
        event = OrderRejected.FromString(payload)
        body = f"We are sorry: your order {event.order} was not accepted. {event.reason}\n"
        return SendEmailRequest(to=event.email, subject=f"Not accepted: {event.order}", body=body)

    _react(task, argument, mail)


def _react(task: Task, argument: str, mail: Any) -> None:
    given = vars(task.request)
    id, headers = str(given.get("laneway-id") or task.request.id), _carried(given)
    with telemetry.span(f"process {EVENT_QUEUE}", SpanKind.CONSUMER, headers):
        try:
            payload = base64.b64decode(argument, validate=True)
            request = mail(payload)
        except (DecodeError, ValueError) as error:
            log.error("unreadable message dropped: %s", type(error).__name__)
            telemetry.DELIVERIES.labels(task.name, "dropped").inc()
            return
        further: dict[str, str] = {}
        with telemetry.span(f"publish {EMAIL_QUEUE}", SpanKind.PRODUCER):
            telemetry.inject(further)
        try:
            started = store().react(id, SEND, request.SerializeToString(), further)
        except Exception:
            telemetry.DELIVERIES.labels(task.name, "retry").inc()
            raise task.retry(countdown=2, max_retries=None) from None
        telemetry.DELIVERIES.labels(task.name, "done" if started else "duplicate").inc()


@app.task(bind=True, name=SEND)
def send_email(task: Task, argument: str) -> None:
    """Send one mail; however often it is tried, under one id."""
    id, headers = str(task.request.id), _carried(vars(task.request))
    with telemetry.span(f"process {EMAIL_QUEUE}", SpanKind.CONSUMER, headers):
        if store().seen(id):
            telemetry.DELIVERIES.labels(SEND, "duplicate").inc()
            return
        try:
            _send(SendEmailRequest.FromString(base64.b64decode(argument, validate=True)), id)
        except (DecodeError, ValueError) as error:
            store().failed(id, f"unreadable: {type(error).__name__}", for_good=True)
            telemetry.DELIVERIES.labels(SEND, "park").inc()
        except (smtplib.SMTPException, OSError) as error:
            parked = store().failed(id, f"The mail server takes no mail: {type(error).__name__}.", for_good=False)
            log.log(logging.ERROR if parked else logging.INFO, "giving up" if parked else "trying again later")
            telemetry.DELIVERIES.labels(SEND, "park" if parked else "retry").inc()
        else:
            store().done(id)
            telemetry.DELIVERIES.labels(SEND, "done").inc()


def _send(request: SendEmailRequest, id: str) -> None:
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = SENDER, request.to, request.subject
    mail["Message-ID"] = f"<{uuid.uuid5(uuid.NAMESPACE_OID, id)}@laneway.example>"
    mail.set_content(request.body)
    server = urlsplit(os.environ.get("SMTP_URL", "smtp://127.0.0.1:1025"))
    with (
        telemetry.span("SMTP send", SpanKind.CLIENT),
        smtplib.SMTP(server.hostname or "127.0.0.1", server.port or 25, timeout=SMTP_TIMEOUT) as smtp,
    ):
        smtp.send_message(mail)


def _carried(given: dict[str, Any]) -> dict[str, str]:
    return {name: str(given[name]) for name in CARRIED if given.get(name)}
