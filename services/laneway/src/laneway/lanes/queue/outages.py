"""What is away is said once, not each time that it is missed: an outage must not flood the log."""

import logging
import threading

from laneway.errors import LanewayError


class Outages:
    """The outages that one part of a process knows of; its threads may share it."""

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._known: set[str] = set()
        self._lock = threading.Lock()

    def missed(self, sentence: str, error: LanewayError) -> None:
        """Something did not answer. The first to miss it says so; the others are left to the debug log."""
        self.begin(error.reason or error.code.name, sentence, cause=error.message)

    def begin(self, what: str, sentence: str, **facts: object) -> None:
        """Something is away, for this part of the process."""
        with self._lock:
            known = what in self._known
            self._known.add(what)
        self._log.log(logging.DEBUG if known else logging.WARNING, sentence, extra=facts)

    def end(self) -> None:
        """Everything answers: the next outage is another one."""
        with self._lock:
            self._known.clear()
