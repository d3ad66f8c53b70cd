"""How many pods a pool needs, and what to do about it. Pure: the same arguments give the same decision."""

from laneway.scaling.model import Decision, Intent, Memory, Observation


def decide(intent: Intent, observation: Observation, memory: Memory, now: float) -> tuple[Decision, Memory]:
    """Decide about one pool, about once a second; pass the memory on to the next decision."""
    raise NotImplementedError
