"""How a service keeps its gRPC connections, as a server and as a client of others. Must not load gRPC."""

from dataclasses import dataclass
from enum import Enum
from typing import Any

from laneway.errors import ConfigurationError


class Compression(Enum):
    """How messages are compressed. It costs processor time, and pays where networks are slow or messages large."""

    NONE = "none"
    DEFLATE = "deflate"
    GZIP = "gzip"


@dataclass(frozen=True, slots=True, kw_only=True)
class GrpcOptions:
    """Limits and habits of connections.

    Raises:
        ConfigurationError: a number is not above zero.
    """

    message_bytes: int = 4 * 1024 * 1024
    """Of a message that is sent or taken; a larger one ends its call as INVALID_ARGUMENT, `MESSAGE_TOO_LARGE`."""
    compression: Compression = Compression.NONE
    """Of what is sent; all that gRPC knows is read."""
    keepalive_seconds: float = 30.0
    """Between pings on a connection that carries calls but no data: finds a far end that is gone without a word."""
    keepalive_timeout_seconds: float = 5.0
    """For the answer to a ping; without it the connection, and what it carries, ends."""
    connection_age_seconds: float = 10.0
    """After which a server lets go of a connection, with a tenth more or less: clients that balance over DNS find other
    replicas only when a connection ends. No call fails of it. A server that drains for longer than this has no
    connection left when it stops, and so no call that meets its end."""
    connection_grace_seconds: float = 3600.0
    """For the streams that an aged connection still carries; longer ones end UNAVAILABLE."""

    def __post_init__(self) -> None:
        for name in (
            "message_bytes",
            "keepalive_seconds",
            "keepalive_timeout_seconds",
            "connection_age_seconds",
            "connection_grace_seconds",
        ):
            if not getattr(self, name) > 0:
                raise ConfigurationError(f"GrpcOptions.{name} is above zero.")

    def server_arguments(self) -> list[tuple[str, Any]]:
        """The channel arguments of a server."""
        return [
            *self._both(),
            ("grpc.max_connection_age_ms", _milliseconds(self.connection_age_seconds)),
            ("grpc.max_connection_age_grace_ms", _milliseconds(self.connection_grace_seconds)),
            # gRPC's own server ends a connection whose idle stream pings more than once in five minutes.
            ("grpc.http2.min_ping_interval_without_data_ms", _milliseconds(min(5.0, self.keepalive_seconds / 2))),
            ("grpc.so_reuseport", 0),
        ]

    def client_arguments(self, service_config: str) -> list[tuple[str, Any]]:
        """The channel arguments of a client."""
        return [
            *self._both(),
            ("grpc.service_config", service_config),
            # gRPC's own, transparent retries of what no server has begun; a policy of retries it is not given.
            ("grpc.enable_retries", 1),
            # A connection that ends is looked up anew; the default of 30 s would keep to replicas that are gone, and
            # even a second fails the calls that come while two replicas stop one after the other.
            ("grpc.dns_min_time_between_resolutions_ms", 100),
            ("grpc.initial_reconnect_backoff_ms", 100),
            ("grpc.min_reconnect_backoff_ms", 1_000),  # the time a connection is given to stand
            ("grpc.max_reconnect_backoff_ms", 1_000),
        ]

    def _both(self) -> list[tuple[str, Any]]:
        return [
            ("grpc.max_receive_message_length", self.message_bytes),
            ("grpc.max_send_message_length", self.message_bytes),
            ("grpc.keepalive_time_ms", _milliseconds(self.keepalive_seconds)),
            ("grpc.keepalive_timeout_ms", _milliseconds(self.keepalive_timeout_seconds)),
            # What decides since gRPC has two: with the one above alone, a dead far end was not found within 40 s.
            ("grpc.http2.ping_timeout_ms", _milliseconds(self.keepalive_timeout_seconds)),
            # Pings go on for as long as a stream is idle, not twice and then no more.
            ("grpc.http2.max_pings_without_data", 0),
        ]


def _milliseconds(seconds: float) -> int:
    return max(1, round(seconds * 1000))
