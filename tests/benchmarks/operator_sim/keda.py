"""KEDA with the HPA that it makes, as published. Every constant names its source.

- KEDA polls every `pollingInterval` and scales 0 → 1 when the trigger is active, 1 → 0 `cooldownPeriod` after it was last
  active; everything between is the HPA's (keda.sh, "ScaledObject specification").
- The HPA looks every 15 s (kube-controller-manager `--horizontal-pod-autoscaler-sync-period`), and asks KEDA's metrics
  server for the value at that moment (KEDA's default: `useCachedMetrics: false`).
- External metric with an average value: ceil(metric / target), and no change within 10 % of the target
  (kubernetes.io, "Horizontal Pod Autoscaling", algorithm details; `--horizontal-pod-autoscaler-tolerance` 0.1).
- Without `behavior`: at most max(2 × current, 4) per look, and down only to the highest recommendation of 300 s
  (pkg/controller/podautoscaler/horizontal.go: scaleUpLimitFactor 2, scaleUpLimitMinimum 4;
  `--horizontal-pod-autoscaler-downscale-stabilization` 5m). Measured on Kubernetes 1.34: 1 → 4 → 8 → 16 → 20.
- With `behavior`: policies as written there, the largest of them, over their period.
- Redis lists trigger: the length of the list (keda.sh, "Redis Lists"); the tuned one also counts what runs, which takes
  an external scaler or a metrics query, and which the trigger itself cannot.
"""

import math
import random
from collections import deque
from dataclasses import dataclass

from tests.benchmarks.operator_sim.cluster import Cluster

SYNC = 15.0
TOLERANCE = 0.1


@dataclass(frozen=True)
class Settings:
    """One ScaledObject."""

    name: str
    polling: float = 30.0
    """keda.sh: pollingInterval, default 30 s."""
    cooldown: float = 300.0
    """keda.sh: cooldownPeriod, default 300 s."""
    stabilization: float = 300.0
    percent: float | None = None
    """HPA behavior.scaleUp: percent per 15 s; none for no behavior at all."""
    pods: int = 0
    """HPA behavior.scaleUp: pods per 15 s."""
    in_flight: bool = False
    target: float = 5.0
    """keda.sh, Redis Lists: listLength, default 5."""


DEFAULT = Settings("KEDA default")


def tuned(target: float) -> Settings:
    """Poll 1 s, cooldown and stabilization 60 s, 900 % or 20 pods per 15 s, what waits and what runs."""
    return Settings("KEDA tuned", polling=1.0, cooldown=60.0, stabilization=60.0, percent=900, pods=20,
                    in_flight=True, target=target)  # fmt: skip


class Keda:
    """Scales a cluster. Its two clocks begin at random moments, as they do in a cluster."""

    def __init__(self, cluster: Cluster, settings: Settings, *, maximum: int, seed: int) -> None:
        rng = random.Random(f"{settings.name}/{seed}")
        self._cluster = cluster
        self._settings = settings
        self._maximum = maximum
        self._poll_at = rng.uniform(0, settings.polling)
        self._sync_at = rng.uniform(0, SYNC)
        self._active_at: float | None = None
        self._recommended: deque[tuple[float, int]] = deque()
        self._grown: deque[tuple[float, int]] = deque()

    def advance(self) -> None:
        now = self._cluster.now
        if now >= self._poll_at:
            self._poll_at += self._settings.polling
            self._poll(now)
        if now >= self._sync_at:
            self._sync_at += SYNC
            if self._cluster.replicas > 0:
                self._sync(now)

    def _metric(self) -> int:
        return self._cluster.waiting + (self._cluster.running if self._settings.in_flight else 0)

    def _poll(self, now: float) -> None:
        if self._metric() > 0:
            self._active_at = now
            if self._cluster.replicas == 0:
                self._cluster.scale(1)
        elif self._cluster.replicas and now - (self._active_at or 0.0) >= self._settings.cooldown:
            self._cluster.scale(0)
            self._recommended.clear()

    def _sync(self, now: float) -> None:
        current = self._cluster.replicas
        wanted = math.ceil(self._metric() / self._settings.target)
        if abs(1 - self._metric() / (self._settings.target * current)) <= TOLERANCE:
            wanted = current
        wanted = min(max(wanted, 1), self._maximum)  # the HPA's minimum is 1: zero is KEDA's
        self._recommended.append((now, wanted))
        while self._recommended[0][0] < now - self._settings.stabilization:
            self._recommended.popleft()
        if wanted < current:
            wanted = min(current, max(each for _, each in self._recommended))
        elif wanted > current:
            wanted = min(wanted, self._limit(now, current))
            self._grown.append((now, wanted - current))
        if wanted != current:
            self._cluster.scale(wanted)

    def _limit(self, now: float, current: int) -> int:
        """How far one look may go up."""
        if self._settings.percent is None:
            return max(2 * current, 4)
        while self._grown and self._grown[0][0] <= now - SYNC:
            self._grown.popleft()
        before = current - sum(each for _, each in self._grown)
        return max(math.ceil(before * (1 + self._settings.percent / 100)), before + self._settings.pods)
