"""What customers read, and that a mail server that is away only delays it."""

from email import message_from_bytes
from typing import Any

import pytest
from aiosmtpd.controller import Controller

from laneway.store import outbox
from laneway.testing import serve
from shop.fulfilment.v1.events_pb2 import OrderRejected, OrderShipped
from shop.notifications.v1.notifications_laneway import NotificationsClient
from shop.notifications.v1.notifications_pb2 import SendEmailRequest
from shop_notifications import domain
from shop_notifications.service import service
from tests.fixtures.valkey import free_port

EMAIL = ("notifications", "email")
MAIL = SendEmailRequest(to="ada@example.org", subject="Shipped: orders/1", body="On its way.\n")


class Inbox:
    def __init__(self) -> None:
        self.mails: list[Any] = []

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802 aiosmtpd's name
        self.mails.append(message_from_bytes(envelope.content))
        return "250 kept"


def test_a_shipped_order_names_its_tracking_number() -> None:
    mail = domain.shipped(OrderShipped(order="orders/1", email="ada@example.org", tracking="T1"))
    assert (mail.to, mail.subject) == ("ada@example.org", "Shipped: orders/1")
    assert "T1" in mail.body


def test_a_rejected_order_says_why() -> None:
    mail = domain.rejected(OrderRejected(order="orders/1", email="ada@example.org", reason="No stock."))
    assert "No stock." in mail.body


async def test_a_mail_arrives_once_after_the_server_was_away(monkeypatch: pytest.MonkeyPatch) -> None:
    port, inbox = free_port(), Inbox()
    monkeypatch.setenv("SMTP_URL", f"smtp://127.0.0.1:{port}")
    async with serve(service) as world:
        await NotificationsClient(world.lanes).send_email.start(MAIL)
        await world.settle()
        assert len(await outbox.due(world.store("notifications"), EMAIL, world.clock() + 600, 10)) == 1
        server = Controller(inbox, hostname="127.0.0.1", port=port)
        server.start()
        try:
            world.clock.advance(60)
            await world.settle()
        finally:
            server.stop()
        assert await outbox.due(world.store("notifications"), EMAIL, world.clock() + 600, 10) == []
    [mail] = inbox.mails
    assert (mail["To"], mail["Subject"]) == ("ada@example.org", "Shipped: orders/1")
    assert mail["Message-ID"].endswith("@laneway.example>")
