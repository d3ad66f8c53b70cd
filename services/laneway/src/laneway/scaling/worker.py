"""The worker's side of scaling, for any Celery application on Valkey or Redis:

    app.steps["worker"].add(laneway.CapacityReport)

A thread of the worker says each second what it does, and obeys the drain set and the pauses of its queues: it stops
consuming, finishes what it has taken, and consumes again when it may. It uses no remote control and no events.
A worker that is started again asks before it consumes for the first time.
"""

import logging
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from celery import bootsteps, signals
from celery.worker import state
from kombu.exceptions import OperationalError
from redis import Redis
from redis.exceptions import RedisError

from laneway.scaling.leave import Door, pod_name
from laneway.scaling.model import Share
from laneway.scaling.wire import WORKER_TTL, Report, drain_key, paused_key, worker_key

log = logging.getLogger(__name__)

EACH = 1.0
"""Seconds between reports."""

SAMPLE = 0.05
"""Seconds between looks at what runs, from which busy time is summed."""

TIMEOUT = 5.0


class CapacityReport(bootsteps.StartStopStep):  # type: ignore[misc]
    """The bootstep. A subclass may name the pod, and say how many breakers are open."""

    requires = ("celery.worker.components:Pool",)

    pod: str | None = None
    breakers_open: Callable[[], int] = staticmethod(lambda: 0)

    def start(self, worker: Any) -> None:
        """Obey what is written about this pod, then say what it does until the worker ends."""
        options = {"socket_timeout": TIMEOUT, "socket_connect_timeout": TIMEOUT}
        connection = worker.app.connection_for_write(transport_options=options)
        if connection.transport.driver_type != "redis":
            log.warning("no capacity report: the broker is neither Valkey nor Redis")
            return
        reporting = Reporting(worker, connection, pod=self.pod or pod_name(), breakers_open=self.breakers_open)
        reporting.start()


class Reporting:
    """One worker's reports, from a thread of their own, and its obedience."""

    def __init__(self, worker: Any, connection: Any, *, pod: str, breakers_open: Callable[[], int]) -> None:
        queues = worker.app.amqp.queues.consume_from
        self._queues = sorted(queues)
        self._pod = pod
        self._breakers_open = breakers_open
        self._worker = worker
        self._connection = connection
        self._broker: tuple[Redis, str] | None = None
        # kombu raises its OperationalError where it connects, and what is below it elsewhere.
        self._away = (*connection.connection_errors, OperationalError, RedisError, OSError)
        self._answers = True
        self._tally = Tally({queue.routing_key: name for name, queue in queues.items()}, self._queues)
        self._gate = Gate(worker, self._queues)
        self._door: Door | None = None
        self._startup: float | None = None
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="capacity-report", daemon=True)

    def start(self) -> None:
        """Ask once whether this pod may consume, before it does; then go on in the thread."""
        signals.task_received.connect(self._received, weak=False)
        signals.worker_ready.connect(self._consuming, weak=False)
        signals.worker_shutting_down.connect(self._gate.leave, weak=False)
        signals.worker_shutdown.connect(self._stop, weak=False)
        self._door = _door(self._pod)
        self._exchange()
        self._thread.start()

    def _run(self) -> None:
        told = sampled = time.monotonic()
        while not self._stopped.wait(SAMPLE):
            now = time.monotonic()
            self._tally.sample(now - sampled)
            sampled = now
            asked = self._door is not None and self._door.knocked()
            if asked:
                self._gate.shut_for_good()
            if asked or now - told >= EACH:
                self._tell()
                told = now
        self._take_back()
        if self._door is not None:
            self._door.close()

    def _tell(self) -> None:
        """Exchange with the broker; then let those go who wait for this worker to be idle."""
        idle = self._gate.is_shut and not any(share.active + share.reserved for share in self._tally.shares().values())
        self._exchange()
        if idle and self._door is not None:
            self._door.say_idle()

    def _exchange(self) -> None:
        """Say what is, hear what is to be. While the broker is away, what was heard last goes on."""
        shares = self._tally.shares()
        try:
            client, prefix = self._client()
            pipe = client.pipeline(transaction=False)
            for queue in self._queues:
                key = prefix + worker_key(queue, self._pod)
                pipe.hset(key, mapping={**self._report(queue, shares[queue]).encode()})
                pipe.expire(key, WORKER_TTL)
                pipe.sismember(prefix + drain_key(queue), self._pod)
                pipe.exists(prefix + paused_key(queue))
            answers = pipe.execute()
        except self._away as error:
            if self._answers:
                log.warning("capacity is not reported: the broker does not answer", extra={"cause": repr(error)})
            self._answers = False
            return
        self._answers = True
        drained = {queue for queue, is_in in zip(self._queues, answers[2::4], strict=True) if is_in}
        paused = {queue for queue, is_in in zip(self._queues, answers[3::4], strict=True) if is_in}
        self._gate.shut(drained, paused)

    def _report(self, queue: str, share: Share) -> Report:
        return Report(
            slots=getattr(self._worker, "max_concurrency", None) or self._worker.concurrency,
            share=share,
            draining=queue in self._gate.drained,
            startup_seconds=self._startup,
            breakers_open=self._breakers_open(),
        )

    def _client(self) -> tuple[Redis, str]:
        """A client of our own on kombu's connections, with the prefix that kombu gives its keys."""
        if self._broker is None:
            channel = self._connection.default_channel
            self._broker = Redis(connection_pool=channel.pool), channel.global_keyprefix or ""
        return self._broker

    def _received(self, request: Any = None, **_: object) -> None:
        self._tally.received(request)

    def _consuming(self, **_: object) -> None:
        self._startup = seconds_since_process_start()

    def _stop(self, **_: object) -> None:
        self._stopped.set()
        self._thread.join(TIMEOUT)

    def _take_back(self) -> None:
        try:
            client, prefix = self._client()
            client.delete(*(prefix + worker_key(queue, self._pod) for queue in self._queues))
        except self._away:
            log.info("the last report is left to its time to live")


class Gate:
    """Which queues the worker's consumer reads. `drained` are those that it has ceased to read because of a drain."""

    def __init__(self, worker: Any, queues: Iterable[str]) -> None:
        self._worker = worker
        self._names = frozenset(queues)
        self._drained: frozenset[str] = frozenset()
        self._closed: frozenset[str] = frozenset()
        self._leaving = False
        self._for_good = False

    @property
    def is_shut(self) -> bool:
        """Whether it was shut for good, and nothing is read any more."""
        return self._for_good and self._closed >= self._all()

    @property
    def drained(self) -> frozenset[str]:
        return self._drained & self._closed

    def shut(self, drained: Iterable[str], paused: Iterable[str]) -> None:
        """Close these, open all others; done by the consumer's thread a moment later."""
        self._drained = self._all() if self._for_good else frozenset(drained)
        wanted = self._drained | frozenset(paused)
        consumer = self._worker.consumer
        if wanted == self._closed or consumer is None:
            return
        if consumer.task_consumer is None:  # it has not begun, or has no connection: it will begin with what is chosen
            self._choose(wanted)
        else:
            consumer.call_soon(self._apply, wanted)

    def shut_for_good(self) -> None:
        """Close all queues, whatever is said later: the pod is about to go."""
        self._for_good = True
        self.shut((), ())

    def _all(self) -> frozenset[str]:
        return self._names

    def leave(self, **_: object) -> None:
        """The worker stops: nothing is opened again."""
        self._leaving = True

    def _choose(self, wanted: frozenset[str]) -> None:
        queues = self._worker.app.amqp.queues
        queues.deselect(sorted(wanted - self._closed))
        for name in sorted(self._closed - wanted):
            queues.select_add(queues[name])
        self._closed = wanted

    def _apply(self, wanted: frozenset[str]) -> None:
        consumer = self._worker.consumer
        if self._leaving or consumer.task_consumer is None:
            return
        for name in sorted(wanted - self._closed):
            consumer.cancel_task_queue(name)
        for name in sorted(self._closed - wanted):
            consumer.add_task_queue(name)
        self._closed = wanted


class Tally:
    """What a worker has done for its queues, summed from looks at Celery's own state.

    Busy time is sampled, so that it costs nothing for each message; what has ended is what was received and is not
    held any more. Messages whose routing key leads nowhere are put down to the first queue.
    """

    def __init__(self, routes: Mapping[str, str], queues: Sequence[str]) -> None:
        self._routes = {**routes, **{name: name for name in queues}}
        self._queues = queues
        self._received: Counter[str] = Counter()
        self._processed: Counter[str] = Counter()
        self._busy = dict.fromkeys(queues, 0.0)

    def received(self, request: Any) -> None:
        """A message was taken. Called in the consumer's thread, which is the only one that adds."""
        self._received[self._queue_of(request)] += 1

    def sample(self, seconds: float) -> None:
        """Let what runs now count as busy for so long."""
        for queue, active in self._count(state.active_requests).items():
            self._busy[queue] += active * seconds

    def shares(self) -> dict[str, Share]:
        """What it does and has done, by queue."""
        received = Counter(self._received)  # before what is held: else what comes in between counts as ended
        active = self._count(state.active_requests)
        held = self._count({*_copy(state.reserved_requests), *_copy(state.scheduled_requests)})
        return {queue: self._share(queue, received[queue], active[queue], held[queue]) for queue in self._queues}

    def _share(self, queue: str, received: int, active: int, held: int) -> Share:
        held = max(held, active)
        self._processed[queue] = max(self._processed[queue], received - held)
        return Share(
            active=active,
            reserved=held - active,
            processed=self._processed[queue],
            busy_seconds=self._busy[queue],
        )

    def _queue_of(self, request: Any) -> str:
        key = (request.delivery_info or {}).get("routing_key")
        return self._routes.get(str(key), self._queues[0])

    def _count(self, requests: Iterable[Any]) -> Counter[str]:
        return Counter(self._queue_of(request) for request in _copy(requests))


def _door(pod: str) -> Door | None:
    try:
        return Door(pod)
    except OSError as error:
        log.warning("nobody can ask this worker to leave (preStop)", extra={"cause": repr(error)})
        return None


def _copy(requests: Iterable[Any]) -> list[Any]:
    """Of a set that other threads change meanwhile."""
    while True:
        try:
            return list(requests)
        except RuntimeError:
            continue


def seconds_since_process_start() -> float | None:
    """How long this process has been there; None where the system does not tell (only Linux does)."""
    try:
        ticks = int(Path("/proc/self/stat").read_text().rsplit(")", 1)[1].split()[19])
        uptime = float(Path("/proc/uptime").read_text().split()[0])
    except (OSError, IndexError, ValueError):
        return None
    return max(0.0, uptime - ticks / os.sysconf("SC_CLK_TCK"))
