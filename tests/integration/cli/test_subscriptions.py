"""`laneway subscriptions` on the database of a service, as a person types it, on each database."""

import json
import time

import pytest

from laneway.store import outbox, subscriptions
from laneway.store.outbox import OutboxMessage
from tests.integration.cli.database import Database

GONE, HERE = "shop.billing.v1.Billing.OnSent", "shop.orders.v1.Orders.OnOrderShipped"


class Subscribers(Database):
    """The subscribers of notifications, and the command on them."""

    def subscribe(self, name: str, service: str, deliveries: int) -> None:
        now = time.time()
        writes = [
            subscriptions.register(
                name, service=service, queue="events", event_type="a.Sent", from_start=False, now=now
            )
        ]
        rows = [
            OutboxMessage(
                id=f"{name}-{number}", service=service, queue="events", method=name, payload=b"", headers={},
                due_at=now, created_at=now - 120, subscription=name, parked_at=now if number else None,
            )
            for number in range(deliveries)
        ]  # fmt: skip
        self.do(lambda store: store.commit([*writes, outbox.insert(rows)]))

    def subscriptions(self, *arguments: str, code: int = 0) -> str:
        return self.laneway("subscriptions", *arguments, code=code)

    def left(self) -> list[str]:
        """To whom something is on its way."""
        return sorted(self.do(subscriptions.open_deliveries))


@pytest.fixture
def service(database_url: str) -> Subscribers:
    return Subscribers(database_url)


def test_one_that_is_no_more_is_named_and_dropped_with_what_is_on_its_way_to_it(service: Subscribers) -> None:
    service.subscribe(GONE, "billing", 2)
    service.subscribe(HERE, "orders", 1)

    told = [line.split() for line in service.subscriptions("list", "notifications").splitlines()[1:]]
    assert [(line[:4], line[6:]) for line in told] == [
        ([GONE, "billing.events", "a.Sent", "2"], ["not", "installed"]),
        ([HERE, "orders.events", "a.Sent", "1"], []),
    ]
    assert service.subscriptions("drop", "notifications", GONE).endswith("any more; 2 deliveries were dropped\n")
    assert [
        each["subscription"] for each in json.loads(service.subscriptions("list", "notifications", "--format", "json"))
    ] == [HERE]
    assert service.left() == [HERE]


def test_one_that_would_come_back_or_is_not_there_is_not_dropped(service: Subscribers) -> None:
    assert service.subscriptions("list", "notifications") == "notifications has no subscribers\n"
    service.subscribe(HERE, "orders", 1)

    assert "take the method out of its contract first" in service.subscriptions("drop", "notifications", HERE, code=2)
    assert f"no subscription {GONE}; it has: {HERE}" in service.subscriptions("drop", "notifications", GONE, code=2)
    assert service.left() == [HERE]
