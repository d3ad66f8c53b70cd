"""The server: gRPC for callers, FastAPI for probes and metrics, the relay beside them. `python -m tests.benchmarks.twin.server`."""

import asyncio
import logging
import os
import re
import signal
import time
import uuid

import grpc.aio
import uvicorn
from fastapi import FastAPI, Response
from google.longrunning import operations_pb2
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import DecodeError
from google.rpc import status_pb2
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from opentelemetry.trace import SpanKind
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from laneway.v1 import system_pb2
from shop.notifications.v1.notifications_pb2 import SendEmailRequest
from tests.benchmarks.twin import telemetry
from tests.benchmarks.twin.store import KeyReused, Store
from tests.benchmarks.twin.worker import CARRIED, EMAIL_QUEUE, SEND, publish

log = logging.getLogger("notifications")

LEASE = 5.0
EVERY = 0.2
BATCH = 100
SWEEP_EVERY = 600.0
MOST_WAITING = 200_000
GRACE = 20.0
ADDRESS = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
OWN = "operations/notifications/"
Context = grpc.aio.ServicerContext


class Server:
    """Accepts calls of `SendEmail`, which are done later, and tells what has become of them."""

    def __init__(self, store: Store, wake: asyncio.Event) -> None:
        self._store = store
        self._wake = wake

    async def start(self, request: system_pb2.StartRequest, context: Context) -> operations_pb2.Operation:
        """One operation for each key."""
        headers = {key: str(value) for key, value in context.invocation_metadata() or ()}
        begin, code = time.monotonic(), "OK"
        try:
            with telemetry.span("laneway.v1.Acceptor/Start", SpanKind.SERVER, headers):
                return await self._start(request, headers, context)
        except BaseException:
            code = str(context.code() or "UNKNOWN")
            raise
        finally:
            telemetry.CALLS.labels("Start", code).inc()
            telemetry.SECONDS.labels("Start").observe(time.monotonic() - begin)

    async def _start(
        self, request: system_pb2.StartRequest, headers: dict[str, str], context: Context
    ) -> operations_pb2.Operation:
        remaining = context.time_remaining()
        if remaining is not None and remaining <= 0:
            await context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, "The caller's deadline has passed.")
        if request.method != SEND:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"There is no queued method {request.method}.")
        try:
            mail = SendEmailRequest.FromString(request.payload)
        except DecodeError:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "The payload is not a SendEmailRequest.")
        if not ADDRESS.fullmatch(mail.to):
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "`to`: it is no e-mail address.")
        if (await asyncio.to_thread(self._store.counts))["waiting"] >= MOST_WAITING:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "The queue takes nothing now. Try again later.")
        key = headers.get("idempotency-key") or mail.request_id or None
        further: dict[str, str] = {}
        with telemetry.span(f"publish {EMAIL_QUEUE}", SpanKind.PRODUCER):
            telemetry.inject(further)
        carried = {name: further[name] for name in CARRIED if name in further}
        try:
            operation, replayed = await asyncio.to_thread(self._store.accept, SEND, request.payload, carried, key)
        except KeyReused:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "The key was used with another request.")
        if replayed:
            context.set_trailing_metadata((("idempotent-replayed", "true"),))
        else:
            self._wake.set()
        return operations_pb2.Operation(name=OWN + operation)

    async def get(self, request: operations_pb2.GetOperationRequest, context: Context) -> operations_pb2.Operation:
        """What has become of a call."""
        found = await asyncio.to_thread(self._store.operation, request.name.removeprefix(OWN))
        if found is None:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"There is no {request.name}.")
        done, error = found  # type: ignore[misc] # abort raises
        operation = operations_pb2.Operation(name=request.name, done=done)
        if error is not None:
            operation.error.CopyFrom(status_pb2.Status(code=grpc.StatusCode.UNAVAILABLE.value[0], message=error))
        elif done:
            operation.response.Pack(Empty())
        return operation


class Relay:
    """Publishes what is due: the rows are the truth, the broker has copies."""

    def __init__(self, store: Store, wake: asyncio.Event) -> None:
        self._store = store
        self._wake = wake
        self._holder = str(uuid.uuid4())
        self._swept = 0.0

    async def run(self) -> None:
        """Until cancelled; one of several servers at a time."""
        while True:
            try:
                if await asyncio.to_thread(self._store.lease, "relay", self._holder, LEASE):
                    while await asyncio.to_thread(self._round):
                        """There may be more."""
            except Exception:
                log.exception("the relay tries again")
            try:
                async with asyncio.timeout(EVERY):
                    await self._wake.wait()
                self._wake.clear()
            except TimeoutError:
                """Look again."""

    def _round(self) -> bool:
        due = self._store.due(BATCH)
        for number, message in enumerate(due):
            try:
                publish(message.task, message.id, message.payload, dict(message.headers))
            except Exception as error:
                log.warning("messages wait for the broker: %s", type(error).__name__)
                self._store.not_published([each.id for each in due[number:]])
                return False
        counts = self._store.counts()
        for state in ("waiting", "parked"):
            telemetry.OUTBOX.labels(state).set(counts[state])
        telemetry.OLDEST.set(max(0.0, time.time() - counts["oldest"]) if counts["oldest"] else 0.0)
        if time.monotonic() - self._swept > SWEEP_EVERY:
            self._store.sweep()
            self._swept = time.monotonic()
        return len(due) == BATCH


def admin() -> FastAPI:
    """Probes and metrics."""
    app = FastAPI()

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        return {"status": "serving"}

    @app.get("/metrics")
    async def metrics() -> Response:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    return app


async def serve() -> None:
    """Until SIGTERM."""
    telemetry.configure()
    store, wake, stopped = Store(os.environ["DATABASE"]), asyncio.Event(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    handlers, checks = Server(store, wake), health.aio.HealthServicer()
    server = grpc.aio.server(options=[("grpc.max_connection_age_ms", 10_000)])
    start = grpc.unary_unary_rpc_method_handler(
        handlers.start, system_pb2.StartRequest.FromString, operations_pb2.Operation.SerializeToString
    )
    get = grpc.unary_unary_rpc_method_handler(
        handlers.get, operations_pb2.GetOperationRequest.FromString, operations_pb2.Operation.SerializeToString
    )
    server.add_generic_rpc_handlers((
        grpc.method_handlers_generic_handler("laneway.v1.Acceptor", {"Start": start}),
        grpc.method_handlers_generic_handler("google.longrunning.Operations", {"GetOperation": get}),
    ))  # fmt: skip
    health_pb2_grpc.add_HealthServicer_to_server(checks, server)
    server.add_insecure_port(f"127.0.0.1:{os.environ['GRPC_PORT']}")
    await server.start()
    await checks.set("", health_pb2.HealthCheckResponse.SERVING)
    pages = uvicorn.Server(
        uvicorn.Config(admin(), port=int(os.environ.get("ADMIN_PORT", "0")), log_config=None, lifespan="off")
    )
    pages.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
    duties = [asyncio.create_task(Relay(store, wake).run()), asyncio.create_task(pages.serve())]
    try:
        await stopped.wait()
        await checks.set("", health_pb2.HealthCheckResponse.NOT_SERVING)
        await server.stop(GRACE)
    finally:
        pages.should_exit = True
        duties[0].cancel()
        await asyncio.gather(*duties, return_exceptions=True)
        telemetry.shutdown()


if __name__ == "__main__":
    asyncio.run(serve())
