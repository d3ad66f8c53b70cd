"""The values of scaling: what a pool is to achieve, what was seen of it, what is remembered, what is decided.

All are immutable. Times are seconds since the epoch, durations are seconds. A pod is what Kubernetes runs; for the
embedded scaler it is a process. Unknown is never zero: it is `Unknown`, or `None`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Mode(StrEnum):
    """Which decisions may be applied."""

    ACTIVE = "Active"
    DRY_RUN = "DryRun"
    """Decided and told, never applied: the caller applies nothing."""
    PAUSED = "Paused"
    PAUSED_IN = "PausedIn"
    PAUSED_OUT = "PausedOut"


class Consume(StrEnum):
    """Whether workers take messages at all; producers are never stopped."""

    RUNNING = "Running"
    PAUSED = "Paused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """`percentile` of the messages wait no longer than `seconds` before they start."""

    seconds: float = 10.0
    percentile: float = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A time in which other limits hold: from each match of `start` until the next match of `end`.

    Both are cron expressions of five fields in `timezone`. Of several windows that are open, the highest floor and the
    lowest ceiling count; `None` leaves a limit as it is.
    """

    start: str
    end: str
    timezone: str = "UTC"
    minimum: int | None = None
    maximum: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Fallback:
    """After so many failing observations in a row: at least this many replicas. Never fewer than there are."""

    replicas: int
    after_failures: int = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """What a pool is to achieve.

    Attributes:
        queues: their names in the broker.
        memory_seconds: scale-in goes only down to the largest need of so many seconds.
        grace_seconds: how long a pod that was told to drain may take before that is said.
        slots: messages that a pod runs at once, for workers that do not report it.
        service_seconds: what a message takes, until it has been learned.
        startup_seconds: what a new pod takes until it consumes, until it has been learned.
    """

    queues: tuple[str, ...]
    objective: Objective = field(default_factory=Objective)
    minimum: int = 0
    maximum: int = 10
    windows: tuple[Window, ...] = ()
    fallback: Fallback | None = None
    memory_seconds: float = 60.0
    grace_seconds: float = 60.0
    mode: Mode = Mode.ACTIVE
    consume: Consume = Consume.RUNNING
    slots: int = 1
    service_seconds: float = 1.0
    startup_seconds: float = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueReading:
    """One queue: what has not been taken by a worker, and what waits for a person.

    `oldest_seconds` is the age of the head of line, `None` if nothing waits or nobody can tell.
    """

    name: str
    waiting: int
    oldest_seconds: float | None = None
    parked: int = 0
    oldest_parked_seconds: float | None = None
    paused: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """What one worker does for one queue. `processed` and `busy_seconds` count since the worker's start."""

    active: int = 0
    reserved: int = 0
    processed: int = 0
    busy_seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerReading:
    """What one worker said of itself, queue by queue of the pool.

    `slots` is how many messages it runs at once, `startup_seconds` what its process took until it consumed.
    """

    pod: str
    slots: int
    shares: Mapping[str, Share] = field(default_factory=dict)
    startup_seconds: float | None = None
    draining: bool = False
    breakers_open: int = 0

    @property
    def active(self) -> int:
        return sum(share.active for share in self.shares.values())

    @property
    def reserved(self) -> int:
        return sum(share.reserved for share in self.shares.values())

    @property
    def held(self) -> int:
        """What would be disturbed if it went."""
        return self.active + self.reserved


@dataclass(frozen=True, slots=True, kw_only=True)
class Unknown:
    """The broker, or who reports to it, does not answer. `reason` is a sentence."""

    at: float
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a broker knows of one pool.

    Attributes:
        workers: those that report. Nobody reporting while pods run is *basic mode*: see `basic`.
        drained: the pods in the durable drain set of the pool's queues, also such as are gone.
        unacked: taken and not acknowledged, by anybody.
        orphans: of these, what nobody who lives holds. It comes back only through a living worker.
        basic: the workers do not report: no drain, and what they run is known from `unacked` alone.
        finished: messages that ended since the reader began to look, in basic mode only.
        held_seconds: how long those were held, all together.
    """

    at: float
    queues: tuple[QueueReading, ...]
    workers: tuple[WorkerReading, ...] = ()
    drained: frozenset[str] = frozenset()
    unacked: int = 0
    orphans: int = 0
    basic: bool = False
    finished: int = 0
    held_seconds: float = 0.0

    @property
    def waiting(self) -> int:
        return sum(queue.waiting for queue in self.queues)

    @property
    def oldest_seconds(self) -> float | None:
        """The age of the oldest message that waits in any queue."""
        ages = [queue.oldest_seconds for queue in self.queues if queue.oldest_seconds is not None]
        return max(ages, default=None)

    @property
    def parked(self) -> int:
        return sum(queue.parked for queue in self.queues)

    @property
    def oldest_parked_seconds(self) -> float | None:
        """The age of the oldest message of any queue that waits for a person."""
        ages = [queue.oldest_parked_seconds for queue in self.queues if queue.oldest_parked_seconds is not None]
        return max(ages, default=None)

    @property
    def active(self) -> int:
        return sum(worker.active for worker in self.workers)

    @property
    def reserved(self) -> int:
        return sum(worker.reserved for worker in self.workers)

    @property
    def held(self) -> int:
        """Taken by those who live."""
        return self.unacked - self.orphans if self.basic else sum(worker.held for worker in self.workers)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pod:
    """A pod of the pool's Deployment that is not being deleted. `fixed` ones are never chosen as victims."""

    name: str
    created_at: float
    ready: bool = False
    fixed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """A pool at one moment: `replicas` is what its Deployment asks for, `pods` are there.

    `stale` is whether all this may be old: who keeps it does not answer.
    """

    reading: Reading | Unknown
    replicas: int
    pods: tuple[Pod, ...] = ()
    rollout: bool = False
    stale: bool = False

    @property
    def ready(self) -> int:
        return sum(pod.ready for pod in self.pods)


class Reason(StrEnum):
    """Why a decision is as it is: stable words, for Events and conditions."""

    STEADY = "Steady"
    SCALE_OUT = "ScaleOut"
    FROM_ZERO = "ScaleFromZero"
    DRAINING = "Draining"
    SCALE_IN = "ScaleIn"
    REMEMBERED = "RememberedNeed"
    """Fewer would do now; the recent past needed what there is."""
    UNKNOWN = "MetricsUnknown"
    FALLBACK = "Fallback"
    INEFFECTIVE = "ScalingIneffective"
    """More pods brought no more throughput."""
    BREAKERS_OPEN = "BreakersOpen"
    ROLLOUT = "RolloutInProgress"
    STALE = "ClusterUnknown"
    """The cluster does not answer: what is known of its pods may be old."""
    ORPHANS = "UnackedWithoutOwner"
    PAUSED = "Paused"
    CEILING = "AtMaximum"
    FLOOR = "AtMinimum"
    OVERDUE = "DrainOverdue"


@dataclass(frozen=True, slots=True)
class Fact:
    """A condition of the pool's status: whether it holds, one word why, and the sentence with its numbers."""

    holds: bool | None
    reason: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """The numbers behind a decision. Rates are messages per second; `need_*` are pods.

    `need_cautious` is what is remembered for scale-in: the need, if more arrived than was counted.
    """

    waiting: int | None = None
    held: int | None = None
    oldest_seconds: float | None = None
    arrival_rate: float = 0.0
    completion_rate: float = 0.0
    service_seconds: float = 0.0
    startup_seconds: float = 0.0
    slots: int = 1
    need_steady: int = 0
    need_backlog: int = 0
    need: int = 0
    need_cautious: int = 0
    warm_minimum: int = 0
    minimum: int = 0
    maximum: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What to do now.

    Attributes:
        replicas: what the Deployment should ask for now. Below what it asks for only by the pods in `remove`.
        desired: what the pool should come to.
        drain: pods to put into the drain set.
        undrain: pods to take out of it, also such as are gone.
        remove: pods that are drained and hold nothing: give them the lowest deletion cost, see that they have it,
            decide again, and only then apply `replicas`. Empty in basic mode, where nothing can be drained.
        overdue: pods that were told to drain and still hold messages after the grace: to be said, never killed.
        objective_met: whether what waits now waits within the objective.
        look_again: seconds after which to decide anew, instead of saying or doing anything: a burst is coming in.
    """

    replicas: int
    desired: int
    reason: Reason
    message: str
    figures: Figures
    drain: tuple[str, ...] = ()
    undrain: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()
    overdue: tuple[str, ...] = ()
    objective_met: bool | None = None
    look_again: float | None = None
    metrics_available: Fact
    objective_attainable: Fact
    scaling_active: Fact


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrivals:
    """How many messages arrived between two observations."""

    seconds: float
    messages: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """What is remembered of one queue.

    `content` is what it held when last seen, waiting or taken; `finished` and `busy_seconds` fade with time.
    """

    content: int
    arrivals: tuple[Arrivals, ...] = ()
    finished: float = 0.0
    busy_seconds: float = 0.0
    service_seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """How many pods were needed at a moment."""

    at: float
    pods: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """Throughput of a saturated pool with a number of consuming pods: since when, and how much had ended by then."""

    pods: int
    since: float
    finished_before: float
    throughput: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Brake:
    """Whether more pods brought more throughput. `cause` says it in a sentence while the brake holds."""

    before: Level | None = None
    present: Level | None = None
    until: float = 0.0
    cause: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Onset:
    """A burst that comes in on a pool of zero: since when, and how much of it waited when last seen."""

    since: float
    waiting: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """What is carried from one decision to the next. A new one holds scale-in until `memory_seconds` have passed.

    `service_seconds`, `startup_seconds` and `slots` are learned; give them to a new memory to keep them over a restart.
    `asked_at` is when more pods were asked for last.
    """

    service_seconds: float | None = None
    startup_seconds: float | None = None
    since: float | None = None
    seen_at: float | None = None
    failures: int = 0
    slots: int | None = None
    counters: Mapping[str, Mapping[str, Share]] = field(default_factory=dict)
    finished: float = 0.0
    held_seconds: float = 0.0
    completion_rate: float = 0.0
    traffic: Mapping[str, Traffic] = field(default_factory=dict)
    needs: tuple[Need, ...] = ()
    started: frozenset[str] = frozenset()
    asked_at: float | None = None
    draining_since: Mapping[str, float] = field(default_factory=dict)
    brake: Brake = field(default_factory=Brake)
    onset: Onset | None = None
