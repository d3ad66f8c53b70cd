"""Times of one method that do not fit into each other."""

from collections.abc import Iterator

from laneway.contract.findings import Finding, Rule
from laneway.contract.model import Method
from laneway.contract.policy import Breaker
from laneway.contract.sources import Source

ATTEMPT_OUTLASTS_DEADLINE = Rule("ATTEMPT_OUTLASTS_DEADLINE", "An attempt may take longer than the whole call.")
BACKOFF_OUTLASTS_DEADLINE = Rule("BACKOFF_OUTLASTS_DEADLINE", "The first pause before a retry outlasts the call.")
BACKOFF_ORDER = Rule("BACKOFF_ORDER", "The first backoff is longer than the longest.")
BREAKER_NEVER_OPENS = Rule("BREAKER_NEVER_OPENS", "A breaker waits for more calls than its window holds.")
RULES = (ATTEMPT_OUTLASTS_DEADLINE, BACKOFF_OUTLASTS_DEADLINE, BACKOFF_ORDER, BREAKER_NEVER_OPENS)


def check(source: Source) -> Iterator[Finding]:
    """Applies the rules to every method."""
    for method in source.methods.values():
        yield from _of_attempts(method)
        yield from _of_backoffs(method)
        if _never_opens(method.policy.breaker):
            breaker = method.policy.breaker
            yield BREAKER_NEVER_OPENS.at(
                method.full_name,
                f"it asks for {breaker.minimum_calls} calls and remembers {breaker.window}: its rates never count",
                "lower `breaker.minimum_calls`, or widen `breaker.window`",
            )


def _of_attempts(method: Method) -> Iterator[Finding]:
    policy = method.policy
    reserve = 0.0 if policy.fallback is None else policy.fallback.reserve
    if policy.attempt_timeout is not None and policy.attempt_timeout >= policy.deadline - reserve:
        yield ATTEMPT_OUTLASTS_DEADLINE.at(
            method.full_name,
            f"attempt_timeout is {policy.attempt_timeout:g} s, and all attempts have {policy.deadline - reserve:g} s: "
            "it never ends one",
            "lower `attempt_timeout`, or remove it",
        )
    retries = method.repeatable and method.awaitable and policy.retry.max_attempts > 1
    if retries and policy.retry.initial_backoff >= policy.deadline:
        yield BACKOFF_OUTLASTS_DEADLINE.at(
            method.full_name,
            f"a retry waits for {policy.retry.initial_backoff:g} s, and the call ends after {policy.deadline:g} s: "
            "none is ever made",
            "lower `retry.initial_backoff`, or set `retry.max_attempts` to 1",
        )


def _of_backoffs(method: Method) -> Iterator[Finding]:
    policy = method.policy
    for name, backing in (("retry", policy.retry), ("queue", policy.queue), ("subscribe", policy.subscription)):
        if backing is not None and backing.max_backoff < backing.initial_backoff:
            yield BACKOFF_ORDER.at(
                method.full_name,
                f"{name}.initial_backoff is {backing.initial_backoff:g} s, its max_backoff {backing.max_backoff:g} s",
                f"raise `{name}.max_backoff`",
            )


def _never_opens(breaker: Breaker) -> bool:
    by_count = breaker.window_time == 0 and breaker.minimum_calls > breaker.window
    return by_count and breaker.consecutive_failures == 0
