from laneway.v1 import call_pb2 as _call_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class OrderPlaced(_message.Message):
    __slots__ = ("order", "lines", "total_minor", "currency", "email", "card_token")
    ORDER_FIELD_NUMBER: _ClassVar[int]
    LINES_FIELD_NUMBER: _ClassVar[int]
    TOTAL_MINOR_FIELD_NUMBER: _ClassVar[int]
    CURRENCY_FIELD_NUMBER: _ClassVar[int]
    EMAIL_FIELD_NUMBER: _ClassVar[int]
    CARD_TOKEN_FIELD_NUMBER: _ClassVar[int]
    order: str
    lines: _containers.RepeatedCompositeFieldContainer[OrderLine]
    total_minor: int
    currency: str
    email: str
    card_token: str
    def __init__(self, order: _Optional[str] = ..., lines: _Optional[_Iterable[_Union[OrderLine, _Mapping]]] = ..., total_minor: _Optional[int] = ..., currency: _Optional[str] = ..., email: _Optional[str] = ..., card_token: _Optional[str] = ...) -> None: ...

class OrderLine(_message.Message):
    __slots__ = ("product", "quantity", "price_minor")
    PRODUCT_FIELD_NUMBER: _ClassVar[int]
    QUANTITY_FIELD_NUMBER: _ClassVar[int]
    PRICE_MINOR_FIELD_NUMBER: _ClassVar[int]
    product: str
    quantity: int
    price_minor: int
    def __init__(self, product: _Optional[str] = ..., quantity: _Optional[int] = ..., price_minor: _Optional[int] = ...) -> None: ...

class OrderCancelled(_message.Message):
    __slots__ = ("order",)
    ORDER_FIELD_NUMBER: _ClassVar[int]
    order: str
    def __init__(self, order: _Optional[str] = ...) -> None: ...

class OrderClosed(_message.Message):
    __slots__ = ("order", "shipped", "reason", "outcome")
    class Outcome(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        OUTCOME_UNSPECIFIED: _ClassVar[OrderClosed.Outcome]
        SHIPPED: _ClassVar[OrderClosed.Outcome]
        REJECTED: _ClassVar[OrderClosed.Outcome]
    OUTCOME_UNSPECIFIED: OrderClosed.Outcome
    SHIPPED: OrderClosed.Outcome
    REJECTED: OrderClosed.Outcome
    ORDER_FIELD_NUMBER: _ClassVar[int]
    SHIPPED_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    order: str
    shipped: bool
    reason: str
    outcome: OrderClosed.Outcome
    def __init__(self, order: _Optional[str] = ..., shipped: _Optional[bool] = ..., reason: _Optional[str] = ..., outcome: _Optional[_Union[OrderClosed.Outcome, str]] = ...) -> None: ...
