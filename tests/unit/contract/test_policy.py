from pathlib import Path

import pytest

from laneway.contract.model import Method, method_of
from laneway.contract.policy import BreakerMode, Priority, QueueUse
from laneway.contract.schedule import Missed, Schedule
from laneway.errors import ConfigurationError
from tests.fixtures.protos import HEAD, service_of


@pytest.fixture
def method(tmp_path: Path):
    def build(options: str, *, service: str = "", file: str = "") -> Method:
        body = f"service Shelf {{ {service} rpc Put(Request) returns (Reply) {{ {options} }} }}"
        head = HEAD.replace("message Request", f"{file}\nmessage Request", 1)
        return method_of(service_of(tmp_path, body, head=head).methods_by_name["Put"])

    return build


def test_what_nobody_sets_is_built_in(method) -> None:
    policy = method("").policy
    assert (policy.deadline, policy.retry.max_attempts, policy.queue, policy.idempotency) == (
        10,
        3,
        None,
        None,
    )


def test_a_method_overrides_its_service_and_a_service_its_file_field_by_field(method) -> None:
    policy = method(
        "option (laneway.v1.call) = {retry {max_attempts: 5}};",
        service="option (laneway.v1.service_defaults) = {deadline {seconds: 2} retry {max_attempts: 4}};",
        file="option (laneway.v1.file_defaults) = {deadline {seconds: 1} retry {initial_backoff {seconds: 7}}};",
    ).policy
    assert policy.deadline == 2
    assert (policy.retry.max_attempts, policy.retry.initial_backoff, policy.retry.max_backoff) == (5, 7, 1)


def test_an_explicit_zero_is_not_unset(method) -> None:
    policy = method(
        "option (laneway.v1.call) = {retry {initial_backoff {}} deadline {nanos: 500000000}};",
        service="option (laneway.v1.service_defaults) = {deadline {seconds: 3}};",
    ).policy
    assert policy.retry.initial_backoff == 0
    assert policy.deadline == 0.5


def test_a_queue_is_declared_by_the_method_and_tuned_by_the_service(method) -> None:
    keyed = "idempotency {key: 'request_id'}"
    service = "option (laneway.v1.service_defaults) = {queue {name: 'bulk' max_attempts: 2}};"
    assert method(f"option (laneway.v1.call) = {{{keyed}}};", service=service).policy.queue is None
    queue = method(f"option (laneway.v1.call) = {{{keyed} queue {{use: ONLY}}}};", service=service).policy.queue
    assert (queue.queue, queue.max_attempts, queue.use) == ("bulk", 2, QueueUse.ONLY)


def test_a_breaker_counts_calls_or_time_failures_and_slowness_as_stated(method) -> None:
    stated = method(
        """option (laneway.v1.call) = {group: 'provider' breaker {
            window_time {seconds: 10} slow_call_rate: 0.8 slow_call_duration {nanos: 500000000} mode: OBSERVE_ONLY}};"""
    ).policy
    breaker = stated.breaker
    assert (breaker.window_time, breaker.slow_call_rate, breaker.slow_call_duration) == (10, 0.8, 0.5)
    assert (breaker.mode, stated.group) == (BreakerMode.OBSERVE_ONLY, "provider")
    own = method("").policy
    assert (own.breaker.window_time, own.breaker.slow_call_duration, own.group) == (0, 0, None)
    assert own.breaker.mode is BreakerMode.AUTOMATIC


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ("{breaker {failure_rate: 2}}", "breaker.failure_rate is 2; it must be above 0 and at most 1"),
        ("{breaker {slow_call_rate: 0}}", "breaker.slow_call_rate is 0; it must be above 0 and at most 1"),
        ("{retry {max_attempts: 0}}", "retry.max_attempts is 0; it must be at least 1"),
        ("{idempotency {} queue {max_attempts: 0}}", "queue.max_attempts is 0; it must be at least 1"),
        ("{attempt_timeout {}}", "attempt_timeout is 0; it must be at least 0.001"),
        ("{limit {max_concurrent: -1}}", "limit.max_concurrent is -1; it must be at least 0"),
        ("{fallback {}}", "fallback.last_good or queue is needed"),
        ("{fallback {last_good {seconds: 9}}}", "fallback.last_good needs `idempotency_level = NO_SIDE_EFFECTS`"),
        ("{fallback {queue: true}}", "fallback.queue needs a method that can be awaited and queued"),
        ("{idempotency {} queue {use: ONLY} fallback {queue: true}}", "fallback.queue needs a method that can be"),
        ("{fallback {queue: true reserve {seconds: 10}}}", "fallback.reserve is 10; it must leave time"),
        ("{max_deadline {seconds: 9}}", "max_deadline is 9; it must be at least the deadline, 10"),
        ("{deadline {}}", "deadline is 0; it must be at least 0.001"),
    ],
)
def test_a_number_that_cannot_be_obeyed_is_refused_with_the_contract(method, options: str, problem: str) -> None:
    with pytest.raises(ConfigurationError, match=f"test.shelf.v1.Shelf.Put: {problem}"):
        method(f"option (laneway.v1.call) = {options};")


def test_a_schedule_is_a_part_of_the_queue_and_its_rest_is_built_in(method) -> None:
    stated = "idempotency {} queue {priority: LOW schedule {cron: '0 6 * * *'}}"
    queue = method(f"option (laneway.v1.call) = {{{stated}}};").policy.queue
    assert queue.priority is Priority.LOW
    assert queue.schedule == Schedule(cron="0 6 * * *", timezone="UTC", missed=Missed.ONCE)
    whole = stated.replace("'0 6 * * *'", "'0 6 * * *' timezone: 'Europe/Berlin' missed: EACH")
    assert method(f"option (laneway.v1.call) = {{{whole}}};").policy.queue.schedule.missed is Missed.EACH


def test_without_them_a_queue_is_of_normal_priority_and_has_no_schedule(method) -> None:
    queue = method("option (laneway.v1.call) = {idempotency {} queue {}};").policy.queue
    assert (queue.priority, queue.schedule) == (Priority.NORMAL, None)


@pytest.mark.parametrize("schedule", ["timezone: 'UTC'", "cron: '61 * * * *'", "cron: '0 6 * * *' timezone: 'Berlin'"])
def test_a_schedule_that_cannot_be_obeyed_is_refused(method, schedule: str) -> None:
    with pytest.raises(ConfigurationError, match=r"queue\.schedule\.(cron|timezone) is"):
        method(f"option (laneway.v1.call) = {{idempotency {{}} queue {{schedule {{{schedule}}}}}}};")


def test_an_order_is_by_a_string_of_the_request(method) -> None:
    stated = "option (laneway.v1.call) = {{idempotency {{}} queue {{order_by: '{}'}}}};"
    assert method(stated.format("inner.key")).policy.work.order_by == "inner.key"
    for path, problem in (("nobody", "has no field `nobody`"), ("tags", "`tags` is not a single string")):
        with pytest.raises(ConfigurationError, match=rf"queue\.order_by `{path}`: .*{problem}"):
            method(stated.format(path))
