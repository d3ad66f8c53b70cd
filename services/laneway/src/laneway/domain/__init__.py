"""Event-sourced aggregates and sagas: decisions and the events they leave. No I/O, no store, no clock."""

from laneway.domain.aggregate import Aggregate, applies
from laneway.domain.saga import Action, Outcome, Saga, Step

__all__ = ["Action", "Aggregate", "Outcome", "Saga", "Step", "applies"]
