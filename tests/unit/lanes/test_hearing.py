"""What a worker hears of its broker, by a channel that a test plays."""

from dataclasses import dataclass, field
from typing import Any

import pytest

from laneway.lanes.queue.hearing import PATIENCE, Hearing
from tests.fixtures.shelf import Clock


@dataclass
class Channel:
    """What kombu's channel shows."""

    _in_poll: object = None
    free: bool = True
    handlers: dict[str, Any] = field(default_factory=lambda: {"BRPOP": lambda: True})

    @property
    def qos(self) -> "Channel":
        return self

    def can_consume(self) -> bool:
        return self.free


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def hearing(clock: Clock) -> Hearing:
    return Hearing(clock)


def silence(clock: Clock) -> None:
    clock.now += PATIENCE + 1


def test_one_that_asks_and_is_not_answered_is_not_alive(hearing: Hearing, clock: Clock) -> None:
    channel = Channel(_in_poll=object())
    hearing.follow(channel)
    clock.now += PATIENCE
    assert hearing.ailment() is None
    clock.now += 1
    assert hearing.ailment() == "the broker has not answered for 31 s"
    assert channel.handlers["BRPOP"]()
    assert hearing.ailment() is None


@pytest.mark.parametrize("channel", [Channel(), Channel(_in_poll=object(), free=False)])
def test_one_that_does_not_ask_is_alive_and_has_all_its_patience_when_it_asks_again(
    hearing: Hearing, clock: Clock, channel: Channel
) -> None:
    hearing.follow(channel)
    for _ in range(3):
        silence(clock)
        assert hearing.ailment() is None
    channel._in_poll, channel.free = object(), True
    clock.now += PATIENCE
    assert hearing.ailment() is None
    clock.now += 1
    assert hearing.ailment() is not None


def test_without_a_connection_it_is_alive(hearing: Hearing, clock: Clock) -> None:
    silence(clock)
    assert hearing.ailment() is None
    hearing.follow(Channel(_in_poll=object()))
    hearing.forget()
    silence(clock)
    assert hearing.ailment() is None


def test_a_new_connection_begins_anew(hearing: Hearing, clock: Clock) -> None:
    hearing.follow(Channel(_in_poll=object()))
    silence(clock)
    hearing.follow(Channel(_in_poll=object()))
    assert hearing.ailment() is None
