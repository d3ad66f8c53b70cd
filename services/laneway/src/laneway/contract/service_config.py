"""A contract's policies as gRPC's service config (grpc/service_config/service_config.proto), for foreign clients.

Such a client then balances, waits and retries as ours does, as far as gRPC itself can: it has no breaker and no
fallback, and retries what the contract says is harmless to repeat.
"""

from collections.abc import Iterable
from typing import Any

from laneway.contract.model import Method
from laneway.contract.policy import Policy, Retry
from laneway.errors import TRANSIENT, Code

MOST_ATTEMPTS = 5
"""More than this gRPC does not make."""

TOKENS = 10
"""Failures that a client may have above its successes before it stops retrying: gRPC's own example, and its half."""

SHORTEST_BACKOFF = 0.01
"""Seconds. With one of 1 ms, gRPC 1.85 loses two of five retries: the call then hangs until its deadline."""

CONNECTIONS: dict[str, Any] = {"loadBalancingConfig": [{"round_robin": {}}]}
"""Calls go round the replicas. Health is not watched: a client whose every replica says that it drains fails its calls
at once, and does not look for those that have taken their place."""

_RETRIED = sorted(code.name for code in TRANSIENT - {Code.CANCELLED, Code.DEADLINE_EXCEEDED})


def service_config(methods: Iterable[Method]) -> dict[str, Any]:
    """The service config of one server's methods."""
    callable_ = [method for method in methods if method.awaitable]
    config = {**CONNECTIONS, "methodConfig": [_of_method(method) for method in callable_]}
    budgets = [method.policy.retry.budget for method in callable_ if _is_retried(method)]
    if budgets and min(budgets) > 0:
        config["retryThrottling"] = {"maxTokens": TOKENS, "tokenRatio": min(budgets)}
    return config


def _of_method(method: Method) -> dict[str, Any]:
    config: dict[str, Any] = {"name": [{"service": method.service_name, "method": method.name}]}
    if not method.streaming:
        config["timeout"] = _seconds(method.policy.deadline)
    if _is_retried(method):
        config["retryPolicy"] = _retry(method.policy.retry)
    return config


def _is_retried(method: Method) -> bool:
    return method.policy.retry.max_attempts > 1 and _is_harmless(method, method.policy) and not method.streaming


def _is_harmless(method: Method, policy: Policy) -> bool:
    """Whether any client may repeat it: one that sends no key has none that makes it harmless."""
    return method.safe or (policy.idempotency is not None and policy.idempotency.required)


def _retry(retry: Retry) -> dict[str, Any]:
    return {
        "maxAttempts": min(retry.max_attempts, MOST_ATTEMPTS),
        "initialBackoff": _seconds(max(retry.initial_backoff, SHORTEST_BACKOFF)),
        "maxBackoff": _seconds(max(retry.max_backoff, SHORTEST_BACKOFF)),
        "backoffMultiplier": 2,
        "retryableStatusCodes": _RETRIED,
    }


def _seconds(value: float) -> str:
    """As ProtoJSON writes a Duration."""
    text = f"{value:.9f}".rstrip("0").rstrip(".")
    return f"{text}s"
