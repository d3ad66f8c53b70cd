"""The handlers of payments."""

from pathlib import Path

from sqlalchemy import insert, select, update

from laneway.call import Call
from laneway.client import Lanes
from laneway.errors import FailedPrecondition, NotFound
from laneway.service import Service
from shop.payments.v1.events_pb2 import PaymentAuthorized, PaymentCaptured, PaymentDeclined, PaymentRefunded
from shop.payments.v1.payments_laneway import PaymentsService
from shop.payments.v1.payments_pb2 import AuthorizeRequest, CaptureRequest, Payment, RefundRequest
from shop_payments.domain import State, payments
from shop_payments.provider_client import DECLINED, Provider

PROVIDER_TIMEOUT = 3.0
"""Seconds for one answer of the provider."""


class Payments(PaymentsService):
    def __init__(self, provider: Provider) -> None:
        self._provider = provider

    async def authorize(self, request: AuthorizeRequest, call: Call) -> Payment:
        if known := await self._find(request.order, call):
            return known
        payment = Payment(order=request.order, amount_minor=request.amount_minor, currency=request.currency)
        body = {"amount": request.amount_minor, "currency": request.currency, "card": request.card_token}
        try:
            answer = await self._ask("/authorizations", body, call)
        except FailedPrecondition as error:
            if error.reason != DECLINED:
                raise
            payment.state = State.DECLINED
            call.emit(PaymentDeclined(order=request.order, reason=error.message))
        else:
            payment.state, payment.authorization = State.AUTHORIZED, answer["id"]
            call.emit(PaymentAuthorized(order=request.order, authorization=payment.authorization))
        call.execute(insert(payments), [{name: getattr(payment, name) for name in payments.c.keys()}])  # noqa: SIM118
        return payment

    async def capture(self, request: CaptureRequest, call: Call) -> Payment:
        payment = await self._find(request.order, call)
        if payment is None:
            raise NotFound(f"There is no payment for {request.order}.", reason="NO_PAYMENT")
        if payment.state == State.AUTHORIZED:
            await self._ask(f"/authorizations/{payment.authorization}/capture", {}, call)
            self._become(payment, State.CAPTURED, call)
            call.emit(PaymentCaptured(order=request.order))
        return payment

    async def refund(self, request: RefundRequest, call: Call) -> Payment:
        payment = await self._find(request.order, call)
        if payment is None:
            return Payment(order=request.order)
        if payment.state in (State.AUTHORIZED, State.CAPTURED):
            await self._ask(f"/authorizations/{payment.authorization}/refund", {}, call)
            self._become(payment, State.REFUNDED, call)
            call.emit(PaymentRefunded(order=request.order))
        return payment

    async def _ask(self, path: str, body: dict[str, object], call: Call) -> dict[str, str]:
        async with call.outside(f"POST {path.split('/')[-1]}", lane="http") as key:
            return await self._provider.post(path, key, body, timeout=PROVIDER_TIMEOUT)

    async def _find(self, order: str, call: Call) -> Payment | None:
        rows = await call.fetch(select(payments).where(payments.c.order == order))
        return Payment(**rows[0].as_dict()) if rows else None

    def _become(self, payment: Payment, state: Payment.State, call: Call) -> None:
        as_read = payments.c.order == payment.order, payments.c.state == payment.state
        call.execute(update(payments).where(*as_read).values(state=state), expect=1)
        payment.state = state


def service(lanes: Lanes) -> Service:
    """Payments, as they are deployed."""
    return Service("payments", Payments(Provider()), migrations=Path(__file__).with_name("migrations"))
