"""Sagas, by the shop's fulfilment: reserve → authorize → ship → capture, and what undoes each."""

import itertools

import pytest
from google.protobuf.message import Message

from laneway.domain.saga import Action, Outcome, Saga, Step
from laneway.errors import ConfigurationError, Internal
from laneway.v1 import saga_pb2


class Fulfilment(Saga):
    steps = (
        Step("reserve", compensation="release"),
        Step("authorize", compensation="void", answer_within=900),
        Step("ship"),
        Step("capture", compensation="refund"),
    )


STEPS = [step.name for step in Fulfilment.steps]


@pytest.fixture
def saga():
    return Fulfilment.fresh("orders/7")


def names(actions):
    return [action.name for action in actions]


def reach(saga: Saga, step: str) -> Saga:
    """Start it, and complete every step before one; each answers with its name in capitals."""
    saga.start("orders/7")
    for name in itertools.takewhile(lambda name: name != step, STEPS):
        saga.completed(name, name.upper())
    return saga


def tell(saga: Saga, report: str) -> tuple[Action, ...]:
    """Report the start, the timer, or a step by its name."""
    if report == "start":
        return saga.start("orders/7")
    return saga.timed_out("authorize") if report == "timer" else saga.completed(report)


def replayed(saga: Saga, events: list[Message]) -> Saga:
    """The saga as the next handler loads it."""
    return type(saga).replay(saga.id, [type(event).FromString(event.SerializeToString()) for event in events])


def test_each_completed_step_makes_the_next_one_due(saga):
    due = [names(saga.start("orders/7"))]
    due += [names(saga.completed(step)) for step in STEPS]
    assert due == [["reserve"], ["authorize"], ["ship"], ["capture"], []]
    assert (saga.outcome, saga.done, saga.next) == (Outcome.COMPLETED, True, None)


def test_a_failed_step_makes_due_what_undoes_the_ones_before_last_first(saga):
    assert names(reach(saga, "capture").failed("capture", "card expired")) == ["void", "release"]
    assert (saga.compensating, saga.reason, saga.done) == (True, "card expired", False)


def test_it_ends_when_all_is_undone(saga):
    for action in reach(saga, "ship").failed("ship", "no carrier"):
        assert saga.outcome is None
        saga.compensated(action.step)
    assert (saga.outcome, saga.done) == (Outcome.COMPENSATED, True)


def test_it_ends_at_once_when_nothing_was_done(saga):
    assert reach(saga, "reserve").failed("reserve", "out of stock") == ()
    assert (saga.outcome, saga.done) == (Outcome.COMPENSATED, True)


def test_a_compensation_knows_what_its_step_answered(saga):
    void, _ = reach(saga, "ship").failed("ship", "no carrier")
    assert void == Action(name="void", step="authorize", compensates=True, result="AUTHORIZE")
    assert saga.result("reserve") == "RESERVE"


def test_compensations_that_must_wait_for_each_other_are_taken_one_by_one(saga):
    reach(saga, "ship").failed("ship", "no carrier")
    undone = []
    while saga.next is not None:
        undone.append(saga.next.name)
        saga.compensated(saga.next.step)
    assert undone == ["void", "release"]


def test_a_step_with_a_timer_says_so(saga):
    saga.start("orders/7")
    (authorize,) = saga.completed("reserve")
    assert (authorize.name, authorize.answer_within) == ("authorize", 900)


def test_a_timer_that_fires_after_the_answer_changes_nothing(saga):
    reach(saga, "ship")
    assert saga.timed_out("authorize") == ()
    assert not saga.compensating
    assert saga.next.name == "ship"


def test_a_timer_that_fires_before_the_answer_turns_it_back(saga):
    assert names(reach(saga, "authorize").timed_out("authorize")) == ["release"]
    assert saga.reason == "authorize did not answer in time"


@pytest.mark.parametrize("ended", [False, True], ids=["while it compensates", "after it ended"])
def test_a_payment_authorized_after_the_timer_is_voided(saga, ended):
    reach(saga, "authorize").timed_out("authorize")
    if ended:
        saga.compensated("reserve")
        assert saga.done
    (void,) = saga.completed("authorize", "auth-1")
    assert (void.name, void.result) == ("void", "auth-1")
    assert not saga.done
    saga.compensated("authorize")
    saga.compensated("reserve")
    assert (saga.done, saga.outcome) == (True, Outcome.COMPENSATED)
    _, events = saga.collect()
    assert sum(isinstance(event, saga_pb2.SagaEnded) for event in events) == 1


def test_a_late_step_that_nothing_undoes_owes_nothing(saga):
    reach(saga, "ship").cancel("changed my mind")
    assert saga.completed("ship") == ()
    assert names(saga.outstanding) == ["void", "release"]


def test_a_cancelled_saga_undoes_what_was_done(saga):
    assert names(reach(saga, "ship").cancel("changed my mind")) == ["void", "release"]


def test_a_completed_saga_cannot_be_cancelled(saga):
    reach(saga, "none")
    assert saga.cancel("changed my mind") == ()
    assert saga.outcome is Outcome.COMPLETED


def test_a_saga_cancelled_before_its_start_never_starts(saga):
    assert saga.cancel("changed my mind") == ()
    assert saga.start("orders/7") == ()
    assert saga.outcome is Outcome.COMPENSATED


def test_an_answer_that_overtakes_the_start_is_remembered(saga):
    assert saga.completed("reserve") == ()
    assert names(saga.start("orders/7")) == ["authorize"]


def test_an_answer_that_overtakes_an_earlier_step_is_remembered(saga):
    saga.start("orders/7")
    assert saga.completed("authorize") == ()
    assert names(saga.completed("reserve")) == ["ship"]


def test_every_order_of_answers_makes_each_step_due_at_most_once_and_completes():
    for order in itertools.permutations(["start", *STEPS]):
        saga = Fulfilment.fresh("orders/7")
        due = []
        for event in order:
            due += names(tell(saga, event))
        assert len(due) == len(set(due)), order
        assert saga.outcome is Outcome.COMPLETED, order


def test_in_every_order_a_timeout_leaves_nothing_done_that_is_not_owed():
    reports = ["start", "timer", "reserve", "authorize", "ship"]
    for order in itertools.permutations(reports):
        saga = Fulfilment.fresh("orders/7")
        owed = []
        for report in order:
            owed += names(action for action in tell(saga, report) if action.compensates)
        if saga.compensating:
            assert sorted(owed) == ["release", "void"], order
        else:
            assert order.index("authorize") < order.index("timer")


def test_repeated_reports_change_nothing(saga):
    reach(saga, "ship")
    version = saga.version
    for repeat in (lambda: saga.start("again"), lambda: saga.completed("reserve", "other")):
        assert repeat() == ()
    assert (saga.version, saga.result("reserve"), saga.correlation) == (version, "RESERVE", "orders/7")
    saga.failed("ship", "no carrier")
    version = saga.version
    for repeat in (
        lambda: saga.failed("ship", "twice"),
        lambda: saga.cancel("too"),
        lambda: saga.failed("capture", "x"),
    ):
        assert repeat() == ()
    assert (saga.version, saga.reason) == (version, "no carrier")
    saga.compensated("authorize")
    saga.compensated("authorize")
    assert names(saga.outstanding) == ["release"]


def test_a_failure_after_the_step_was_done_is_a_mistake_of_the_messenger(saga):
    assert reach(saga, "ship").failed("authorize", "declined") == ()
    assert not saga.compensating


def test_a_compensation_that_is_not_owed_is_not_taken_down(saga):
    reach(saga, "authorize")
    saga.compensated("reserve")
    saga.timed_out("authorize")
    saga.compensated("authorize")
    assert names(saga.outstanding) == ["release"]
    assert names(saga.completed("authorize")) == ["void"], "its effect may have come after"


def test_a_reloaded_saga_goes_on_where_it_was(saga):
    reach(saga, "capture").failed("capture", "card expired")
    saga.compensated("authorize")
    again = replayed(saga, saga.collect()[1])
    assert (again.id, again.correlation, again.reason) == ("orders/7", "orders/7", "card expired")
    assert again.outstanding == (Action(name="release", step="reserve", compensates=True, result="RESERVE"),)
    again.compensated("reserve")
    assert again.outcome is Outcome.COMPENSATED


def test_an_unknown_step_is_named_with_the_known_ones(saga):
    with pytest.raises(Internal, match=r"no step `pack` \(its steps: reserve, authorize, ship, capture\)"):
        saga.completed("pack")


def test_a_step_that_has_not_answered_has_no_result(saga):
    with pytest.raises(Internal, match="`authorize` has no result"):
        saga.result("authorize")


def test_a_log_with_a_step_that_is_no_longer_declared_is_refused():
    event = saga_pb2.SagaStepCompleted(step="pack")
    with pytest.raises(Internal, match="one that the log knows must stay declared"):
        Fulfilment.replay("orders/7", [event])


@pytest.mark.parametrize(
    ("steps", "complaint"),
    [
        ((), "declares no steps"),
        ((Step("pay"), Step("pay")), "uses the name pay twice"),
        ((Step("pay", compensation="pay"),), "uses the name pay twice"),
    ],
)
def test_a_mistake_in_the_steps_is_refused_at_definition(steps, complaint):
    with pytest.raises(ConfigurationError, match=complaint):
        type("Broken", (Saga,), {"steps": steps})


class FulfilmentHandlers:
    """The handlers of the module's docstring, with a list in the place of the clients."""

    def __init__(self) -> None:
        self.started: list[str] = []

    def on_order_placed(self, saga: Fulfilment) -> Fulfilment:
        return self.run(saga, saga.start(saga.id))

    def on_payment_authorized(self, saga: Fulfilment, authorization: str) -> Fulfilment:
        return self.run(saga, saga.completed("authorize", authorization))

    def give_up_waiting(self, saga: Fulfilment) -> Fulfilment:
        return self.run(saga, saga.timed_out("authorize"))

    def run(self, saga: Fulfilment, actions: tuple[Action, ...]) -> Fulfilment:
        for action in actions:
            match action.name:
                case "reserve":  # answered in the call itself: what follows runs in the same handler
                    self.started.append("reserve")
                    saga = self.run(saga, saga.completed("reserve", "stock-1"))
                case "authorize":
                    self.started += ["authorize", f"timer {action.answer_within}"]
                case "release" | "void" | "refund":
                    self.started.append(f"{action.name} {action.result}")
                    saga.compensated(action.step)
                case other:
                    self.started.append(other)
        return saga


def test_the_handlers_of_the_documentation_void_a_payment_that_answers_after_the_timer(saga):
    handlers, log = FulfilmentHandlers(), []
    calls = [
        handlers.on_order_placed,
        handlers.give_up_waiting,
        lambda saga: handlers.on_payment_authorized(saga, "auth-1"),
        handlers.give_up_waiting,
    ]
    for call in calls:
        log += call(replayed(saga, log)).collect()[1]
    assert handlers.started == ["reserve", "authorize", "timer 900", "release stock-1", "void auth-1"]
    assert replayed(saga, log).done


def test_a_saga_that_is_stuck_says_again_what_is_due_under_the_same_key(saga):
    first = reach(saga, "authorize").next
    again = replayed(saga, saga.collect()[1]).resume()
    assert (again, [action.key for action in again]) == ((first,), [first.key])
    assert first.key and first.key != Fulfilment.fresh("orders/8").start("x")[0].key


def test_a_stuck_compensation_is_begun_again_the_last_step_first(saga):
    reach(saga, "ship").failed("ship", "no carrier")
    owed = saga.resume()
    assert names(owed) == ["void", "release"]
    assert len({action.key for action in owed}) == 2
    saga.compensated("authorize")
    assert names(saga.resume()) == ["release"]


def test_a_saga_that_has_ended_or_not_begun_has_nothing_to_resume(saga):
    assert saga.resume() == ()
    reach(saga, "capture").completed("capture")
    assert saga.done
    assert saga.resume() == ()


def test_no_two_sagas_begin_anything_under_the_same_key(saga):
    """Or what one has done would be the other's answer."""
    [mine] = saga.start("orders/1")
    [other] = type(saga)("another").start("orders/2")
    assert mine.name == other.name
    assert mine.key != other.key
