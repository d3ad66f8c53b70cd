"""Leaving before SIGTERM: `python -m laneway.scaling.leave`, as the preStop hook of a worker's container.

The worker stops consuming, for good, and finishes what it has taken; then the hook returns, and Kubernetes sends
SIGTERM to a worker that holds nothing. So node drains and rolling updates harm no task, whatever Celery's warm stop
does with its acknowledgements. The two meet on a socket in Linux's abstract namespace, which a pod has for itself: no
file, no broker, no credentials.
"""

import argparse
import os
import socket
import sys
from collections.abc import Mapping
from contextlib import suppress

IDLE = b"idle\n"

WITHIN = 3600.0
"""Seconds; the pod's terminationGracePeriodSeconds is shorter, and ends the hook with the pod."""


def pod_name(environment: Mapping[str, str] = os.environ) -> str:
    """How a worker calls itself: the host's name is in Kubernetes the pod's."""
    return environment.get("LANEWAY_INSTANCE") or environment.get("POD_NAME") or socket.gethostname()


def address(pod: str) -> str:
    """Where a worker waits to be asked to leave."""
    return f"\0laneway/{pod}"


class Door:
    """The worker's end: who knocks asks it to leave, and is told when it holds nothing. Never blocks."""

    def __init__(self, pod: str) -> None:
        """Raises OSError where there are no abstract sockets, or another worker of this pod has the name."""
        if sys.platform != "linux":
            raise OSError("abstract sockets are Linux's")
        self._listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._listening.bind(address(pod))
        except OSError:
            self._listening.close()
            raise
        self._listening.listen(4)
        self._listening.setblocking(False)
        self._waiting: list[socket.socket] = []

    def knocked(self) -> bool:
        """Whether anybody has asked since the last look."""
        before = len(self._waiting)
        with suppress(BlockingIOError):
            while True:
                self._waiting.append(self._listening.accept()[0])
        return len(self._waiting) > before

    def say_idle(self) -> None:
        """Let those who asked go."""
        while self._waiting:
            with self._waiting.pop() as waiting, suppress(OSError):
                waiting.sendall(IDLE)

    def close(self) -> None:
        """Let them go, and nobody in any more."""
        self._listening.close()
        while self._waiting:
            self._waiting.pop().close()


def leave(pod: str, *, within: float = WITHIN) -> str:
    """Ask a worker to leave and wait until it holds nothing; what went wrong, or nothing."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
        asking.settimeout(within)
        try:
            asking.connect(address(pod))
            answer = asking.recv(len(IDLE))
        except TimeoutError:
            return f"{pod} still works after {within:g} s; SIGTERM begins its warm stop."
        except OSError as error:
            return f"{pod} has no worker that reports (laneway.CapacityReport): {error}."
    return "" if answer == IDLE else f"{pod} ended before it was idle."


def main() -> None:
    """The hook."""
    parser = argparse.ArgumentParser(prog="laneway.scaling.leave", description="Let this pod's worker finish.")
    parser.add_argument("--within", type=float, default=WITHIN, help="seconds to wait; below the pod's grace")
    wrong = leave(pod_name(), within=parser.parse_args().within)
    if wrong:
        sys.exit(wrong)


if __name__ == "__main__":
    main()
