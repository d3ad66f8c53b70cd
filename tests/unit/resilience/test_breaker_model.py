"""The breaker against a slow, obvious model of it, over random histories."""

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, consumes, invariant, multiple, precondition, rule

from laneway.contract.policy import Breaker as BreakerPolicy
from laneway.errors import Unavailable
from laneway.resilience.breaker import PROBE_LEASE, Breaker, Permit, State
from tests.unit.resilience import histories

POLICY = BreakerPolicy(
    failure_rate=0.5,
    minimum_calls=4,
    window=6,
    consecutive_failures=3,
    open_time=1.0,
    half_open_calls=2,
    slow_call_duration=2.0,
    slow_call_rate=0.75,
)
RESULTS = st.sampled_from(["success", "failure", "failure", "neutral"])


class BreakerMachine(histories.Machine):
    """Keeps the whole history of the present generation, and judges from it."""

    permits = Bundle("permits")

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.breaker = Breaker("target", POLICY, clock=lambda: self.now, random=lambda: 0.5)
        self.openings = 0
        self.opens_at = self.lease_ends = 0.0
        self.enter(State.CLOSED)

    def enter(self, state: State) -> None:
        self.state = state
        self.results: list[str] = []
        self.slow: list[bool] = []
        self.under_way: dict[Permit, float] = {}
        self.unanswered: set[Permit] = set()

    def open(self) -> None:
        self.opens_at = self.now + min(16.0, 2.0**self.openings)
        self.openings += 1
        self.enter(State.OPEN)

    @rule(target=permits)
    def begin(self):
        permit = self.acquire()
        return multiple() if permit is None else permit

    @rule(result=RESULTS)
    def call(self, result):
        permit = self.acquire()
        if permit is not None:
            self.settle(permit, result)

    @rule(permit=consumes(permits), result=RESULTS)
    def end(self, permit, result):
        self.settle(permit, result)

    @rule(seconds=st.sampled_from([0.1, 1.0, 3.0, 16.0, PROBE_LEASE]))
    def wait(self, seconds):
        self.now += seconds

    @precondition(lambda self: self.state is State.OPEN)
    @rule()
    def wait_until_it_may_be_tried(self):
        self.now = max(self.now, self.opens_at)

    def acquire(self) -> Permit | None:
        over = self.state is State.OPEN and self.now >= self.opens_at
        written_off = self.full() and self.now >= self.lease_ends
        if self.state is State.CLOSED and self.silent():
            self.open()
        if over or written_off:
            self.enter(State.HALF_OPEN)
        refused = self.state is State.OPEN or self.full()
        try:
            permit = self.breaker.acquire()
        except Unavailable as error:
            assert refused
            assert error.reason == "BREAKER_OPEN"
            assert error.retry_after > 0
            return None
        assert not refused
        self.under_way[permit] = self.now
        self.unanswered.add(permit)
        if self.state is State.HALF_OPEN:
            self.lease_ends = self.now + PROBE_LEASE
        return permit

    def silent(self) -> bool:
        hanging = [
            permit for permit in self.unanswered if self.now - self.under_way[permit] >= POLICY.slow_call_duration
        ]
        return len(hanging) + self.row() >= POLICY.consecutive_failures

    def row(self) -> int:
        """How many of the last results were failures."""
        return next((at for at, result in enumerate(reversed(self.results)) if result != "failure"), len(self.results))

    def full(self) -> bool:
        return self.state is State.HALF_OPEN and len(self.under_way) + len(self.results) >= POLICY.half_open_calls

    def settle(self, permit: Permit, result: str) -> None:
        current = permit in self.under_way
        getattr(permit, result)()
        permit.failure()  # a second settlement changes nothing
        if not current:
            return
        slow = self.now - self.under_way.pop(permit) >= POLICY.slow_call_duration
        self.unanswered.discard(permit)
        if result == "success":
            self.unanswered.clear()
        if result != "neutral":
            self.results.append(result)
            self.slow.append(slow)
            self.judge()

    def judge(self) -> None:
        bad = self.results[-1] == "failure" or self.slow[-1]
        if self.state is State.HALF_OPEN:
            if bad:
                self.open()
            elif len(self.results) == POLICY.half_open_calls:
                self.openings = 0
                self.enter(State.CLOSED)
            return
        window, slow = self.results[-POLICY.window :], self.slow[-POLICY.window :]
        failing = window.count("failure") >= POLICY.failure_rate * len(window)
        slowing = slow.count(True) >= POLICY.slow_call_rate * len(window)
        too_many = len(window) >= POLICY.minimum_calls and (failing or slowing)
        if bad and (self.row() >= POLICY.consecutive_failures or too_many):
            self.open()

    @invariant()
    def the_state_is_the_models(self):
        assert self.breaker.state is self.state

    @invariant()
    def probes_never_exceed_the_limit(self):
        if self.state is State.HALF_OPEN:
            assert len(self.under_way) <= POLICY.half_open_calls


@histories.in_parts
def test_the_breaker_does_what_its_model_does(part):
    histories.run(BreakerMachine, part)
