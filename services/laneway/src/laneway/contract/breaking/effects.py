"""What a caller may count on: how long a call may take, how often it is tried, and what stands in for its answer."""

from collections.abc import Iterator

from laneway.contract.breaking.pairs import kept
from laneway.contract.findings import Finding, Rule
from laneway.contract.model import Method
from laneway.contract.policy import Fallback, Policy, Work
from laneway.contract.sources import Source

DEADLINE_LOWERED = Rule("DEADLINE_LOWERED", "A call that asks for no time has less of it.")
CEILING_LOWERED = Rule("CEILING_LOWERED", "A call may ask for less time.")
RUN_TIMEOUT_LOWERED = Rule("RUN_TIMEOUT_LOWERED", "A queued run has less time.")
START_WITHIN_LOWERED = Rule("START_WITHIN_LOWERED", "Queued work expires earlier.")
ATTEMPTS_LOWERED = Rule("ATTEMPTS_LOWERED", "A message is parked after fewer runs.")
FALLBACK_REMOVED = Rule("FALLBACK_REMOVED", "An answer has nothing that stands in for it.")
LAST_GOOD_SHORTENED = Rule("LAST_GOOD_SHORTENED", "An answer stands in for less time.")
REASON_REMOVED = Rule("REASON_REMOVED", "A declared error is an answer no more.")
RULES = (
    DEADLINE_LOWERED, CEILING_LOWERED, RUN_TIMEOUT_LOWERED, START_WITHIN_LOWERED, ATTEMPTS_LOWERED, FALLBACK_REMOVED,
    LAST_GOOD_SHORTENED, REASON_REMOVED,
)  # fmt: skip


def check(before: Source, after: Source) -> Iterator[Finding]:
    """Applies the rules to every method."""
    for was, now in kept(before.methods, after.methods):
        if now.awaitable and was.awaitable:
            yield from _of_times(now.full_name, was.policy, now.policy)
            yield from _of_fallback(now.full_name, was.policy.fallback, now.policy.fallback)
        if was.work is not None and now.work is not None:
            yield from _of_work(now.full_name, was.work, now.work)
        yield from _of_start(was, now)
        for reason in sorted(was.policy.errors - now.policy.errors):
            yield REASON_REMOVED.at(
                now.full_name,
                f"{reason} was kept like a reply, and its call not tried again; now it is",
                f'keep `errors: "{reason}"`',
            )


def _of_times(name: str, was: Policy, now: Policy) -> Iterator[Finding]:
    if now.deadline < was.deadline:
        yield DEADLINE_LOWERED.at(
            name,
            f"its deadline was {was.deadline:g} s and is {now.deadline:g} s",
            "keep it, or tune it where it is deployed",
        )
    old, new = (policy.deadline if policy.max_deadline is None else policy.max_deadline for policy in (was, now))
    if new < old and not (was.max_deadline is None and now.max_deadline is None):
        yield CEILING_LOWERED.at(
            name, f"a caller could ask for {old:g} s and can for {new:g} s", f"let `max_deadline` be {old:g} s"
        )


def _of_fallback(name: str, was: Fallback | None, now: Fallback | None) -> Iterator[Finding]:
    if was is None:
        return
    if now is None:
        yield FALLBACK_REMOVED.at(name, "callers that got a degraded answer get an error", "keep `fallback`")
    elif was.last_good is not None and now.last_good is not None and now.last_good < was.last_good:
        yield LAST_GOOD_SHORTENED.at(
            name, f"the last good answer stood in for {was.last_good:g} s and does for {now.last_good:g} s", "keep it"
        )


def _of_work(name: str, was: Work, now: Work) -> Iterator[Finding]:
    if now.run_timeout < was.run_timeout:
        yield RUN_TIMEOUT_LOWERED.at(
            name,
            f"a run had {was.run_timeout:g} s and has {now.run_timeout:g} s: what waits may need more",
            "keep it until the queue is empty",
        )
    if now.max_attempts < was.max_attempts:
        yield ATTEMPTS_LOWERED.at(
            name,
            f"a message had {was.max_attempts} runs and has {now.max_attempts}: what has failed more often is parked",
            "keep `max_attempts`",
        )


def _of_start(was: Method, now: Method) -> Iterator[Finding]:
    if was.policy.queue is None or now.policy.queue is None or now.policy.queue.start_within is None:
        return
    old, new = was.policy.queue.start_within, now.policy.queue.start_within
    if old is None or new < old:
        waited = "as long as it took" if old is None else f"{old:g} s"
        yield START_WITHIN_LOWERED.at(
            now.full_name, f"work could wait for {waited} and can for {new:g} s; then it expires", "keep `start_within`"
        )
