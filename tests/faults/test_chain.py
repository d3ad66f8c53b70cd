"""Five services in a chain, the last of them in total outage: attempts do not multiply on the way.

Every layer may try three times; naively, a request at the edge makes 3⁵ = 243 attempts at the end.
"""

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.message import Message

from laneway.call import Call, Lane, Surroundings
from laneway.contract.model import Contract, Method
from laneway.contract.policy import BreakerMode
from laneway.errors import DeadlineExceeded, LanewayError, Unavailable
from laneway.lanes.dispatch import Arrival, Dispatcher
from laneway.lanes.outgoing import Lanes
from laneway.lanes.transport import Answer
from laneway.resilience.pipeline import Pipelines
from laneway.telemetry import names
from laneway.telemetry.metrics import Metrics
from laneway.telemetry.tracing import Tracing
from tests.faults.conftest import Figure
from tests.fixtures.protos import service_of

HOPS = 5
REQUESTS = 1_000
BODY = """
service Shelf {
  rpc Peek(Request) returns (Reply) { option idempotency_level = NO_SIDE_EFFECTS; }
}
"""


@dataclass
class Chain:
    """The services by their place in it; each calls the next."""

    method: Method
    now: float = 1_000.0
    arrived: list[int] = field(default_factory=lambda: [0] * (HOPS + 1))
    dispatchers: dict[str, Dispatcher] = field(default_factory=dict)
    last: Callable[[], Exception | None] = lambda: None
    seconds: float = 0.0
    """How long a hop takes before it calls the next."""
    late: list[float] = field(default_factory=list)

    def at(self, hop: int) -> Method:
        return replace(self.method, owner=f"hop{hop}")

    def lanes(self, hop: int) -> Lanes:
        async def sleep(seconds: float) -> None:
            self.now += seconds

        return Lanes(
            self,
            pipelines=Pipelines(clock=lambda: self.now, sleep=sleep),
            tracing=Tracing(f"hop{hop}", "1", None),
            metrics=Metrics(),
            monotonic=lambda: self.now,
        )

    def add(self, hop: int) -> None:
        lanes = self.lanes(hop)

        async def peek(request: Message, call: Call) -> Message:
            self.arrived[hop] += 1
            remaining = call.remaining()
            if remaining is not None and remaining <= 0:
                self.late.append(remaining)
            self.now += self.seconds
            if hop < HOPS:
                return (await lanes.call(self.at(hop + 1), request)).message
            if (error := self.last()) is not None:
                raise error
            return self.method.output(text="the end")

        surroundings = Surroundings(
            store=None, tracing=Tracing("x", "1", None), wall_clock=lambda: self.now, monotonic=lambda: self.now
        )
        handlers = {self.method.full_name: peek}
        contract = Contract({self.method.full_name: self.method})
        self.dispatchers[f"hop{hop}"] = Dispatcher(contract, handlers, surroundings=surroundings, metrics=Metrics())

    # The transport between them

    async def unary(
        self, method: Method, request: Message, headers: Mapping[str, str], timeout: float | None
    ) -> Answer:
        arrival = Arrival(lane=Lane.GRPC, headers=headers, timeout=timeout, attempt=int(headers[names.ATTEMPT]))
        return await self.dispatchers[method.owner].unary(self.method, request, arrival)

    def stream(self, *_: object) -> AsyncIterator[Message]:
        raise NotImplementedError

    async def close(self) -> None:
        """Nothing to close."""


@pytest.fixture
def build(tmp_path: Path) -> Callable[..., Chain]:
    def built(mode: BreakerMode = BreakerMode.AUTOMATIC) -> Chain:
        (method,) = Contract.of([service_of(tmp_path, BODY)])
        policy = replace(method.policy, breaker=replace(method.policy.breaker, mode=mode))
        chain = Chain(replace(method, policy=policy))
        for hop in range(1, HOPS + 1):
            chain.add(hop)
        return chain

    return built


async def drive(chain: Chain, requests: int = REQUESTS, **options: Any) -> list[LanewayError | None]:
    """Requests at the edge, a hundred a second."""
    edge, ends = chain.lanes(0), []
    for _ in range(requests):
        chain.now += 0.01
        try:
            await edge.call(chain.at(1), chain.method.input(), **options)
            ends.append(None)
        except LanewayError as error:
            ends.append(error)
    return ends


def outage() -> Exception:
    return Unavailable("down")


async def test_in_total_outage_the_last_hop_sees_at_most_1_1_attempts_per_request(
    build: Callable[..., Chain], figure: Figure
) -> None:
    chain = build()
    chain.last = outage
    ends = await drive(chain)
    assert None not in ends
    attempts = chain.arrived[HOPS] / REQUESTS
    figure("attempts at the last of five hops in total outage, per request", f"{attempts:.3f}", "≤ 1.1 (naive: 243)")
    assert 0 < chain.arrived[HOPS] <= 1.1 * REQUESTS


async def test_without_breakers_one_retrying_layer_and_its_budget_keep_the_load_at_a_share(
    build: Callable[..., Chain], figure: Figure
) -> None:
    chain = build(BreakerMode.FORCED_CLOSED)
    chain.last = outage
    begin = chain.now
    await drive(chain)
    attempts = chain.arrived[HOPS] / REQUESTS
    figure("the same without breakers, by one retrying layer and its budget", f"{attempts:.3f}", "")
    floor_and_capacity = 10 + (chain.now - begin)
    assert REQUESTS < chain.arrived[HOPS] <= 1.1 * REQUESTS + floor_and_capacity
    assert chain.arrived[1] == REQUESTS, "no layer above the last tries again"


async def test_after_the_outage_the_chain_answers_again(build: Callable[..., Chain]) -> None:
    chain = build()
    chain.last = outage
    await drive(chain)
    chain.last = lambda: None
    ends = await drive(chain, 6_000)
    assert all(end is None for end in ends[-3_000:])


async def test_a_blip_is_retried_where_it_happened_and_nobody_above_notices(build: Callable[..., Chain]) -> None:
    chain = build()
    blips = iter([outage(), None])
    chain.last = lambda: next(blips)
    assert await drive(chain, 1) == [None]
    assert chain.arrived == [0, 1, 1, 1, 1, 2]


async def test_nothing_starts_after_the_edges_deadline_however_slow_the_hops(build: Callable[..., Chain]) -> None:
    chain = build(BreakerMode.FORCED_CLOSED)
    chain.seconds = 0.3
    ends = await drive(chain, 50, timeout=1.0)
    assert all(isinstance(end, DeadlineExceeded) for end in ends)
    assert chain.late == []
    assert chain.arrived[HOPS] == 0, "the fourth hop begins after 0.9 s, and the fifth would after 1.2 s"
