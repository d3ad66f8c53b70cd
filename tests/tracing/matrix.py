"""What each edge's trace shows for each outcome: a table that is a test, and the one of docs/tracing.md.

`python -m tests.tracing.matrix` writes it into the page.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path as File
from typing import Any

import httpx
from google.protobuf.empty_pb2 import Empty
from sqlalchemy import delete

from laneway.call import Call
from laneway.client import Lanes
from laneway.compare import services as compared
from laneway.compare.callee.v1.callee_laneway import CalleeClient
from laneway.compare.callee.v1.callee_pb2 import WorkReply, WorkRequest
from laneway.compare.caller.v1.caller_laneway import CallerClient, CallerService
from laneway.compare.caller.v1.caller_pb2 import AskReply, AskRequest, Lane
from laneway.compare.caller.v1.events_pb2 import Asked
from laneway.contract.model import Contract
from laneway.errors import LanewayError, NotFound, Unavailable
from laneway.lanes.rest.app import rest_app
from laneway.service import Service
from laneway.store import dead_letters, schema
from laneway.store.dead_letters import Selection
from laneway.telemetry.metrics import Metrics
from laneway.telemetry.tracing import Tracing
from laneway.testing import World, serve
from shop.inventory.v1.inventory_laneway import InventoryClient
from shop.inventory.v1.inventory_pb2 import AdjustStockRequest
from shop.orders.v1.orders_laneway import OrdersClient
from shop.orders.v1.orders_pb2 import PlaceOrderRequest, WantedLine
from shop_catalog.service import service as catalog
from shop_fulfilment.domain import PAYMENT_PATIENCE
from shop_fulfilment.service import service as fulfilment
from shop_inventory.service import service as inventory
from shop_orders.service import service as orders
from tests.tracing.language import Path, calls, edge, enters, process, project, publish, serves, sql

PAGE = File(__file__).parents[2] / "docs" / "tracing.md"
BEGIN, END = "<!-- `python -m tests.tracing.matrix` writes from here -->\n", "<!-- to here -->\n"

Handler = Callable[[Any, Call], Awaitable[None]]


async def well(_: Any, __: Call) -> None:
    """What a handler does besides: nothing."""


def failing(*errors: Exception | None) -> Handler:
    """Fails with one error after the other, and then no more; None is a run that goes well."""
    left = list(errors)

    async def handle(_: Any, __: Call) -> None:
        error = left.pop(0) if left else None
        if error is not None:
            raise error

    return handle


AWAY = Unavailable("It is away.")


@dataclass
class Scene:
    """A caller and a callee whose handlers each case sets."""

    world: World
    work: Handler = well
    ask: Handler = well

    @property
    def caller(self) -> CallerClient:
        return CallerClient(self.world.lanes)

    @property
    def callee(self) -> CalleeClient:
        return CalleeClient(self.world.lanes)

    async def asks(self, lane: Lane, **options: Any) -> None:
        """One call of the caller, and what follows from it; how it ends is its trace's business."""
        with suppress(LanewayError):
            await self.caller.ask(AskRequest(lane=lane, run="matrix"), **options)
        await self.world.settle()

    async def over_rest(self, **headers: str) -> None:
        """One request to an edge before the callee."""
        tracing = Tracing("edge", "edge", self.world.spans)
        methods = [method for method in Contract.of([CalleeClient.DESCRIPTOR]) if method.http]
        app = rest_app(self.world.lanes, methods, [], tracing=tracing, metrics=Metrics())
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://edge") as client:
            await client.post("/v1/work", json={"run": "matrix"}, headers=headers)
        await self.world.settle()

    async def later(self, seconds: float) -> None:
        """Some time passes."""
        self.world.clock.advance(seconds)
        await self.world.settle()


@asynccontextmanager
async def scene() -> AsyncIterator[Scene]:
    """A caller and a callee in memory."""
    found: list[Scene] = []

    class Caller(CallerService):
        def __init__(self, callee: CalleeClient) -> None:
            self._callee = callee

        async def ask(self, request: AskRequest, call: Call) -> AskReply:
            await found[0].ask(request, call)
            if request.lane == Lane.GRPC:
                await self._callee.work(WorkRequest(run=request.run))
            elif request.lane == Lane.QUEUE:
                await self._callee.work.start(WorkRequest(run=request.run))
            elif request.lane == Lane.EVENT:
                call.emit(Asked(run=request.run))
            return AskReply()

    class Callee(compared.Callee):
        async def work(self, request: WorkRequest, call: Call) -> WorkReply:
            await found[0].work(request, call)
            return WorkReply()

        async def on_asked(self, event: Asked, call: Call) -> Empty:
            await found[0].work(event, call)
            return Empty()

    def caller(lanes: Lanes) -> Service:
        return Service("caller", Caller(CalleeClient(lanes)))

    async with serve(caller, lambda _: Service("callee", Callee())) as world:
        found.append(Scene(world))
        await world.settle()
        world.spans.clear()
        yield found[0]


# The cases


@dataclass(frozen=True, slots=True)
class Case:
    """One edge and one outcome: what is done, and what the trace shows of it. `linked` are spans with links."""

    edge: str
    outcome: str
    drive: Callable[[], Any]
    shows: tuple[Path, ...]
    linked: tuple[Path, ...] = ()
    traces: int = 1

    @property
    def name(self) -> str:
        return f"{self.edge}, {self.outcome}"


def on_scene(drive: Callable[[Scene], Awaitable[None]]) -> Callable[[], Any]:
    """A case that is driven with a caller and a callee; gives the spans."""

    async def driven() -> Any:
        async with scene() as it:
            await drive(it)
            return it.world.spans.get_finished_spans()

    return driven


def on_shop(drive: Callable[[World], Awaitable[None]]) -> Callable[[], Any]:
    """A case that is driven with the shop's services; gives the spans."""

    async def driven() -> Any:
        async with serve(orders, catalog, inventory, fulfilment) as world:
            await world.settle()
            world.spans.clear()
            await drive(world)
            return world.spans.get_finished_spans()

    return driven


async def rest_ok(it: Scene) -> None:
    await it.over_rest()


async def rest_error(it: Scene) -> None:
    it.work = failing(NotFound("There is none.", reason="NONE"))
    await it.over_rest()


async def rest_down(it: Scene) -> None:
    it.world.stop("callee")
    await it.over_rest()


async def rest_deferred(it: Scene) -> None:
    await it.over_rest(Prefer="respond-async")


async def grpc_ok(it: Scene) -> None:
    await it.asks(Lane.GRPC)


async def grpc_error(it: Scene) -> None:
    it.work = failing(NotFound("There is none.", reason="NONE"))
    await it.asks(Lane.GRPC)


async def grpc_retried(it: Scene) -> None:
    it.work = failing(AWAY)
    await it.asks(Lane.GRPC)


async def grpc_deadline(it: Scene) -> None:
    async def slow(_: Any, call: Call) -> None:
        it.world.clock.advance(2)
        call.check_deadline()

    it.work = slow
    await it.asks(Lane.GRPC)


async def grpc_cancelled(it: Scene) -> None:
    entered = asyncio.Event()

    async def hang(_: Any, __: Call) -> None:
        entered.set()
        await asyncio.Event().wait()

    it.work = hang
    asking = asyncio.create_task(it.caller.ask(AskRequest(lane=Lane.GRPC)))  # type: ignore[arg-type]
    await entered.wait()
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)


async def breaker_open(it: Scene) -> None:
    it.world.stop("callee")
    for _ in range(40):
        await it.asks(Lane.GRPC)
    it.world.spans.clear()
    await it.asks(Lane.GRPC)


async def queue_ok(it: Scene) -> None:
    await it.asks(Lane.QUEUE)


async def queue_accepted(it: Scene) -> None:
    await it.callee.work.start(WorkRequest(run="matrix"))
    await it.world.settle()


async def queue_refused(it: Scene) -> None:
    async def refuse(_: Any, call: Call) -> None:
        call.emit(Asked(run="never"))
        raise NotFound("There is none.", reason="NONE")

    it.ask = refuse
    await it.asks(Lane.QUEUE)


async def queue_retried(it: Scene) -> None:
    it.work = failing(AWAY)
    await it.asks(Lane.QUEUE)
    await it.later(60)


async def queue_parked(it: Scene) -> None:
    it.work = failing(*[AWAY] * 8)
    await it.asks(Lane.QUEUE)
    for _ in range(8):
        await it.later(3600)


async def queue_conflict(it: Scene) -> None:
    runs = iter((1, 0))

    async def expect(_: Any, call: Call) -> None:
        absent = delete(schema.leases).where(schema.leases.c.name == "none")
        call.execute(absent, expect=next(runs))  # the first run takes a row for there that is not

    it.work = expect
    await it.asks(Lane.QUEUE)


async def queue_redriven(it: Scene) -> None:
    await queue_parked(it)
    store = it.world.store("caller")
    [letter] = await dead_letters.find(store, Selection(), 10)
    await store.commit([dead_letters.redrive({letter.id: it.world.clock()})])
    await it.later(60)


async def event_ok(it: Scene) -> None:
    await it.asks(Lane.EVENT)


async def event_retried(it: Scene) -> None:
    it.work = failing(AWAY)
    await it.asks(Lane.EVENT)
    await it.later(60)


async def event_late(it: Scene) -> None:
    it.world.stop("callee")
    await it.asks(Lane.EVENT)
    it.world.resume("callee")
    await it.later(60)


async def place(world: World, number: int = 1) -> None:
    client = OrdersClient(world.lanes)
    for _ in range(number):
        line = WantedLine(product="products/lamp", quantity=1)
        await client.place_order(PlaceOrderRequest(lines=[line], email="a@b.example", card_token="visa"))
    await world.settle()


async def timer(world: World) -> None:
    await place(world)  # there are no payments
    world.clock.advance(PAYMENT_PATIENCE)
    await world.settle()


async def two_orders(world: World) -> None:
    await place(world, 2)


async def changes(*products: str) -> AsyncIterator[AdjustStockRequest]:
    for product in products:
        yield AdjustStockRequest(product=product, change=1)


async def stream_ok(world: World) -> None:
    async for _ in InventoryClient(world.lanes).sync_stock(changes("products/lamp")):
        """Each level."""


async def stream_error(world: World) -> None:
    with suppress(LanewayError):
        async for _ in InventoryClient(world.lanes).sync_stock(changes("products/lamp", "products/yacht")):
            """Each level, until there is no such product."""


async def stream_left(world: World) -> None:
    replies = InventoryClient(world.lanes).sync_stock(changes("products/lamp", "products/book"))
    async with aclosing(replies) as levels:  # type: ignore[type-var]
        async for _ in levels:
            break


WORK, ASK, SYNC, ADJUST = "*/Work", "*/Ask", "*/SyncStock", "*/AdjustStock"
QUEUE, EVENTS, SAGA = "callee.default", "callee.asked", "fulfilment.saga"
IN_TEST = "service"
"""Whose spans those of a service's own calls are under `laneway.testing`."""


def asked(error: str | None = None) -> Path:
    """A call of the caller."""
    return edge("test", "caller", ASK, error)


def of_rest(error: str | None = None) -> Path:
    """A request to the edge, and its call."""
    return enters("edge") >> edge("test", "callee", WORK, error)


def answered(error: str | None = None) -> Path:
    """A call of the callee by the caller."""
    return edge(IN_TEST, "callee", WORK, error)


OVER_QUEUE = asked() >> publish(QUEUE) >> process(QUEUE)
OVER_EVENT = asked() >> publish(EVENTS) >> process(EVENTS)
PLACED = serves("orders", "*/PlaceOrder")
BY_SAGA = PLACED >> publish(SAGA) >> process(SAGA)
STREAM = edge("test", "inventory", SYNC)
BESTSELLERS = project("bestsellers")

CASES = (
    Case("REST → gRPC", "answered", on_scene(rest_ok), (of_rest(),)),
    Case("REST → gRPC", "the callee refuses", on_scene(rest_error), (of_rest("NotFound"),)),
    Case(
        "REST → gRPC", "the callee is down: each attempt has its span", on_scene(rest_down),
        (enters("edge").failing("UNAVAILABLE") >> calls("test", WORK, "Unavailable"),),
    ),
    Case(
        "REST → queue", "`Prefer: respond-async`", on_scene(rest_deferred),
        (enters("edge") >> edge("test", "callee", "*/Start") >> publish(QUEUE) >> process(QUEUE),),
    ),
    Case("gRPC → gRPC", "answered", on_scene(grpc_ok), (asked() >> answered(),)),
    Case("gRPC → gRPC", "the callee refuses", on_scene(grpc_error), (asked("NotFound") >> answered("NotFound"),)),
    Case(
        "gRPC → gRPC", "tried again: an attempt is a span", on_scene(grpc_retried),
        (asked() >> answered("Unavailable"), asked() >> answered()),
    ),
    Case(
        "gRPC → gRPC", "the deadline passes", on_scene(grpc_deadline),
        (asked("DeadlineExceeded") >> answered("DeadlineExceeded"),),
    ),
    Case(
        "gRPC → gRPC", "the caller goes away: everything below is cancelled", on_scene(grpc_cancelled),
        (asked("CancelledError") >> answered("CancelledError"),),
    ),
    Case(
        "gRPC → gRPC", "the breaker is open: no attempt, and a span all the same", on_scene(breaker_open),
        (asked("Unavailable") >> calls(IN_TEST, WORK, "Unavailable"),),
    ),
    Case("stream", "to its end", on_shop(stream_ok), (STREAM >> edge(IN_TEST, "inventory", ADJUST),)),
    Case(
        "stream", "fails in the middle", on_shop(stream_error),
        (edge("test", "inventory", SYNC, "NotFound") >> edge(IN_TEST, "inventory", ADJUST, "NotFound"),),
    ),
    Case("stream", "left by its reader", on_shop(stream_left), (STREAM >> edge(IN_TEST, "inventory", ADJUST),)),
    Case("gRPC → queue", "done", on_scene(queue_ok), (OVER_QUEUE,)),
    Case(
        "gRPC → queue", "started with the owner, by who has no database", on_scene(queue_accepted),
        (edge("test", "callee", "*/Start") >> publish(QUEUE) >> process(QUEUE),),
    ),
    Case("gRPC → queue", "the handler fails: nothing is published", on_scene(queue_refused), (asked("NotFound"),)),
    Case(
        "gRPC → queue", "tried again: the redelivery stays in the trace, and is linked", on_scene(queue_retried),
        (OVER_QUEUE.failing("Unavailable"), OVER_QUEUE), linked=(process(QUEUE),),
    ),
    Case(
        "gRPC → queue", "out of attempts: a dead letter", on_scene(queue_parked),
        (OVER_QUEUE.failing("Unavailable"),), linked=(process(QUEUE, "Unavailable"),),
    ),
    Case(
        "gRPC → queue", "redriven: in the trace of its start", on_scene(queue_redriven),
        (OVER_QUEUE.failing("Unavailable"), OVER_QUEUE), linked=(process(QUEUE, "Unavailable"),),
    ),
    Case("gRPC → event", "done", on_scene(event_ok), (OVER_EVENT,)),
    Case("gRPC → event", "the listener is away, and comes back", on_scene(event_late), (OVER_EVENT,)),
    Case(
        "gRPC → event", "tried again: the redelivery stays in the trace, and is linked", on_scene(event_retried),
        (OVER_EVENT.failing("Unavailable"), OVER_EVENT), linked=(process(EVENTS),),
    ),
    Case(
        "saga", "a timer that ends its wait", on_shop(timer),
        (BY_SAGA >> publish("fulfilment.timers") >> process("fulfilment.timers") >> publish("inventory.releases"),),
    ),
    Case(
        "database", "each read of a handler, and its commit", on_shop(place),
        (serves("catalog", "*/GetProduct") >> sql("catalog", "SELECT products"), PLACED >> sql("orders", "COMMIT")),
    ),
    Case(
        "database", "somebody was quicker: the handler runs again", on_scene(queue_conflict),
        (OVER_QUEUE >> sql("callee", "COMMIT", "VersionConflict"), OVER_QUEUE >> sql("callee", "COMMIT")),
    ),
    Case("projection", "of events of one trace: in it", on_shop(place), (PLACED >> BESTSELLERS,)),
    Case(
        "projection", "of events of several: a trace of its own, linked to theirs", on_shop(two_orders),
        (BESTSELLERS, BY_SAGA), linked=(BESTSELLERS,), traces=3,
    ),
)  # fmt: skip


def table() -> str:
    """The matrix as the page has it."""
    rows = [f"| {case.edge} | {case.outcome} | {'<br>'.join(f'`{path}`' for path in case.shows)} |\n" for case in CASES]
    return "".join(("| edge | outcome | the trace shows |\n", "|---|---|---|\n", *rows))


def written(page: str) -> str:
    """The page with the matrix of today."""
    before, _, rest = page.partition(BEGIN)
    return f"{before}{BEGIN}{table()}{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text()))
