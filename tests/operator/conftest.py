"""An operator on a cluster and a broker in memory, with a clock that a test turns."""

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from laneway_operator.apply import Applier
from laneway_operator.brokers import Brokers
from laneway_operator.metrics import Metrics
from laneway_operator.poller import Poller
from laneway_operator.report import Reporter
from tests.operator.fakes import NAMESPACE, Clock, FakeCluster, FakeSignals


@dataclass
class World:
    """Everything at once; `look` is one round of the poller, a second after the last."""

    clock: Clock
    cluster: FakeCluster
    signals: FakeSignals
    metrics: Metrics
    leading: bool = True
    reachable: bool = True
    poller: Poller = field(init=False)
    reporter: Reporter = field(init=False)

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Another operator, which knows only what is written."""
        brokers = Brokers(self.cluster, lambda _: self.signals, self.clock)
        self.reporter = Reporter(self.cluster, self.cluster, "operator-1", self.clock)
        self.poller = Poller(
            self.cluster,
            brokers,
            Applier(self.cluster, self.cluster),
            self.reporter,
            leading=lambda: self.leading,
            reachable=lambda: self.reachable,
            observe=self.metrics,
            clock=self.clock,
            sleep=self.clock.sleep,
        )

    async def look(self, times: int = 1) -> None:
        for _ in range(times):
            self.clock.advance(1)
            await self.poller.look()
            await self.reporter.flush()

    def lose(self) -> None:
        """The API server does not answer, and that is known."""
        self.cluster.away, self.reachable = True, False

    def regain(self) -> None:
        self.cluster.away, self.reachable = False, True

    async def until(self, fact: Callable[[], bool], within: int = 200) -> int:
        """Look until something is so; how often that was."""
        for count in range(within):
            if fact():
                return count
            await self.look()
        raise AssertionError(f"not so after {within} looks: {self.cluster.writes[-5:]}, {self.cluster.resources}")


@pytest.fixture
def world() -> World:
    clock = Clock()
    cluster = FakeCluster(clock)
    cluster.secrets[NAMESPACE, "broker"] = {"url": b"redis://broker:6379/0"}
    cluster.deploy()
    return World(clock, cluster, FakeSignals(cluster), Metrics())
