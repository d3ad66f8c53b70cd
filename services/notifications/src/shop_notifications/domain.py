"""What the mails say."""

from shop.fulfilment.v1.events_pb2 import OrderRejected, OrderShipped
from shop.notifications.v1.notifications_pb2 import SendEmailRequest


def shipped(event: OrderShipped) -> SendEmailRequest:
    """The mail for an order that is on its way."""
    body = f"Your order {event.order} is on its way. Its tracking number is {event.tracking}.\n"
    return SendEmailRequest(to=event.email, subject=f"Shipped: {event.order}", body=body)


def rejected(event: OrderRejected) -> SendEmailRequest:
    """The mail for an order that will not come."""
    body = f"We are sorry: your order {event.order} was not accepted. {event.reason}\n"
    return SendEmailRequest(to=event.email, subject=f"Not accepted: {event.order}", body=body)
