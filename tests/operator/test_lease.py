"""Which operator decides, on a Lease in memory and clocks that do not agree."""

from collections.abc import Mapping
from typing import Any

import pytest

from laneway.errors import Aborted, NotFound, Unavailable
from laneway_operator.lease import DEADLINE, DURATION, RENEWAL, Leadership
from tests.operator.fakes import Clock


class FakeLeases:
    """One Lease; `away` is who cannot reach it."""

    def __init__(self) -> None:
        self.lease: dict[str, Any] | None = None
        self.version = 0
        self.away = False

    def _answer(self) -> dict[str, Any]:
        if self.away:
            raise Unavailable("The API server does not answer.")
        if self.lease is None:
            raise NotFound("leases not found")
        return {"metadata": {"resourceVersion": str(self.version)}, "spec": dict(self.lease)}

    async def get_lease(self, namespace: str, name: str) -> Mapping[str, Any]:
        return self._answer()

    async def create_lease(self, namespace: str, name: str, spec: Mapping[str, Any]) -> Mapping[str, Any]:
        self.lease, self.version = dict(spec), self.version + 1
        return self._answer()

    async def patch_lease(
        self, namespace: str, name: str, spec: Mapping[str, Any], *, version: str
    ) -> Mapping[str, Any]:
        known = self._answer()
        if known["metadata"]["resourceVersion"] != version:
            raise Aborted("the object has been modified")
        self.lease, self.version = {**known["spec"], **spec}, self.version + 1
        return self._answer()


@pytest.fixture
def leases() -> FakeLeases:
    return FakeLeases()


@pytest.fixture
def clock() -> Clock:
    return Clock(100.0)


def contender(leases: FakeLeases, name: str, clock: Clock) -> Leadership:
    return Leadership(leases, "system", "operator", name, clock)


async def test_the_first_leads_and_the_second_stands_by(leases: FakeLeases, clock: Clock) -> None:
    first, second = contender(leases, "a", clock), contender(leases, "b", Clock(99_999.0))
    assert await first.contend()
    assert not await second.contend()
    assert first.leading
    assert not second.leading


async def test_a_holder_that_renews_keeps_it(leases: FakeLeases, clock: Clock) -> None:
    first, second = contender(leases, "a", clock), contender(leases, "b", clock)
    for _ in range(30):
        assert await first.contend()
        assert not await second.contend()
        clock.advance(4)


async def test_a_holder_that_died_is_followed_within_twenty_seconds(leases: FakeLeases, clock: Clock) -> None:
    await contender(leases, "a", clock).contend()
    second, began = contender(leases, "b", clock), clock.now
    while not await second.contend():
        clock.advance(1)
    assert DURATION <= clock.now - began <= 20


async def test_a_holder_that_cannot_renew_stops_before_another_may_begin(leases: FakeLeases, clock: Clock) -> None:
    first = contender(leases, "a", clock)
    await first.contend()
    leases.away = True
    clock.advance(DEADLINE - 0.1)
    assert not await first.contend()
    assert first.leading
    clock.advance(0.1)
    assert not first.leading
    assert DEADLINE < DURATION


async def test_an_api_server_that_does_not_answer_is_known_long_before_the_lease_is_lost(
    leases: FakeLeases, clock: Clock
) -> None:
    first = contender(leases, "a", clock)
    await first.contend()
    assert first.reachable
    leases.away = True
    clock.advance(RENEWAL)
    await first.contend()
    assert (first.reachable, first.leading) == (False, True)
    leases.away = False
    await first.contend()
    assert (first.reachable, first.leading) == (True, True)


async def test_one_who_comes_back_leads_again_at_once(leases: FakeLeases, clock: Clock) -> None:
    first = contender(leases, "a", clock)
    await first.contend()
    leases.away = True
    clock.advance(60)
    await first.contend()
    leases.away = False
    assert await first.contend()
    assert first.leading


async def test_a_lease_that_was_given_back_is_free_at_once(leases: FakeLeases, clock: Clock) -> None:
    first, second = contender(leases, "a", clock), contender(leases, "b", clock)
    await first.contend()
    await second.contend()
    await first.release()
    assert not first.leading
    assert await second.contend()
    assert leases.lease is not None
    assert leases.lease["leaseTransitions"] == 1


async def test_a_lease_that_somebody_deletes_is_not_taken_from_its_holder(leases: FakeLeases, clock: Clock) -> None:
    first, second = contender(leases, "a", clock), contender(leases, "b", clock)
    await first.contend()
    await second.contend()
    leases.lease = None
    assert not await second.contend()
    assert await first.contend(), "its holder makes it anew"
    assert not await second.contend()
    leases.lease = None
    clock.advance(DURATION)
    assert await second.contend(), "a holder that is gone does not come back"


async def test_of_two_that_take_at_once_one_leads(leases: FakeLeases, clock: Clock) -> None:
    await contender(leases, "dead", clock).contend()
    first, second = contender(leases, "a", clock), contender(leases, "b", clock)
    assert not await first.contend()
    assert not await second.contend()
    clock.advance(DURATION)
    known = leases._answer()
    assert await first.contend()
    leases.get_lease = lambda *_: _now(known)  # type: ignore[method-assign, assignment]
    assert not await second.contend()
    assert not second.leading


async def _now(known: Mapping[str, Any]) -> Mapping[str, Any]:
    return known
