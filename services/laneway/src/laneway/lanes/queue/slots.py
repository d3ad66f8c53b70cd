"""Runs the messages of `cpu_bound` queues in processes of the worker's own, one at a time in each.

The worker stays what it is: it takes copies, keeps their markers, hears of cancellations and reports, on a loop that no
handler blocks. Only the run itself, with its commit, is elsewhere. A process that is told to stop what it does and does
not within a second is killed, and another takes its place; whatever ends a process costs the attempt that it ran.
"""

import asyncio
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

from google.rpc.status_pb2 import Status

from laneway.contract.model import Method
from laneway.contract.tuning import Tuning
from laneway.errors import ConfigurationError, DeadlineExceeded, LanewayError, Unavailable
from laneway.lanes.dispatch import Dispatcher
from laneway.lanes.queue.delivery import OnProgress, arrival_of
from laneway.lanes.queue.envelope import Delivery
from laneway.lanes.queue.slot import ENDS_WITHIN, Ended, Order, Ready, Run, Said
from laneway.lanes.status import error_from
from laneway.telemetry.children import Children
from laneway.v1 import system_pb2

log = logging.getLogger(__name__)

YIELDS_WITHIN = 1.0
"""Seconds that a handler has to end by itself when it is cancelled, or out of time."""

PAUSES = (0.5, 10.0)
"""Seconds before another try after a process that could not start: doubling, from the first to the second."""

PATIENCE = 60.0
"""Seconds without any process after which the worker is not alive."""

Begin = Callable[[], tuple[BaseProcess, Connection]]
"""Starts a process in which `laneway.lanes.queue.slot.serve` is at the other end of a pipe."""


class Slots:
    """The processes of one worker. Belongs to the worker's event loop."""

    def __init__(
        self,
        begin: Begin,
        count: int,
        *,
        dispatcher: Dispatcher,
        tuning: Tuning,
        children: Children,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._begin = begin
        self._count = count
        self._dispatcher = dispatcher
        self._tuning = tuning
        self._children = children
        self._idle: asyncio.Queue[_Process] = asyncio.Queue()
        self._processes: set[_Process] = set()
        self._clock = clock
        self._ready_at = clock()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Start the processes; the block begins when all of them are ready, and they end with it.

        Raises:
            ConfigurationError: one could not start.
        """
        try:
            for process in [self._begun() for _ in range(self._count)]:
                if not await self._until_ready(process):
                    raise ConfigurationError("A process for cpu_bound queues could not start; its log has the cause.")
            yield
        finally:
            await asyncio.gather(*(each.stop() for each in self._processes))

    async def keep(self) -> None:
        """Start another process whenever one has ended, until cancelled."""
        async with asyncio.TaskGroup() as group:
            for process in self._processes:
                group.create_task(self._keep(process))

    async def handle(self, method: Method, delivery: Delivery, attempt: int, report: OnProgress) -> None:
        """Run a message in the next process that is free.

        Raises:
            LanewayError: there is no outcome yet.
        """
        lost = self._dispatcher.elsewhere(method, arrival_of(method, delivery, attempt))
        while not (process := await self._idle.get()).lives:
            pass
        try:
            error = await process.run(Run(delivery, attempt), report, within=self._longest(method))
        except BaseException as untold:
            if not process.told:
                lost(untold)
            raise
        finally:
            if process.lives:
                self._idle.put_nowait(process)
        if error is not None:
            raise error

    def ailment(self) -> str | None:
        """Why the worker is not alive; None while it is. Asked by any thread."""
        without = self._clock() - self._ready_at
        if without < PATIENCE or any(each.is_ready for each in list(self._processes)):
            return None
        return f"no process for cpu_bound queues has started for {without:.0f} s"

    def _longest(self, method: Method) -> float:
        work = self._tuning.of(method).work
        if work is None:
            raise LookupError(f"{method.full_name} has no queue")
        return work.run_timeout + YIELDS_WITHIN

    def _begun(self) -> "_Process":
        process = _Process(*self._begin(), self._children)
        self._processes.add(process)
        return process

    async def _until_ready(self, process: "_Process") -> bool:
        if ready := await asyncio.shield(process.ready):  # it says so even to a worker that stops
            self._idle.put_nowait(process)
        return ready

    async def _keep(self, process: "_Process") -> None:
        pause = 0.0
        while True:
            await process.gone.wait()
            self._processes.discard(process)
            self._ready_at = self._clock() if process.is_ready else self._ready_at
            log.warning("a process of a slot has ended; another is started", extra={"how": process.how})
            await asyncio.sleep(pause)
            process = self._begun()
            ready = await self._until_ready(process)
            pause = 0.0 if ready else min(max(2 * pause, PAUSES[0]), PAUSES[1])


class _Process:
    """One process, as its worker sees it. A thread reads what it says, and waits for its end."""

    def __init__(self, process: BaseProcess, connection: Connection, children: Children) -> None:
        self._process = process
        self._connection = connection
        self._children = children
        self._loop = asyncio.get_running_loop()
        self._report: OnProgress = _ignored
        self._outcome: asyncio.Future[Ended | None] = self._loop.create_future()
        self._killed = False
        self.ready: asyncio.Future[bool] = self._loop.create_future()
        self.gone = asyncio.Event()
        threading.Thread(target=self._read, name=f"slot-{process.pid}", daemon=True).start()

    @property
    def is_ready(self) -> bool:
        """Whether it has come to where it can run messages."""
        return self.ready.done() and self.ready.result()

    @property
    def lives(self) -> bool:
        """Whether it can be given a message."""
        return not self._killed and not self.gone.is_set()

    @property
    def told(self) -> bool:
        """Whether it has said itself how its last run ended."""
        return self._outcome.done() and self._outcome.result() is not None

    @property
    def how(self) -> str:
        """How it ended."""
        code = self._process.exitcode or 0
        return f"signal {-code}" if code < 0 else f"exit code {code}"

    async def run(self, order: Run, report: OnProgress, *, within: float) -> LanewayError | None:
        """Run a message: what it ended with, if it has no outcome.

        Raises:
            DeadlineExceeded: it took too long, and the process was killed.
            Unavailable: the process ended.
        """
        self._report, outcome = report, self._loop.create_future()
        self._outcome = outcome
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(within):
                    with suppress(OSError):  # it has ended meanwhile, and that is its outcome
                        await asyncio.to_thread(self._connection.send, order)
                    await asyncio.wait({outcome})
        except asyncio.CancelledError:
            self._tell(Order.CANCEL)
            await asyncio.wait({outcome}, timeout=YIELDS_WITHIN)
            raise
        finally:
            self._report = _ignored
            if not outcome.done():
                self.kill()
        name = order.delivery.method
        if not outcome.done():
            raise DeadlineExceeded(f"{name} did not end within its run_timeout, nor yield; its process was killed.")
        ended = outcome.result()
        if ended is None:
            raise Unavailable(f"The process of {name} ended during the run ({self.how}).", reason="PROCESS_LOST")
        return None if ended.error is None else error_from(Status.FromString(ended.error))

    def kill(self) -> None:
        """End it, whatever it does."""
        self._killed = True
        self._process.kill()

    async def stop(self) -> None:
        """Let it end; kill it if it does not."""
        self._tell(Order.STOP)
        try:
            async with asyncio.timeout(ENDS_WITHIN):
                await self.gone.wait()
        except TimeoutError:
            self.kill()
            await self.gone.wait()

    def _tell(self, order: Order) -> None:
        with suppress(OSError):  # it is no more
            self._connection.send(order)

    def _read(self) -> None:
        """In a thread of its own."""
        with suppress(EOFError, OSError):
            while True:
                self._loop.call_soon_threadsafe(self._hear, self._connection.recv())
        self._process.kill()  # it may live on without a pipe
        self._process.join()
        self._loop.call_soon_threadsafe(self._end)

    def _hear(self, word: Ready | Said | Ended) -> None:
        match word:
            case Ready():
                self.ready.set_result(True)
            case Said(progress):
                self._report(system_pb2.Progress.FromString(progress))
            case Ended(figures=figures):
                self._children.told(self, figures)
                if not self._outcome.done():
                    self._outcome.set_result(word)

    def _end(self) -> None:
        self._children.ended(self)
        self._connection.close()
        self.gone.set()
        if not self.ready.done():
            self.ready.set_result(False)
        if not self._outcome.done():
            self._outcome.set_result(None)


def _ignored(_: system_pb2.Progress) -> None:
    """What is said after the run is over."""
