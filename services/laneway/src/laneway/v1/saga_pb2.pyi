from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class SagaStarted(_message.Message):
    __slots__ = ("correlation",)
    CORRELATION_FIELD_NUMBER: _ClassVar[int]
    correlation: str
    def __init__(self, correlation: _Optional[str] = ...) -> None: ...

class SagaStepCompleted(_message.Message):
    __slots__ = ("step", "result")
    STEP_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    step: str
    result: str
    def __init__(self, step: _Optional[str] = ..., result: _Optional[str] = ...) -> None: ...

class SagaCompensating(_message.Message):
    __slots__ = ("reason", "failed_step")
    REASON_FIELD_NUMBER: _ClassVar[int]
    FAILED_STEP_FIELD_NUMBER: _ClassVar[int]
    reason: str
    failed_step: str
    def __init__(self, reason: _Optional[str] = ..., failed_step: _Optional[str] = ...) -> None: ...

class SagaStepCompensated(_message.Message):
    __slots__ = ("step",)
    STEP_FIELD_NUMBER: _ClassVar[int]
    step: str
    def __init__(self, step: _Optional[str] = ...) -> None: ...

class SagaEnded(_message.Message):
    __slots__ = ("outcome", "reason")
    class Outcome(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        OUTCOME_UNSPECIFIED: _ClassVar[SagaEnded.Outcome]
        COMPLETED: _ClassVar[SagaEnded.Outcome]
        COMPENSATED: _ClassVar[SagaEnded.Outcome]
    OUTCOME_UNSPECIFIED: SagaEnded.Outcome
    COMPLETED: SagaEnded.Outcome
    COMPENSATED: SagaEnded.Outcome
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    outcome: SagaEnded.Outcome
    reason: str
    def __init__(self, outcome: _Optional[_Union[SagaEnded.Outcome, str]] = ..., reason: _Optional[str] = ...) -> None: ...

class ResumeSagaRequest(_message.Message):
    __slots__ = ("stream",)
    STREAM_FIELD_NUMBER: _ClassVar[int]
    stream: str
    def __init__(self, stream: _Optional[str] = ...) -> None: ...

class ResumeSagaResponse(_message.Message):
    __slots__ = ("actions",)
    ACTIONS_FIELD_NUMBER: _ClassVar[int]
    actions: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, actions: _Optional[_Iterable[str]] = ...) -> None: ...
