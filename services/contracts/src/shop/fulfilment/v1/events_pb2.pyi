from laneway.v1 import call_pb2 as _call_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class OrderShipped(_message.Message):
    __slots__ = ("order", "email", "tracking")
    ORDER_FIELD_NUMBER: _ClassVar[int]
    EMAIL_FIELD_NUMBER: _ClassVar[int]
    TRACKING_FIELD_NUMBER: _ClassVar[int]
    order: str
    email: str
    tracking: str
    def __init__(self, order: _Optional[str] = ..., email: _Optional[str] = ..., tracking: _Optional[str] = ...) -> None: ...

class OrderRejected(_message.Message):
    __slots__ = ("order", "email", "reason")
    ORDER_FIELD_NUMBER: _ClassVar[int]
    EMAIL_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    order: str
    email: str
    reason: str
    def __init__(self, order: _Optional[str] = ..., email: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class FulfilmentBegun(_message.Message):
    __slots__ = ("order", "email", "card_token", "total_minor", "currency", "items")
    class Item(_message.Message):
        __slots__ = ("product", "quantity")
        PRODUCT_FIELD_NUMBER: _ClassVar[int]
        QUANTITY_FIELD_NUMBER: _ClassVar[int]
        product: str
        quantity: int
        def __init__(self, product: _Optional[str] = ..., quantity: _Optional[int] = ...) -> None: ...
    ORDER_FIELD_NUMBER: _ClassVar[int]
    EMAIL_FIELD_NUMBER: _ClassVar[int]
    CARD_TOKEN_FIELD_NUMBER: _ClassVar[int]
    TOTAL_MINOR_FIELD_NUMBER: _ClassVar[int]
    CURRENCY_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    order: str
    email: str
    card_token: str
    total_minor: int
    currency: str
    items: _containers.RepeatedCompositeFieldContainer[FulfilmentBegun.Item]
    def __init__(self, order: _Optional[str] = ..., email: _Optional[str] = ..., card_token: _Optional[str] = ..., total_minor: _Optional[int] = ..., currency: _Optional[str] = ..., items: _Optional[_Iterable[_Union[FulfilmentBegun.Item, _Mapping]]] = ...) -> None: ...
