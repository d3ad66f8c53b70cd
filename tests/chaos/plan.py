"""What goes wrong in a run and when, drawn from a seed. Pure: the same size and seed give the same steps."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum


class Deed(Enum):
    """What is done to the shop."""

    KILL = "kill -9 of a process"
    FLUSH = "FLUSHALL"
    RESTART_DATABASE = "restart of PostgreSQL"
    OWNER_DOWN = "the owner of a queue is down, and another service queues many calls for it"
    OWNER_UP = "the owner is back"
    NO_WORKERS = "no worker lives"
    POISON = "messages that nobody survives, ends or can read"
    NOTES = "messages of keys"


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How large a run is. `flood` are the calls for an owner that is down, `notes` the messages of keys."""

    orders: int
    kills: int
    flushes: int = 2
    restarts: int = 2
    flood: int = 0
    notes: int = 0
    poison: bool = True
    duplicates: bool = True
    seed: int = 0


@dataclass(frozen=True, slots=True, order=True)
class Step:
    """One deed, once so many orders have been acknowledged. Of several at once, the first in the list is first."""

    at: int
    place: int
    deed: Deed
    target: str = ""


NOTE_STEPS = 10


def steps(size: Size, victims: Sequence[str]) -> list[Step]:
    """The steps in their order. Each victim dies before one dies again."""
    drawn = [(at, deed, target) for at, deed, target in _drawn(size, victims)]
    return sorted(
        (Step(round(at * size.orders), place, deed, target) for place, (at, deed, target) in enumerate(drawn)),
        key=lambda step: (step.at, step.place),
    )


def _drawn(size: Size, victims: Sequence[str]) -> Iterator[tuple[float, Deed, str]]:
    """Each with the share of the orders that come before it."""
    chance = random.Random(size.seed)
    if size.notes:
        for number in range(NOTE_STEPS):
            yield number / NOTE_STEPS, Deed.NOTES, str(number)
    if size.poison:
        yield 0.05, Deed.POISON, ""
    for number, victim in enumerate(_victims(size.kills, victims, chance), 1):
        yield number / (size.kills + 1), Deed.KILL, victim
    for number in range(size.flushes):
        yield 0.2 + 0.5 * number + 0.1 * chance.random(), Deed.FLUSH, ""
    for number in range(size.restarts):
        yield 0.35 + 0.4 * number + 0.1 * chance.random(), Deed.RESTART_DATABASE, ""
    if size.flood:
        yield 0.5, Deed.OWNER_DOWN, "fulfilment"
        yield 0.6, Deed.OWNER_UP, "fulfilment"
        yield 0.65, Deed.NO_WORKERS, ""


def _victims(kills: int, names: Sequence[str], chance: random.Random) -> Iterator[str]:
    left: list[str] = []
    for _ in range(kills):
        if not left:
            left = sorted(names)
            chance.shuffle(left)
        yield left.pop()
