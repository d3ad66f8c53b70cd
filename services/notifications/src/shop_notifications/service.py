"""The handlers of notifications."""

import os
from email.message import EmailMessage
from urllib.parse import urlsplit

import aiosmtplib
from google.protobuf.empty_pb2 import Empty

from laneway.call import Call
from laneway.client import Lanes
from laneway.errors import Unavailable
from laneway.service import Service
from shop.fulfilment.v1.events_pb2 import OrderRejected, OrderShipped
from shop.notifications.v1.notifications_laneway import NotificationsClient, NotificationsService
from shop.notifications.v1.notifications_pb2 import SendEmailRequest
from shop_notifications import domain

SENDER = "shop@laneway.example"


class Notifications(NotificationsService):
    def __init__(self, itself: NotificationsClient) -> None:
        self._itself = itself

    async def on_order_shipped(self, event: OrderShipped, call: Call) -> Empty:
        await self._itself.send_email.start(domain.shipped(event))
        return Empty()

    async def on_order_rejected(self, event: OrderRejected, call: Call) -> Empty:
        await self._itself.send_email.start(domain.rejected(event))
        return Empty()

    async def send_email(self, request: SendEmailRequest, call: Call) -> Empty:
        server = urlsplit(os.environ.get("SMTP_URL", "smtp://127.0.0.1:1025"))
        async with call.outside("SMTP send", lane="smtp") as key:
            mail = EmailMessage()
            mail["From"], mail["To"], mail["Subject"] = SENDER, request.to, request.subject
            mail["Message-ID"] = f"<{key}@laneway.example>"
            mail.set_content(request.body)
            try:
                await aiosmtplib.send(mail, hostname=server.hostname, port=server.port or 25, timeout=10)
            except (aiosmtplib.SMTPException, OSError) as error:
                raise Unavailable(f"The mail server takes no mail: {type(error).__name__}.") from error
        return Empty()


def service(lanes: Lanes) -> Service:
    """Notifications, as they are deployed."""
    return Service("notifications", Notifications(NotificationsClient(lanes)))
