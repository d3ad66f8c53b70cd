import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from laneway.v1 import call_pb2 as _call_pb2
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Lane(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    LANE_UNSPECIFIED: _ClassVar[Lane]
    REST: _ClassVar[Lane]
    GRPC: _ClassVar[Lane]
    QUEUE: _ClassVar[Lane]
    EVENT: _ClassVar[Lane]
LANE_UNSPECIFIED: Lane
REST: Lane
GRPC: Lane
QUEUE: Lane
EVENT: Lane

class AskRequest(_message.Message):
    __slots__ = ("request_id", "lane", "run", "asked_at", "takes", "text")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    LANE_FIELD_NUMBER: _ClassVar[int]
    RUN_FIELD_NUMBER: _ClassVar[int]
    ASKED_AT_FIELD_NUMBER: _ClassVar[int]
    TAKES_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    lane: Lane
    run: str
    asked_at: float
    takes: _duration_pb2.Duration
    text: str
    def __init__(self, request_id: _Optional[str] = ..., lane: _Optional[_Union[Lane, str]] = ..., run: _Optional[str] = ..., asked_at: _Optional[float] = ..., takes: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., text: _Optional[str] = ...) -> None: ...

class AskReply(_message.Message):
    __slots__ = ("noticed", "retry_after")
    NOTICED_FIELD_NUMBER: _ClassVar[int]
    RETRY_AFTER_FIELD_NUMBER: _ClassVar[int]
    noticed: str
    retry_after: float
    def __init__(self, noticed: _Optional[str] = ..., retry_after: _Optional[float] = ...) -> None: ...
