"""The handlers of fulfilment: they tell the saga what happened, and do what it says."""

from collections.abc import Sequence
from pathlib import Path

from google.protobuf.empty_pb2 import Empty
from sqlalchemy import insert, select

from laneway.call import Call
from laneway.client import Lanes
from laneway.domain import Action
from laneway.errors import FailedPrecondition, NotFound
from laneway.service import Service
from shop.fulfilment.v1.fulfilment_laneway import FulfilmentClient, FulfilmentService
from shop.fulfilment.v1.fulfilment_pb2 import ExpirePaymentRequest, GetShipmentRequest, Shipment, ShipOrderRequest
from shop.inventory.v1.inventory_laneway import InventoryClient
from shop.inventory.v1.inventory_pb2 import Line, ReleaseRequest, ReserveRequest
from shop.orders.v1.events_pb2 import OrderCancelled, OrderPlaced
from shop.payments.v1.events_pb2 import PaymentAuthorized, PaymentCaptured, PaymentDeclined
from shop.payments.v1.payments_laneway import PaymentsClient
from shop.payments.v1.payments_pb2 import AuthorizeRequest, CaptureRequest, RefundRequest
from shop_fulfilment.domain import Fulfilment, shipments


class FulfilmentHandlers(FulfilmentService):
    def __init__(self, inventory: InventoryClient, payments: PaymentsClient, itself: FulfilmentClient) -> None:
        self._inventory = inventory
        self._payments = payments
        self._itself = itself

    async def on_order_placed(self, event: OrderPlaced, call: Call) -> Empty:
        saga = await call.load(Fulfilment, event.order)
        return await self._go_on(saga, saga.begin(event), call)

    async def on_order_cancelled(self, event: OrderCancelled, call: Call) -> Empty:
        saga = await call.load(Fulfilment, event.order)
        return await self._go_on(saga, saga.cancel("The customer cancelled."), call)

    async def on_payment_authorized(self, event: PaymentAuthorized, call: Call) -> Empty:
        saga = await call.load(Fulfilment, event.order)
        return await self._go_on(saga, saga.completed("authorize", event.authorization), call)

    async def on_payment_declined(self, event: PaymentDeclined, call: Call) -> Empty:
        saga = await call.load(Fulfilment, event.order)
        return await self._go_on(saga, saga.failed("authorize", event.reason), call)

    async def on_payment_captured(self, event: PaymentCaptured, call: Call) -> Empty:
        saga = await call.load(Fulfilment, event.order)
        return await self._go_on(saga, saga.completed("capture"), call)

    async def expire_payment(self, request: ExpirePaymentRequest, call: Call) -> Empty:
        saga = await call.load(Fulfilment, request.order)
        return await self._go_on(saga, saga.timed_out("authorize"), call)

    async def ship_order(self, request: ShipOrderRequest, call: Call) -> Shipment:
        saga = await call.load(Fulfilment, request.order)
        shipment = Shipment(name=f"shipments/{request.order.rpartition('/')[2]}", order=request.order)
        shipment.tracking = call.derive_key("tracking")[:8].upper()
        if saga.compensating or saga.done:
            raise FailedPrecondition(f"{request.order} is not to be shipped any more.", reason="NOT_TO_BE_SHIPPED")
        row = {"name": shipment.name, "order": shipment.order, "tracking": shipment.tracking}
        call.execute(insert(shipments), [row])
        saga.tell_shipped(shipment.tracking)
        await self._go_on(saga, saga.completed("ship", shipment.tracking), call)
        return shipment

    async def get_shipment(self, request: GetShipmentRequest, call: Call) -> Shipment:
        rows = await call.fetch(select(shipments).where(shipments.c.name == request.name))
        if not rows:
            raise NotFound(f"There is no {request.name}.", reason="NO_SHIPMENT")
        return Shipment(**rows[0].as_dict())

    async def _go_on(self, saga: Fulfilment, actions: Sequence[Action], call: Call) -> Empty:
        for action in actions:
            await self.act(saga, action)
        saga.tell_rejected()
        call.save(saga)
        return Empty()

    async def act(self, saga: Fulfilment, action: Action) -> None:
        """Do what the saga says; again, when it is resumed, under the same key."""
        order, key = saga.id, action.key
        match action.name:
            case "reserve":
                lines = [Line(product=item.product, quantity=item.quantity) for item in saga.order.items]
                try:
                    await self._inventory.reserve(ReserveRequest(order=order, lines=lines), key=key)
                    following = saga.completed("reserve")
                except FailedPrecondition as error:
                    following = saga.failed("reserve", error.message)
                for action in following:
                    await self.act(saga, action)
            case "authorize":
                request = AuthorizeRequest(order=order, card_token=saga.order.card_token)
                request.amount_minor, request.currency = saga.order.total_minor, saga.order.currency
                await self._payments.authorize.start(request, key=key)
                wait = action.answer_within or 0
                await self._itself.expire_payment.start(ExpirePaymentRequest(order=order), after=wait)
            case "ship":
                await self._itself.ship_order.start(ShipOrderRequest(order=order), key=key)
            case "capture":
                await self._payments.capture.start(CaptureRequest(order=order), key=key)
            case "release":
                await self._inventory.release.start(ReleaseRequest(order=order), key=key)
                saga.compensated(action.step)
            case "void" | "refund":
                await self._payments.refund.start(RefundRequest(order=order), key=key)
                saga.compensated(action.step)


def service(lanes: Lanes) -> Service:
    """Fulfilment, as it is deployed."""
    handlers = FulfilmentHandlers(InventoryClient(lanes), PaymentsClient(lanes), FulfilmentClient(lanes))
    migrations = Path(__file__).with_name("migrations")
    return Service("fulfilment", handlers, migrations=migrations, sagas={Fulfilment: handlers.act})
