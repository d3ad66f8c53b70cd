"""What the contract promises for a provider that is away."""

from laneway.contract.model import Contract
from laneway.lanes.queue.delivery import backoff
from shop.payments.v1.payments_laneway import PaymentsService

HOUR = 3600.0


def test_the_provider_is_asked_again_for_hours_and_then_within_a_minute() -> None:
    for method in Contract.of([PaymentsService.DESCRIPTOR]):
        assert method.work is not None
        work = method.work
        shortest = sum(backoff(work, attempt, uniform=min) for attempt in range(1, work.max_attempts))
        assert shortest >= 6 * HOUR
        assert work.max_backoff <= 60
