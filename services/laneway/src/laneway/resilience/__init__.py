"""Calling what may fail: breaker, concurrency limit, retries with a budget, fallback, and the order of them.

Usable alone in any asyncio program: knows errors and policies, but no transport, contract or store.
"""

from laneway.resilience.breaker import Breaker, Permit, State, StateListener
from laneway.resilience.health import Classify, Health
from laneway.resilience.limit import Limit
from laneway.resilience.pipeline import Pipeline, Pipelines
from laneway.resilience.retry import RetryBudget, Retrying

__all__ = [
    "Breaker", "Classify", "Health", "Limit", "Permit", "Pipeline", "Pipelines", "RetryBudget", "Retrying", "State",
    "StateListener",
]  # fmt: skip
