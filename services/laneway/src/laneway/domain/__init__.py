"""Event-sourced aggregates, sagas and projections: decisions, events, and what follows of them. No I/O and no clock."""

from laneway.domain.aggregate import Aggregate, applies
from laneway.domain.changes import Add, Change, Execute, Put, Remove
from laneway.domain.projection import Projection, projects
from laneway.domain.recorded import Recorded
from laneway.domain.saga import Action, Outcome, Saga, Step
from laneway.domain.upcasting import Upcaster, Upcasters

__all__ = [
    "Action", "Add", "Aggregate", "Change", "Execute", "Outcome", "Projection", "Put", "Recorded", "Remove", "Saga",
    "Step", "Upcaster", "Upcasters", "applies", "projects",
]  # fmt: skip
