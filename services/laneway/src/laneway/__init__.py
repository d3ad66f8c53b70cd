"""Laneway: one contract, and every call picks its lane."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from laneway.scaling.worker import CapacityReport

__all__ = ["CapacityReport"]


def __getattr__(name: str) -> Any:
    """Load what needs Celery only where it is asked for."""
    if name == "CapacityReport":
        from laneway.scaling.worker import CapacityReport

        return CapacityReport
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
