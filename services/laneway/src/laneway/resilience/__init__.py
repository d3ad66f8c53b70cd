"""Calling what may fail: breaker, retries with a budget, and the order in which they apply.

Usable alone in any asyncio program: knows errors and policies, but no transport, contract or store.
"""

from laneway.resilience.breaker import Breaker, Permit, State, StateListener
from laneway.resilience.health import Health
from laneway.resilience.pipeline import Pipeline, Pipelines
from laneway.resilience.retry import RetryBudget, Retrying

__all__ = [
    "Breaker", "Health", "Permit", "Pipeline", "Pipelines", "RetryBudget", "Retrying", "State", "StateListener",
]  # fmt: skip
