"""The declared call graph: what calls and waits must have the time for it, and must not orphan or repeat an effect."""

from collections import deque
from collections.abc import Iterator, Sequence

from laneway.contract.findings import Finding, Rule, Severity
from laneway.contract.model import Method
from laneway.contract.sources import Source

CALL_UNKNOWN = Rule("CALL_UNKNOWN", "A handler declares a call of a method that is not there.")
CALL_NOT_AWAITABLE = Rule("CALL_NOT_AWAITABLE", "A handler declares to await what can only be started.")
CALL_CYCLE = Rule("CALL_CYCLE", "Handlers wait for each other in a circle.")
CALL_OUTLASTS_CALLER = Rule("CALL_OUTLASTS_CALLER", "A call may take longer than its caller has.")
CALLS_OUTLAST_CALLER = Rule(
    "CALLS_OUTLAST_CALLER", "Calls, one after the other, may take longer than their caller has.", Severity.WARNING
)
CALL_REPEATED = Rule("CALL_REPEATED", "A handler that may run again makes a call that must not be repeated.")
CALL_WRITE_IN_READ = Rule("CALL_WRITE_IN_READ", "A method without side effects calls one that has some.")
CALL_WRITE_IN_WRITE = Rule(
    "CALL_WRITE_IN_WRITE",
    "A mutating handler waits for a mutating call; its rollback orphans the effect.",
    Severity.WARNING,
)
RULES = (
    CALL_UNKNOWN, CALL_NOT_AWAITABLE, CALL_CYCLE, CALL_OUTLASTS_CALLER, CALLS_OUTLAST_CALLER, CALL_REPEATED,
    CALL_WRITE_IN_READ, CALL_WRITE_IN_WRITE,
)  # fmt: skip


def check(source: Source) -> Iterator[Finding]:
    """Applies the rules to every method that declares calls."""
    for caller in source.methods.values():
        callees: list[Method] = []
        for name in sorted(caller.policy.calls):
            callee = source.method(name)
            if callee is None:
                yield CALL_UNKNOWN.at(
                    caller.full_name, f"there is no method {name}", "name it in full, and lint the folder that has both"
                )
            elif not callee.awaitable:
                yield CALL_NOT_AWAITABLE.at(
                    caller.full_name,
                    f"{name} cannot be awaited",
                    "remove it from `calls`: what is only started is not listed",
                )
            else:
                callees.append(callee)
        yield from _of_times(caller, callees)
        for callee in callees:
            yield from _of_effects(caller, callee)
    yield from _cycles(source)


def _of_times(caller: Method, callees: Sequence[Method]) -> Iterator[Finding]:
    times = {callee.full_name: callee.policy.deadline for callee in callees if not callee.streaming}
    own = _time_of(caller)
    if own is None:
        return
    longer = {name: time for name, time in times.items() if time > own}
    for name, time in longer.items():
        yield CALL_OUTLASTS_CALLER.at(
            caller.full_name,
            f"it has {own:g} s, and waits up to {time:g} s for {name}",
            "lower the deadline of what is called, or raise the caller's",
        )
    if not longer and sum(times.values()) > own:
        listed = ", ".join(f"{name} ({time:g} s)" for name, time in times.items())
        yield CALLS_OUTLAST_CALLER.at(
            caller.full_name,
            f"it has {own:g} s, and one after the other its calls may take {sum(times.values()):g} s: {listed}",
            "lower their deadlines, or make them at the same time and say so (laneway:ignore)",
        )


def _time_of(caller: Method) -> float | None:
    """Seconds of a run, by its shortest lane; None for a stream, which has no deadline of its own."""
    if caller.streaming:
        return None
    awaited = [caller.policy.deadline] if caller.awaitable else []
    queued = [] if caller.work is None else [caller.work.run_timeout]
    return min(awaited + queued)


def _of_effects(caller: Method, callee: Method) -> Iterator[Finding]:
    if callee.reads:
        return
    if caller.reads:
        yield CALL_WRITE_IN_READ.at(
            caller.full_name,
            f"it says NO_SIDE_EFFECTS, and calls {callee.full_name}, which has some",
            "change its idempotency_level, or that of what it calls",
        )
        return
    if (caller.repeatable or caller.work is not None) and not callee.repeatable:
        yield CALL_REPEATED.at(
            caller.full_name,
            f"it may run again, and {callee.full_name} has its effect each time",
            f"declare `idempotency {{}}` on {callee.full_name}",
        )
    yield CALL_WRITE_IN_WRITE.at(
        caller.full_name,
        f"what {callee.full_name} has done stays done when this handler fails afterwards",
        "start it instead of waiting (`queue {}`), or undo it in a saga and say so (laneway:ignore)",
    )


def _cycles(source: Source) -> Iterator[Finding]:
    """Each circle once, at the first of its methods by name."""
    for name in sorted(source.methods):
        way = _way_back(source, name)
        if way:
            yield CALL_CYCLE.at(
                name,
                f"it waits for itself: {' → '.join((*way, name))}",
                "start one of these calls instead of waiting for it",
            )


def _way_back(source: Source, goal: str) -> tuple[str, ...]:
    """The shortest way from a method back to it, through none that comes before it by name; empty if there is none."""
    ways: deque[tuple[str, ...]] = deque([(goal,)])
    seen: set[str] = set()
    while ways:
        way = ways.popleft()
        for following in sorted(_calls_of(source, way[-1]) - seen):
            if following == goal:
                return way
            if following > goal:
                seen.add(following)
                ways.append((*way, following))
    return ()


def _calls_of(source: Source, name: str) -> frozenset[str]:
    method = source.method(name)
    return frozenset() if method is None else method.policy.calls
