"""The benchmark's model of KEDA + HPA does what was measured of KEDA 2.21 on Kubernetes 1.34 (in design and README)."""

import statistics

import pytest

from tests.benchmarks.operator_sim.cluster import STEP, Cluster
from tests.benchmarks.operator_sim.keda import DEFAULT, SYNC, Keda, Settings, tuned

MEASURED_TUNED = Settings("measured", polling=1.0, cooldown=60.0, stabilization=0.0, percent=900, pods=20)
RUNS = 40


def climb(settings: Settings, seed: int, *, running: int = 0) -> list[tuple[float, int]]:
    """400 long messages arrive: when the replicas changed, at most 20."""
    begin = 31.0  # after the first look of both clocks
    cluster = Cluster([(begin, 1e6)] * 400, objective=1e9, startup=0.5)
    cluster.scale(running)
    keda = Keda(cluster, settings, maximum=20, seed=seed)
    steps: list[tuple[float, int]] = []
    before = running
    while cluster.now < begin + 95:
        cluster.advance()
        keda.advance()
        if cluster.replicas != before:
            before = cluster.replicas
            steps.append((cluster.now - begin, before))
    return steps


def spread(values: list[float]) -> tuple[float, float, float]:
    return min(values), statistics.median(values), max(values)


def test_a_burst_on_zero_by_default() -> None:
    runs = [climb(DEFAULT, seed) for seed in range(RUNS)]
    assert {tuple(replicas for _, replicas in steps) for steps in runs} == {(1, 4, 8, 16, 20)}
    first, full = spread([steps[0][0] for steps in runs]), spread([steps[-1][0] for steps in runs])
    assert first == pytest.approx((3.4, 16.0, 25.1), abs=5), "measured: first pod asked for"
    assert full[1] == pytest.approx(70, abs=5), "measured: all 20, median"
    assert full[0] >= 45
    assert full[2] <= 30 + SYNC + 45 + STEP, "measured 82"


def test_a_burst_on_zero_tuned() -> None:
    runs = [climb(MEASURED_TUNED, seed) for seed in range(RUNS)]
    seen = {tuple(replicas for _, replicas in steps) for steps in runs}
    assert seen <= {(1, 20), (20,)}, "the second when both clocks strike in one step"
    first, full = spread([steps[0][0] for steps in runs]), spread([steps[-1][0] for steps in runs])
    assert first == pytest.approx((0.1, 0.8, 1.1), abs=0.5)
    assert full[0] < 2
    assert full[1] == pytest.approx(4.8, abs=4)
    assert full[2] == pytest.approx(15.9, abs=2)


@pytest.mark.parametrize(("settings", "median"), [(DEFAULT, 53.0), (MEASURED_TUNED, 9.5)])
def test_a_tenfold_backlog_on_a_running_pool(settings: Settings, median: float) -> None:
    runs = [climb(settings, seed, running=2) for seed in range(RUNS)]
    assert statistics.median(steps[-1][0] for steps in runs) == pytest.approx(median, abs=3)


def test_the_list_does_not_see_what_runs() -> None:
    """Measured: 12 → 3 pods with 30 tasks held."""
    cluster = Cluster([(1.0, 1e6)] * 30, objective=1e9, startup=0.0)
    cluster.scale(12)
    keda = Keda(cluster, MEASURED_TUNED, maximum=20, seed=1)
    assert lowest(cluster, keda) == 1
    counting = Cluster([(1.0, 1e6)] * 30, objective=1e9, startup=0.0)
    counting.scale(12)
    assert lowest(counting, Keda(counting, tuned(4.0), maximum=20, seed=1)) >= 8


def lowest(cluster: Cluster, keda: Keda) -> int:
    seen = [cluster.replicas]
    while cluster.now < 40:
        cluster.advance()
        keda.advance()
        seen.append(cluster.replicas)
    return min(seen)
