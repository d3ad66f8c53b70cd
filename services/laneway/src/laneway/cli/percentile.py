"""How long most of what was measured took."""

from collections.abc import Sequence


def percentile(seconds: Sequence[float], share: float) -> float:
    """Milliseconds within which this share of them is; 0 of none."""
    ordered = sorted(seconds)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000 if ordered else 0.0
