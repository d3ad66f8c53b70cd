"""Keeps processes running: starts them by stage, starts again what dies, stops all in reverse. Knows no service."""

import asyncio
import os
import signal
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from laneway.cli.up.launch import Launcher, Running, kill_session, signal_process
from laneway.cli.up.output import Output
from laneway.cli.up.plan import Process, Stage
from laneway.cli.up.readiness import until_ready
from laneway.errors import ConfigurationError, LanewayError, Unavailable

MISCONFIGURED = 2
"""The exit code of a process that said why it cannot run."""

CANNOT_START = 127
"""The exit code, as shells have it, of what could not even be started."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long is waited, in seconds."""

    start: float = 30.0
    stop: float = 25.0
    first_restart: float = 0.2
    longest_restart: float = 5.0
    steady: float = 10.0


class Supervisor:
    """Runs a set of processes. Belongs to one event loop.

    `changed` is called with the ids of the processes when all are ready, and whenever one has changed since.
    """

    def __init__(
        self,
        launcher: Launcher,
        output: Output,
        *,
        patience: Patience | None = None,
        changed: Callable[[Mapping[str, int]], None] = lambda _: None,
    ) -> None:
        self._launcher = launcher
        self._output = output
        self._patience = patience or Patience()
        self._changed = changed
        self._steady = False
        self._down: set[str] = set()
        self._kept: list[_Kept] = []
        self._broken: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def processes(self) -> Sequence[Process]:
        """What is kept running."""
        return [kept.process for kept in self._kept]

    @property
    def pids(self) -> Mapping[str, int]:
        """The ids of what runs, by the names of the processes."""
        return {kept.process.name: kept.running.pid for kept in self._kept if kept.running is not None}

    async def start(self, processes: Iterable[Process]) -> None:
        """Start all, each stage when the one below it is ready.

        Raises:
            ConfigurationError: a process said that it cannot run as it is configured.
            Unavailable: a process ended, or was not ready in time.
        """
        by_stage = sorted(processes, key=lambda process: process.stage)
        for stage in Stage:
            starting = [self._keep(process) for process in by_stage if process.stage is stage]
            for kept in starting:
                await self._until_ready(kept)
            for kept in self._kept:
                kept.check()
        for kept in self._kept:
            kept.settled = True
        self._steady = True
        self._tell()

    def add(self, process: Process) -> None:
        """Keep one more running. It may fail to start: then it is started again, like one that dies."""
        self._keep(process).settled = True
        self._tell()

    async def remove(self, name: str) -> None:
        """Stop one, warmly, and forget it."""
        [kept] = [kept for kept in self._kept if kept.process.name == name]
        await kept.stop()
        self._kept.remove(kept)
        self._tell()

    def hold(self, service: str, *, down: bool) -> None:
        """Kill the processes of a service and keep them from running; or let them run again."""
        if down == (service in self._down):
            return
        (self._down.add if down else self._down.discard)(service)
        for kept in self._kept:
            if kept.process.service == service:
                kept.hold(down=down)

    def say(self, sentence: str) -> None:
        """Print something of the supervisor's own."""
        self._output.say(sentence)

    async def keep(self) -> None:
        """Return never; raise if a process can no longer be kept, which is a mistake of ours."""
        await asyncio.shield(self._broken)

    def watch(self, task: "asyncio.Task[None]") -> None:
        """Let `keep` raise what a task that has ended raised."""
        if self._steady and not task.cancelled() and not self._broken.done() and (error := task.exception()):
            self._broken.set_exception(error)

    async def stop(self) -> None:
        """Stop all: the highest stage first, each with a warm SIGTERM, and SIGKILL when patience ends."""
        self._steady = False
        for kept in self._kept:
            kept.let_end()
        for stage in reversed(Stage):
            await asyncio.gather(*(kept.stop() for kept in self._kept if kept.process.stage is stage))
        self._kept.clear()

    def _keep(self, process: Process) -> "_Kept":
        kept = _Kept(process, self._launcher, self._output, self._patience, self._tell)
        kept.task.add_done_callback(self.watch)
        self._kept.append(kept)
        if process.service in self._down:
            kept.hold(down=True)
        return kept

    def _tell(self) -> None:
        if self._steady:
            self._changed(self.pids)

    async def _until_ready(self, kept: "_Kept") -> None:
        try:
            async with asyncio.timeout(self._patience.start):
                await asyncio.wait({kept.ready, kept.task}, return_when=asyncio.FIRST_COMPLETED)
        except TimeoutError:
            raise Unavailable(f"{kept.process.name} was not ready within {self._patience.start:g} s.") from None
        kept.check()


class _Kept:
    """One process that is kept running."""

    def __init__(
        self,
        process: Process,
        launcher: Launcher,
        output: Output,
        patience: Patience,
        changed: Callable[[], None],
    ) -> None:
        self.process = process
        self.running: Running | None = None
        self.settled = False
        """Whether its end is an accident, after which it is started again, and not a failure to start."""
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._launcher = launcher
        self._output = output
        self._patience = patience
        self._changed = changed
        self._last = asyncio.Event()
        self._free = asyncio.Event()
        self._free.set()
        self._stopping = False
        self.task = asyncio.create_task(self._keep())

    def check(self) -> None:
        """Raise what ended the keeping of this process."""
        if self.task.done():
            self.task.result()

    def let_end(self) -> None:
        """From now on its end is no accident: it is not started again."""
        self._last.set()
        self._free.set()

    def hold(self, *, down: bool) -> None:
        """Kill it, and do not start it again until it may run."""
        if not down:
            self._free.set()
            return
        self._free.clear()
        if self.running is not None:
            kill_session(self.running.pid)

    async def stop(self) -> None:
        """End it, and return when it has ended."""
        self.let_end()
        self._stopping = True
        if self.running is not None:
            signal_process(self.running.pid, signal.SIGTERM)
        await asyncio.wait({self.task}, timeout=self._patience.stop)
        if self.running is not None:
            self._output.say(f"{self.process.name} does not end; it is killed.")
            kill_session(self.running.pid)
        await asyncio.wait({self.task})
        self.task.exception()  # has been seen, if it was of interest

    async def _keep(self) -> None:
        loop = asyncio.get_running_loop()
        pause = self._patience.first_restart
        while True:
            await self._free.wait()
            if self._last.is_set():
                return
            begin = loop.time()
            code = await self._run()
            if self._last.is_set():
                return
            if not self._free.is_set():
                self._output.say(f"{self.process.name} is down, as it was told to.")
                continue
            if not self.settled:
                raise self._failure(code)
            if loop.time() - begin > self._patience.steady:
                pause = self._patience.first_restart
            self._output.say(f"{self.process.name} {_how_it_ended(code)}; it is started again in {pause:g} s.")
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._last.wait()
                return
            pause = min(2 * pause, self._patience.longest_restart)

    async def _run(self) -> int:
        """One life of the process."""
        reading, writing = os.pipe()
        lines = asyncio.create_task(self._output.follow(self.process.name, self.process.service, reading))
        try:
            running = self.running = await self._launcher.launch(self.process, writing)
        except (OSError, EOFError) as error:
            self._output.say(f"{self.process.name} cannot be started: {error}.")
            return CANNOT_START
        finally:
            os.close(writing)
        self._changed()
        if self._stopping:  # the signal came before there was anything to send it to
            signal_process(running.pid, signal.SIGTERM)
        readiness = asyncio.create_task(self._become_ready())
        code = await running.ended()
        readiness.cancel()
        self.running = None
        kill_session(running.pid)
        self._changed()
        await asyncio.wait({lines})
        return code

    async def _become_ready(self) -> None:
        await until_ready(self.process)
        if not self.ready.done():
            self.ready.set_result(None)

    def _failure(self, code: int) -> LanewayError:
        last = self._output.last_line(self.process.name)
        if code == MISCONFIGURED and last:
            return ConfigurationError(last)
        said = f"; it said: {last}" if last else f"; see {self.process.log}." if self.process.log else "."
        return Unavailable(f"{self.process.name} {_how_it_ended(code)} while it was starting{said}")


def _how_it_ended(code: int) -> str:
    if code < 0:
        return f"was ended by {signal.Signals(-code).name}"
    return f"ended with code {code}"
