"""The brokers that WorkerPools name, each reached once however many pools it serves.

A URL is a secret's value: it is read again after a while and when the broker does not answer, so that a changed
password is noticed. URLs are never logged.
"""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit

from laneway.errors import ConfigurationError, LanewayError
from laneway.scaling.signals import Signals
from laneway_operator.kube import Kube
from laneway_operator.resource import Key, Plan, SecretKey

log = logging.getLogger(__name__)

FRESH = 60.0
"""Seconds for which a secret's value is taken for current."""
RETRY = 3.0
"""The same for one that could not be read, or whose broker does not answer."""


@dataclass(frozen=True, slots=True)
class Address:
    """A broker's URL, and the certificate of its authority where that is not the system's."""

    url: str
    authority: str | None

    def __repr__(self) -> str:
        return "Address(…)"


Connect = Callable[[Address], Signals]


@dataclass(slots=True)
class _Secret:
    values: Mapping[str, bytes] | LanewayError
    until: float


class Brokers:
    """Connections by address, and secrets by name."""

    def __init__(self, kube: Kube, connect: Connect, clock: Callable[[], float] = time.monotonic) -> None:
        self._kube = kube
        self._connect = connect
        self._clock = clock
        self._secrets: dict[Key, _Secret] = {}
        self._signals: dict[Address, Signals] = {}

    async def address(self, namespace: str, plan: Plan) -> Address:
        """Where a pool's queues are. A host without a dot is a service of the pool's namespace, as it is for its pods.

        Raises:
            LanewayError: the secret cannot be read.
            ConfigurationError: it does not say where.
        """
        url = await self._value(namespace, plan.broker)
        if not url.startswith(("redis://", "rediss://")):
            raise ConfigurationError(
                f"The key {plan.broker.key} of the secret {plan.broker.name} is no URL of Redis or Valkey; "
                "it begins with redis:// or rediss://."
            )
        authority = await self._value(namespace, plan.authority) if plan.authority else None
        return Address(_qualified(url, namespace), authority)

    def signals(self, address: Address) -> Signals:
        """The connection to a broker.

        Raises:
            ConfigurationError: the URL cannot be used.
        """
        if address not in self._signals:
            try:
                self._signals[address] = self._connect(address)
            except ValueError as error:
                raise ConfigurationError(f"The broker's URL cannot be used: {type(error).__name__}.") from None
        return self._signals[address]

    def doubt(self, namespace: str, plan: Plan) -> None:
        """The broker does not answer: its secret may have changed."""
        for name in {plan.broker.name, plan.authority.name if plan.authority else plan.broker.name}:
            known = self._secrets.get((namespace, name))
            if known is not None:
                known.until = min(known.until, self._clock() + RETRY)

    async def keep(self, used: set[Address]) -> None:
        """Close the connections that no pool uses any more."""
        for address in self._signals.keys() - used:
            await self._signals.pop(address).close()

    async def close(self) -> None:
        """Close all connections."""
        await self.keep(set())

    async def _value(self, namespace: str, at: SecretKey) -> str:
        known = self._secrets.get((namespace, at.name))
        if known is None or known.until <= self._clock():
            known = self._secrets[namespace, at.name] = await self._read(namespace, at.name, known)
        if isinstance(known.values, LanewayError):
            raise known.values
        if at.key not in known.values:
            raise ConfigurationError(
                f"The secret {at.name} has no key {at.key}; its keys are {', '.join(known.values)}."
            )
        return known.values[at.key].decode().strip()

    async def _read(self, namespace: str, name: str, before: _Secret | None) -> _Secret:
        try:
            return _Secret(await self._kube.secret(namespace, name), self._clock() + FRESH)
        except LanewayError as error:
            log.warning("secret not read", extra={"secret": f"{namespace}/{name}", "cause": error.message})
            if before is not None and error.transient:
                return _Secret(before.values, self._clock() + RETRY)  # an API server that is away changes nothing
            return _Secret(error, self._clock() + RETRY)


def _qualified(url: str, namespace: str) -> str:
    parts = urlsplit(url)
    host = parts.hostname or ""
    if not host or host == "localhost" or "." in host or ":" in host:
        return url
    user, at, _ = parts.netloc.rpartition("@")
    port = f":{parts.port}" if parts.port else ""
    return urlunsplit(parts._replace(netloc=f"{user}{at}{host}.{namespace}.svc{port}"))
