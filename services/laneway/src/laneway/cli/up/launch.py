"""Starting processes: a program by exec, `laneway` by a fork of a process that has everything imported.

A dozen Python processes that each import the same modules take fifteen seconds on two cores; the standard library's
fork server imports them once. Each process leads a session of its own, so that Ctrl-C reaches only the supervisor, and
ends itself when the supervisor is no more.
"""

import asyncio
import ctypes
import multiprocessing
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from multiprocessing.connection import wait
from multiprocessing.context import ForkServerContext, ForkServerProcess
from multiprocessing.reduction import DupFd
from typing import Any, Protocol

from laneway.cli.up.plan import NOT_FOR_CHILDREN, Process

PRELOAD = "laneway.cli.up.preload"


class Running(Protocol):
    """A process that was started."""

    pid: int
    """Its id, and that of its session and group."""

    async def ended(self) -> int:
        """Wait for its end; the exit code, negative for a signal."""
        ...


class Launcher(Protocol):
    """Starts processes."""

    async def launch(self, process: Process, output: int) -> Running:
        """Start a process whose output goes to a file descriptor, which stays the caller's."""
        ...


class Launch:
    """The real thing."""

    def __init__(self) -> None:
        self._forking: ForkServerContext = multiprocessing.get_context("forkserver")
        self._one_at_a_time = asyncio.Lock()

    def prepare(self) -> None:
        """Let the fork server begin its imports while the caller does something else."""
        self._forking.set_forkserver_preload([PRELOAD])
        from multiprocessing import forkserver, resource_tracker

        resource_tracker.ensure_running()  # first: starting it lets SIGINT and SIGTERM through again
        with _stops_held_back():
            forkserver.ensure_running()

    def close(self) -> None:
        """End the fork server, whose processes must have ended, and return when it has ended.

        The standard library lets it end some time after this process; `up` leaves nothing running.
        """
        from multiprocessing import forkserver

        server: Any = forkserver._forkserver
        if server._forkserver_pid is not None:
            signal_process(server._forkserver_pid, signal.SIGKILL)
            server._stop()

    async def launch(self, process: Process, output: int) -> Running:
        """Start a process in a session of its own."""
        environment = {name: value for name, value in os.environ.items() if name not in NOT_FOR_CHILDREN}
        environment |= process.environment
        if process.program is not None:
            return await _executed(str(process.program), *process.command, environment=environment, output=output)
        started = self._forking.Process(
            target=_laneway, name=process.name, args=(process.command, environment, _Sent(output))
        )
        async with self._one_at_a_time:
            await asyncio.to_thread(_start, started)
        return _Forked(started)


STOPS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@contextmanager
def _stops_held_back() -> Iterator[None]:
    """What is started meanwhile never sees these signals, from its first instruction on.

    The fork server is in the supervisor's group, and to stop the group is to stop the supervisor: it ends the
    processes one after the other, of which it knows only through the fork server.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _start(process: ForkServerProcess) -> None:
    with _stops_held_back():  # it starts the fork server again if that has died
        process.start()


class _Sent:
    """A file descriptor that travels to the fork server with the process that it is for."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def __reduce__(self) -> tuple[Any, ...]:
        return _received, (DupFd(self._descriptor),)


def _received(sent: Any) -> int:
    return int(sent.detach())


def _laneway(command: tuple[str, ...], environment: Mapping[str, str], output: int) -> None:
    """In the new process: become `laneway <command>`."""
    os.setsid()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)  # the fork server holds them back
    for standard in (1, 2):
        os.dup2(output, standard)
    os.close(output)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    os.environ.clear()
    os.environ.update(environment)
    _call_ourselves(multiprocessing.current_process().name)
    threading.Thread(target=_end_with_supervisor, daemon=True).start()
    warnings.filterwarnings("ignore", message="You're running the worker with superuser")  # a laptop's, a container's
    from laneway.cli import main

    sys.argv = ["laneway", *command]
    main()


def _end_with_supervisor() -> None:
    supervisor = multiprocessing.parent_process()
    if supervisor is not None:
        wait([supervisor.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)


class _Forked:
    def __init__(self, process: ForkServerProcess) -> None:
        self.pid = process.pid or 0
        self._process = process
        self._loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[int] = self._loop.create_future()
        self._loop.add_reader(process.sentinel, self._end)

    async def ended(self) -> int:
        return await asyncio.shield(self._ended)

    def _end(self) -> None:
        self._loop.remove_reader(self._process.sentinel)
        code = self._process.exitcode
        self._ended.set_result(0 if code is None else code)
        self._process.close()


class _Executed:
    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.pid = process.pid
        self._process = process

    async def ended(self) -> int:
        return await self._process.wait()


async def _executed(program: str, *arguments: str, environment: Mapping[str, str], output: int) -> Running:
    process = await asyncio.create_subprocess_exec(
        program, *arguments, env=environment, stdin=asyncio.subprocess.DEVNULL, stdout=output, stderr=output,
        start_new_session=True, preexec_fn=_end_with_parent,
    )  # fmt: skip
    return _Executed(process)


PR_SET_PDEATHSIG, PR_SET_NAME = 1, 15  # prctl(2), Linux only
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


def _end_with_parent() -> None:
    """Between fork and exec: ask the kernel for SIGTERM when the supervisor is no more."""
    if _LIBC is not None:
        _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def _call_ourselves(name: str) -> None:
    """What `ps -o comm` and `top` show: forked processes look alike otherwise."""
    if _LIBC is not None:
        _LIBC.prctl(PR_SET_NAME, name.encode())


def signal_process(pid: int, number: signal.Signals) -> None:
    """Send a signal to a process, which may have ended."""
    with suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def kill_session(pid: int) -> None:
    """Kill what is left of a process and of all that it started."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
