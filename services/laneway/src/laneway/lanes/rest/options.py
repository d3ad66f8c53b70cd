"""What an edge takes from outside, and how much of it."""

from dataclasses import dataclass, fields

from laneway.errors import ConfigurationError


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeOptions:
    """Limits of one edge; each is answered with a 4xx of its own.

    Raises:
        ConfigurationError: a limit is not above zero, or deeper than our JSON parser goes.
    """

    body_bytes: int = 1024 * 1024
    """Of a body as it is sent: 413."""
    decompressed_bytes: int = 4 * 1024 * 1024
    """Of a body that is sent compressed: 413."""
    header_bytes: int = 16 * 1024
    """Of the request line and all headers together: 431."""
    json_depth: int = 64
    """Of arrays and objects in each other, 200 at most: 400."""
    header_seconds: float = 10.0
    """From the first byte of a request to the end of its headers: 408."""
    body_seconds: float = 30.0
    """From there to the end of its body: 408."""
    idle_seconds: float = 75.0
    """For which a connection is kept between requests: longer than balancers and clients keep theirs, or their next
    request meets its end."""
    ignore_unknown: bool = False
    """Pass over parameters and members of the body that the contract does not have; otherwise 400 names them."""
    docs: bool = True
    """Serve `/openapi.json`, and the pages that show it: `/docs` and `/redoc`."""
    trust_traces: bool = False
    """Go on with the trace that a request's `traceparent` names: only behind a proxy of one's own that has set it."""
    baggage: tuple[str, ...] = ()
    """The entries of a request's `baggage` that are let in, and carried to whatever the request leads to."""

    def __post_init__(self) -> None:
        for limit in fields(self):
            if type(limit.default) in (int, float) and not getattr(self, limit.name) > 0:
                raise ConfigurationError(f"EdgeOptions.{limit.name} is above zero.")
        if self.json_depth > 200:
            raise ConfigurationError("EdgeOptions.json_depth is 200 at most.")
