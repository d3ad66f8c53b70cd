"""Starts processes, waits until they answer, keeps them running, shows their logs, and stops them in order."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from pathlib import Path

from laneway.cli.up.plan import ProcessSpec
from laneway.errors import ConfigurationError

READY_WITHIN = 60.0
STOP_WITHIN = 25.0
RESTART_PAUSES = (0.2, 0.5, 1.0, 2.0)
"""Seconds before a process that died is started again; the last one from then on."""

Print = Callable[[str, str], None]
"""Shows a line of a process: its name, the line."""


class Child:
    """One process, over its restarts."""

    def __init__(self, spec: ProcessSpec, show: Print) -> None:
        self.spec = spec
        self.last_lines: deque[str] = deque(maxlen=15)
        self.deaths = 0
        self._show = show
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None else None

    async def start(self) -> None:
        """Start it, in a process group of its own so that Ctrl-C reaches only us."""
        self._process = await asyncio.create_subprocess_exec(
            *self.spec.command,
            env={**os.environ, **self.spec.env},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
        self._reader = asyncio.create_task(self._read(self._process))

    async def wait(self) -> int:
        """Its exit code."""
        if self._process is None or self._reader is None:
            raise RuntimeError(f"{self.spec.name} was not started")
        code = await self._process.wait()
        await self._reader
        return code

    def signal(self, number: signal.Signals) -> None:
        """Signal its whole group, if it still runs."""
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        if process.stdout is None:
            return
        async for line in process.stdout:
            text = line.decode(errors="replace").rstrip()
            self.last_lines.append(text)
            self._show(self.spec.name, text)


class Supervisor:
    """The processes of `laneway up`."""

    def __init__(self, specs: Sequence[ProcessSpec], show: Print, state: Path, urls: Mapping[str, str]) -> None:
        self.children = [Child(spec, show) for spec in specs]
        self._show = show
        self._state = state
        self._urls = urls
        self._stopping = False

    async def run(self, started: Callable[[], None], stopped: asyncio.Event) -> None:
        """Start everything, call `started` when all is ready, keep it running until `stopped`.

        Raises:
            ConfigurationError: a port is taken, or a process did not come up.
        """
        for child in self.children:
            _require_free(child.spec)
        watchers: list[asyncio.Task[None]] = []
        try:
            for _, group in groupby(self.children, key=lambda child: child.spec.group == 0):
                members = list(group)
                for child in members:
                    await child.start()
                    watchers.append(asyncio.create_task(self._watch(child)))
                await asyncio.gather(*(self._ready(child) for child in members))
            self._write_state()
            started()
            await stopped.wait()
        finally:
            self._stopping = True
            await self._stop()
            await asyncio.gather(*watchers, return_exceptions=True)
            self._state.unlink(missing_ok=True)

    async def _watch(self, child: Child) -> None:
        """Start a process again when it dies."""
        while True:
            code = await child.wait()
            if self._stopping:
                return
            child.deaths += 1
            pause = RESTART_PAUSES[min(child.deaths, len(RESTART_PAUSES)) - 1]
            self._show(child.spec.name, f"ended with {code}; starting again in {pause:g} s")
            await asyncio.sleep(pause)
            if self._stopping:
                return
            await child.start()
            self._write_state()

    async def _ready(self, child: Child) -> None:
        deadline = time.monotonic() + READY_WITHIN
        while child.spec.port is not None and not await _answers(child.spec.port):
            if child.deaths or time.monotonic() > deadline:
                lines = "\n  ".join(child.last_lines) or "(it said nothing)"
                raise ConfigurationError(f"{child.spec.name} did not come up. Its last lines:\n  {lines}")
            await asyncio.sleep(0.05)

    async def _stop(self) -> None:
        """Edge first, broker last; each group is given its time."""
        groups = groupby(reversed(self.children), key=lambda child: child.spec.group)
        for _, group in groups:
            members = [child for child in group if child.pid is not None]
            for child in members:
                child.signal(signal.SIGTERM)
            try:
                async with asyncio.timeout(STOP_WITHIN):
                    await asyncio.gather(*(child.wait() for child in members))
            except TimeoutError:
                for child in members:
                    child.signal(signal.SIGKILL)
                await asyncio.gather(*(child.wait() for child in members))

    def _write_state(self) -> None:
        processes = {
            child.spec.name: {
                "pid": child.pid,
                "port": child.spec.port,
                "role": child.spec.role,
                "service": child.spec.service,
            }
            for child in self.children
        }
        fresh = self._state.with_suffix(".new")
        fresh.write_text(json.dumps({"processes": processes, "urls": dict(self._urls)}, indent=2))
        fresh.replace(self._state)


def require_free(port: int, what: str, option: str) -> None:
    """Refuse a port that is taken, before anything is started.

    Raises:
        ConfigurationError: it is.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            raise ConfigurationError(
                f"Port {port}, wanted by {what}, is taken; stop what uses it, or choose another with {option}."
            ) from None


def _require_free(spec: ProcessSpec) -> None:
    if spec.port is not None:
        require_free(spec.port, spec.name, "--port" if spec.role == "rest" else "--base-port")


async def _answers(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return True
