from collections.abc import Iterable, Mapping, Sequence

import pytest

from laneway.errors import Unavailable
from laneway.scaling.model import Intent, Objective, QueueReading, Reading, Unknown, WorkerReading
from laneway.scaling.processes import Pool, Scaler
from laneway.scaling.signals import Source, Workers
from tests.unit.scaling.conftest import worker


class Broker:
    """Signals that a test writes down, and what it was told."""

    def __init__(self) -> None:
        self.waiting = 0
        self.workers: tuple[WorkerReading, ...] = ()
        self.drained: set[str] = set()
        self.away = False
        self.now = 1000.0

    async def read(self, sources: Sequence[Source]) -> Mapping[str, Reading | Unknown]:
        if self.away:
            return {source.pool: Unknown(at=self.now, reason="Away.") for source in sources}
        queue = QueueReading(name="q", waiting=self.waiting, oldest_seconds=1.0 if self.waiting else None)
        reading = Reading(at=self.now, queues=(queue,), workers=self.workers, drained=frozenset(self.drained))
        return {source.pool: reading for source in sources}

    async def drain(self, source: Source, pods: Iterable[str]) -> None:
        if self.away:
            raise Unavailable("Away.")
        self.drained |= set(pods)

    async def undrain(self, source: Source, pods: Iterable[str]) -> None:
        self.drained -= set(pods)

    async def pause(self, source: Source) -> None: ...

    async def resume(self, source: Source) -> None: ...

    async def close(self) -> None: ...


class Machine:
    """Processes that only a list knows."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self.names = {"w": 0.0}
        self.stopped: list[str] = []

    def started(self) -> Mapping[str, float]:
        return self.names

    def start(self) -> None:
        self.names[f"w-{len(self.names) + 1}"] = self._broker.now

    async def stop(self, name: str) -> None:
        self.stopped.append(name)
        del self.names[name]


@pytest.fixture
def broker() -> Broker:
    return Broker()


@pytest.fixture
def machine(broker: Broker) -> Machine:
    return Machine(broker)


@pytest.fixture
def scaler(broker: Broker, machine: Machine) -> Scaler:
    intent = Intent(
        queues=("q",),
        objective=Objective(seconds=5),
        minimum=1,
        maximum=4,
        memory_seconds=30,
        slots=4,
        startup_seconds=1,
    )
    source = Source(pool="p", queues=("q",), workers=Workers.LANEWAY)
    return Scaler(broker, [Pool(intent, source, machine)], clock=lambda: broker.now)


async def rounds(scaler: Scaler, broker: Broker, number: int) -> None:
    for _ in range(number):
        broker.now += 1
        await scaler.step()


async def test_a_burst_starts_processes_up_to_the_most(scaler: Scaler, broker: Broker, machine: Machine) -> None:
    broker.workers = (worker("w"),)
    await rounds(scaler, broker, 1)
    broker.waiting = 1000
    await rounds(scaler, broker, 2)
    assert list(machine.names) == ["w", "w-2", "w-3", "w-4"]


async def grown(scaler: Scaler, broker: Broker, machine: Machine) -> None:
    broker.workers, broker.waiting = (worker("w"),), 1000
    await rounds(scaler, broker, 2)
    broker.workers, broker.waiting = tuple(worker(name) for name in machine.names), 0
    await rounds(scaler, broker, 2)


async def test_a_process_goes_only_after_it_drained_and_was_seen_idle_twice(
    scaler: Scaler, broker: Broker, machine: Machine
) -> None:
    await grown(scaler, broker, machine)
    await rounds(scaler, broker, 70)
    assert broker.drained == {"w-2", "w-3", "w-4"}
    assert machine.stopped == [], "they were told to drain and have not said that they do"

    broker.workers = (worker("w"), worker("w-2", draining=True), worker("w-3", 1, draining=True), worker("w-4"))
    await rounds(scaler, broker, 1)
    assert machine.stopped == []
    await rounds(scaler, broker, 1)
    assert machine.stopped == ["w-2"]
    assert "w-2" not in broker.drained, "its name may be used again"


async def test_the_first_process_is_never_stopped(scaler: Scaler, broker: Broker, machine: Machine) -> None:
    await grown(scaler, broker, machine)
    for _ in range(100):
        broker.workers = tuple(worker(name, draining=name in broker.drained) for name in machine.names)
        await rounds(scaler, broker, 1)
    assert list(machine.names) == ["w"]


async def test_while_the_broker_is_away_nothing_is_stopped(scaler: Scaler, broker: Broker, machine: Machine) -> None:
    await grown(scaler, broker, machine)
    broker.away = True
    await rounds(scaler, broker, 300)
    assert len(machine.names) == 4
