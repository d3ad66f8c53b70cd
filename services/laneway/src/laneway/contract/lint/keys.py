"""Repetition: what is repeated must be safe to repeat, and a key must live as long as who may come again with it."""

from collections.abc import Iterator

from laneway.contract.findings import Finding, Rule, Severity
from laneway.contract.model import Method
from laneway.contract.policy import Idempotency
from laneway.contract.sources import Source

RETRY_NOT_IDEMPOTENT = Rule("RETRY_NOT_IDEMPOTENT", "A method that is not idempotent declares a retry.")
LEASE_TOO_SHORT = Rule("LEASE_TOO_SHORT", "The lease of an exclusive method ends before its work may.")
KEEP_TOO_SHORT = Rule("KEEP_TOO_SHORT", "A key is forgotten while its caller may still try again.")
KEY_OF_READ = Rule("KEY_OF_READ", "A method without side effects keeps keys.", Severity.WARNING)
RULES = (RETRY_NOT_IDEMPOTENT, LEASE_TOO_SHORT, KEEP_TOO_SHORT, KEY_OF_READ)


def check(source: Source) -> Iterator[Finding]:
    """Applies the rules to every method."""
    for method in source.methods.values():
        if not method.repeatable and method.policy.retry.max_attempts > 1 and method.declares("retry"):
            yield RETRY_NOT_IDEMPOTENT.at(
                method.full_name,
                "its retry is never obeyed: a second attempt could have a second effect",
                "declare `idempotency {}` or an idempotency_level, or remove `retry`",
            )
        if method.policy.idempotency is not None:
            yield from _of_key(method, method.policy.idempotency)


def _of_key(method: Method, key: Idempotency) -> Iterator[Finding]:
    policy = method.policy
    longest = max(policy.max_deadline or 0, policy.deadline)
    run = max(longest if method.awaitable else 0, 0 if policy.work is None else policy.work.run_timeout)
    if key.exclusive and key.lease < run:
        yield LEASE_TOO_SHORT.at(
            method.full_name,
            f"a run may take {run:g} s and its lease lasts {key.lease:g} s: a second copy may start beside it",
            f"let `idempotency.lease` be {run:g} s at least",
        )
    if key.keep < longest:
        yield KEEP_TOO_SHORT.at(
            method.full_name,
            f"a key is kept for {key.keep:g} s, and a caller may try again for {longest:g} s",
            "let `idempotency.keep` be longer than the deadline",
        )
    if method.reads:
        yield KEY_OF_READ.at(
            method.full_name,
            "each of its calls writes a row that protects nothing",
            "remove `idempotency`",
        )
