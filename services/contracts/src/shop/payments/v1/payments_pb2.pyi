from buf.validate import validate_pb2 as _validate_pb2
from laneway.v1 import call_pb2 as _call_pb2
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Payment(_message.Message):
    __slots__ = ("order", "state", "amount_minor", "currency", "authorization")
    class State(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        STATE_UNSPECIFIED: _ClassVar[Payment.State]
        AUTHORIZED: _ClassVar[Payment.State]
        DECLINED: _ClassVar[Payment.State]
        CAPTURED: _ClassVar[Payment.State]
        REFUNDED: _ClassVar[Payment.State]
    STATE_UNSPECIFIED: Payment.State
    AUTHORIZED: Payment.State
    DECLINED: Payment.State
    CAPTURED: Payment.State
    REFUNDED: Payment.State
    ORDER_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_MINOR_FIELD_NUMBER: _ClassVar[int]
    CURRENCY_FIELD_NUMBER: _ClassVar[int]
    AUTHORIZATION_FIELD_NUMBER: _ClassVar[int]
    order: str
    state: Payment.State
    amount_minor: int
    currency: str
    authorization: str
    def __init__(self, order: _Optional[str] = ..., state: _Optional[_Union[Payment.State, str]] = ..., amount_minor: _Optional[int] = ..., currency: _Optional[str] = ..., authorization: _Optional[str] = ...) -> None: ...

class AuthorizeRequest(_message.Message):
    __slots__ = ("request_id", "order", "amount_minor", "currency", "card_token")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    ORDER_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_MINOR_FIELD_NUMBER: _ClassVar[int]
    CURRENCY_FIELD_NUMBER: _ClassVar[int]
    CARD_TOKEN_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    order: str
    amount_minor: int
    currency: str
    card_token: str
    def __init__(self, request_id: _Optional[str] = ..., order: _Optional[str] = ..., amount_minor: _Optional[int] = ..., currency: _Optional[str] = ..., card_token: _Optional[str] = ...) -> None: ...

class CaptureRequest(_message.Message):
    __slots__ = ("request_id", "order")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    ORDER_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    order: str
    def __init__(self, request_id: _Optional[str] = ..., order: _Optional[str] = ...) -> None: ...

class RefundRequest(_message.Message):
    __slots__ = ("request_id", "order")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    ORDER_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    order: str
    def __init__(self, request_id: _Optional[str] = ..., order: _Optional[str] = ...) -> None: ...
