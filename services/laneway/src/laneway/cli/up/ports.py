"""Ports of this machine: which are free, and one clear sentence when one is not."""

import errno
import itertools
import random
import socket
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from laneway.errors import ConfigurationError

FREE_RANGE = range(20_000, 32_000)
"""Where free ports are looked for: below the range from which systems give ports to outgoing connections."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A port that something is about to listen on; `remedy` says how to choose another."""

    host: str
    port: int
    by: str
    remedy: str


def from_base(base: int) -> Iterator[int]:
    """The ports from `base` upwards; free ones if it is 0."""
    return itertools.count(base) if base else _free()


def check_free(wanted: Iterable[Wanted]) -> None:
    """Refuse to start what could not listen.

    Raises:
        ConfigurationError: a port is taken, or is none; or the host is not one of this machine.
    """
    for want in wanted:
        if not 0 < want.port < 65_536:
            raise ConfigurationError(f"There is no port {want.port} for {want.by}; {want.remedy}.")
        try:
            listener(want.host, want.port).close()
        except OSError as error:
            raise _unusable(want, error) from None


def _unusable(want: Wanted, error: OSError) -> ConfigurationError:
    if error.errno == errno.EADDRINUSE:
        return ConfigurationError(
            f"Port {want.port}, wanted by {want.by}, is taken; stop what uses it, or {want.remedy}."
        )
    if error.errno == errno.EACCES:
        return ConfigurationError(f"Port {want.port}, wanted by {want.by}, is not for this user; {want.remedy}.")
    return ConfigurationError(
        f"{want.host}, where {want.by} is to listen, is no IPv4 address of this machine ({error.strerror}); "
        "correct LANEWAY_HOST, or unset it."
    )


def is_free(host: str, port: int) -> bool:
    """Whether a server could listen there."""
    try:
        listener(host, port).close()
    except OSError:
        return False
    return True


def listener(host: str, port: int) -> socket.socket:
    """A bound socket for a server of this process.

    Raises:
        OSError: the port is taken, or the host is not one of this machine.
    """
    bound = socket.socket()
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port))
        bound.setblocking(False)
    except OSError:
        bound.close()
        raise
    return bound


def _free() -> Iterator[int]:
    given: set[int] = set()
    while True:
        port = random.choice(FREE_RANGE)  # noqa: S311
        if port not in given and is_free("127.0.0.1", port):
            given.add(port)
            yield port
