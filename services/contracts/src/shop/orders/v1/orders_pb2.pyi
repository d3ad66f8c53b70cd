from buf.validate import validate_pb2 as _validate_pb2
from google.api import annotations_pb2 as _annotations_pb2
from google.protobuf import empty_pb2 as _empty_pb2
from laneway.v1 import call_pb2 as _call_pb2
from shop.fulfilment.v1 import events_pb2 as _events_pb2
from shop.orders.v1 import events_pb2 as _events_pb2_1
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Order(_message.Message):
    __slots__ = ("name", "state", "lines", "total_minor", "currency", "email", "reason", "cursor")
    class State(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        STATE_UNSPECIFIED: _ClassVar[Order.State]
        PLACED: _ClassVar[Order.State]
        SHIPPED: _ClassVar[Order.State]
        CANCELLED: _ClassVar[Order.State]
        REJECTED: _ClassVar[Order.State]
    STATE_UNSPECIFIED: Order.State
    PLACED: Order.State
    SHIPPED: Order.State
    CANCELLED: Order.State
    REJECTED: Order.State
    NAME_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    LINES_FIELD_NUMBER: _ClassVar[int]
    TOTAL_MINOR_FIELD_NUMBER: _ClassVar[int]
    CURRENCY_FIELD_NUMBER: _ClassVar[int]
    EMAIL_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    CURSOR_FIELD_NUMBER: _ClassVar[int]
    name: str
    state: Order.State
    lines: _containers.RepeatedCompositeFieldContainer[_events_pb2_1.OrderLine]
    total_minor: int
    currency: str
    email: str
    reason: str
    cursor: int
    def __init__(self, name: _Optional[str] = ..., state: _Optional[_Union[Order.State, str]] = ..., lines: _Optional[_Iterable[_Union[_events_pb2_1.OrderLine, _Mapping]]] = ..., total_minor: _Optional[int] = ..., currency: _Optional[str] = ..., email: _Optional[str] = ..., reason: _Optional[str] = ..., cursor: _Optional[int] = ...) -> None: ...

class PlaceOrderRequest(_message.Message):
    __slots__ = ("request_id", "lines", "email", "card_token")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    LINES_FIELD_NUMBER: _ClassVar[int]
    EMAIL_FIELD_NUMBER: _ClassVar[int]
    CARD_TOKEN_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    lines: _containers.RepeatedCompositeFieldContainer[WantedLine]
    email: str
    card_token: str
    def __init__(self, request_id: _Optional[str] = ..., lines: _Optional[_Iterable[_Union[WantedLine, _Mapping]]] = ..., email: _Optional[str] = ..., card_token: _Optional[str] = ...) -> None: ...

class WantedLine(_message.Message):
    __slots__ = ("product", "quantity")
    PRODUCT_FIELD_NUMBER: _ClassVar[int]
    QUANTITY_FIELD_NUMBER: _ClassVar[int]
    product: str
    quantity: int
    def __init__(self, product: _Optional[str] = ..., quantity: _Optional[int] = ...) -> None: ...

class GetOrderRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class ListOrdersRequest(_message.Message):
    __slots__ = ("page_size", "page_token")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListOrdersResponse(_message.Message):
    __slots__ = ("orders", "next_page_token")
    ORDERS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    orders: _containers.RepeatedCompositeFieldContainer[OrderSummary]
    next_page_token: str
    def __init__(self, orders: _Optional[_Iterable[_Union[OrderSummary, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class OrderSummary(_message.Message):
    __slots__ = ("name", "state", "total_minor", "currency")
    NAME_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    TOTAL_MINOR_FIELD_NUMBER: _ClassVar[int]
    CURRENCY_FIELD_NUMBER: _ClassVar[int]
    name: str
    state: Order.State
    total_minor: int
    currency: str
    def __init__(self, name: _Optional[str] = ..., state: _Optional[_Union[Order.State, str]] = ..., total_minor: _Optional[int] = ..., currency: _Optional[str] = ...) -> None: ...

class ListBestsellersRequest(_message.Message):
    __slots__ = ("page_size",)
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    def __init__(self, page_size: _Optional[int] = ...) -> None: ...

class ListBestsellersResponse(_message.Message):
    __slots__ = ("products",)
    PRODUCTS_FIELD_NUMBER: _ClassVar[int]
    products: _containers.RepeatedCompositeFieldContainer[Bestseller]
    def __init__(self, products: _Optional[_Iterable[_Union[Bestseller, _Mapping]]] = ...) -> None: ...

class Bestseller(_message.Message):
    __slots__ = ("product", "units", "orders")
    PRODUCT_FIELD_NUMBER: _ClassVar[int]
    UNITS_FIELD_NUMBER: _ClassVar[int]
    ORDERS_FIELD_NUMBER: _ClassVar[int]
    product: str
    units: int
    orders: int
    def __init__(self, product: _Optional[str] = ..., units: _Optional[int] = ..., orders: _Optional[int] = ...) -> None: ...

class CancelOrderRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class GetOrderHistoryRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class OrderHistory(_message.Message):
    __slots__ = ("entries",)
    class Entry(_message.Message):
        __slots__ = ("version", "event", "time", "state")
        VERSION_FIELD_NUMBER: _ClassVar[int]
        EVENT_FIELD_NUMBER: _ClassVar[int]
        TIME_FIELD_NUMBER: _ClassVar[int]
        STATE_FIELD_NUMBER: _ClassVar[int]
        version: int
        event: str
        time: str
        state: Order.State
        def __init__(self, version: _Optional[int] = ..., event: _Optional[str] = ..., time: _Optional[str] = ..., state: _Optional[_Union[Order.State, str]] = ...) -> None: ...
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    entries: _containers.RepeatedCompositeFieldContainer[OrderHistory.Entry]
    def __init__(self, entries: _Optional[_Iterable[_Union[OrderHistory.Entry, _Mapping]]] = ...) -> None: ...

class WatchOrderRequest(_message.Message):
    __slots__ = ("name", "cursor")
    NAME_FIELD_NUMBER: _ClassVar[int]
    CURSOR_FIELD_NUMBER: _ClassVar[int]
    name: str
    cursor: int
    def __init__(self, name: _Optional[str] = ..., cursor: _Optional[int] = ...) -> None: ...
