import datetime

from google.protobuf import descriptor_pb2 as _descriptor_pb2
from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor
CALL_FIELD_NUMBER: _ClassVar[int]
call: _descriptor.FieldDescriptor
SERVICE_DEFAULTS_FIELD_NUMBER: _ClassVar[int]
service_defaults: _descriptor.FieldDescriptor
FILE_DEFAULTS_FIELD_NUMBER: _ClassVar[int]
file_defaults: _descriptor.FieldDescriptor
EVENT_FIELD_NUMBER: _ClassVar[int]
event: _descriptor.FieldDescriptor

class CallPolicy(_message.Message):
    __slots__ = ("deadline", "idempotency", "retry", "breaker", "queue", "subscribe", "errors", "group", "limit", "attempt_timeout", "fallback", "max_deadline", "idle_timeout", "calls")
    DEADLINE_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_FIELD_NUMBER: _ClassVar[int]
    RETRY_FIELD_NUMBER: _ClassVar[int]
    BREAKER_FIELD_NUMBER: _ClassVar[int]
    QUEUE_FIELD_NUMBER: _ClassVar[int]
    SUBSCRIBE_FIELD_NUMBER: _ClassVar[int]
    ERRORS_FIELD_NUMBER: _ClassVar[int]
    GROUP_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    FALLBACK_FIELD_NUMBER: _ClassVar[int]
    MAX_DEADLINE_FIELD_NUMBER: _ClassVar[int]
    IDLE_TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    CALLS_FIELD_NUMBER: _ClassVar[int]
    deadline: _duration_pb2.Duration
    idempotency: Idempotency
    retry: Retry
    breaker: Breaker
    queue: Queue
    subscribe: Subscribe
    errors: _containers.RepeatedScalarFieldContainer[str]
    group: str
    limit: Limit
    attempt_timeout: _duration_pb2.Duration
    fallback: Fallback
    max_deadline: _duration_pb2.Duration
    idle_timeout: _duration_pb2.Duration
    calls: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, deadline: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., idempotency: _Optional[_Union[Idempotency, _Mapping]] = ..., retry: _Optional[_Union[Retry, _Mapping]] = ..., breaker: _Optional[_Union[Breaker, _Mapping]] = ..., queue: _Optional[_Union[Queue, _Mapping]] = ..., subscribe: _Optional[_Union[Subscribe, _Mapping]] = ..., errors: _Optional[_Iterable[str]] = ..., group: _Optional[str] = ..., limit: _Optional[_Union[Limit, _Mapping]] = ..., attempt_timeout: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., fallback: _Optional[_Union[Fallback, _Mapping]] = ..., max_deadline: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., idle_timeout: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., calls: _Optional[_Iterable[str]] = ...) -> None: ...

class Idempotency(_message.Message):
    __slots__ = ("key", "keep", "required", "exclusive", "lease", "max_reply_bytes")
    KEY_FIELD_NUMBER: _ClassVar[int]
    KEEP_FIELD_NUMBER: _ClassVar[int]
    REQUIRED_FIELD_NUMBER: _ClassVar[int]
    EXCLUSIVE_FIELD_NUMBER: _ClassVar[int]
    LEASE_FIELD_NUMBER: _ClassVar[int]
    MAX_REPLY_BYTES_FIELD_NUMBER: _ClassVar[int]
    key: str
    keep: _duration_pb2.Duration
    required: bool
    exclusive: bool
    lease: _duration_pb2.Duration
    max_reply_bytes: int
    def __init__(self, key: _Optional[str] = ..., keep: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., required: _Optional[bool] = ..., exclusive: _Optional[bool] = ..., lease: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., max_reply_bytes: _Optional[int] = ...) -> None: ...

class Retry(_message.Message):
    __slots__ = ("max_attempts", "initial_backoff", "max_backoff", "budget")
    MAX_ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    INITIAL_BACKOFF_FIELD_NUMBER: _ClassVar[int]
    MAX_BACKOFF_FIELD_NUMBER: _ClassVar[int]
    BUDGET_FIELD_NUMBER: _ClassVar[int]
    max_attempts: int
    initial_backoff: _duration_pb2.Duration
    max_backoff: _duration_pb2.Duration
    budget: float
    def __init__(self, max_attempts: _Optional[int] = ..., initial_backoff: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., max_backoff: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., budget: _Optional[float] = ...) -> None: ...

class Fallback(_message.Message):
    __slots__ = ("last_good", "queue", "reserve")
    LAST_GOOD_FIELD_NUMBER: _ClassVar[int]
    QUEUE_FIELD_NUMBER: _ClassVar[int]
    RESERVE_FIELD_NUMBER: _ClassVar[int]
    last_good: _duration_pb2.Duration
    queue: bool
    reserve: _duration_pb2.Duration
    def __init__(self, last_good: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., queue: _Optional[bool] = ..., reserve: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class Limit(_message.Message):
    __slots__ = ("max_concurrent", "max_waiting")
    MAX_CONCURRENT_FIELD_NUMBER: _ClassVar[int]
    MAX_WAITING_FIELD_NUMBER: _ClassVar[int]
    max_concurrent: int
    max_waiting: int
    def __init__(self, max_concurrent: _Optional[int] = ..., max_waiting: _Optional[int] = ...) -> None: ...

class Breaker(_message.Message):
    __slots__ = ("failure_rate", "minimum_calls", "window", "consecutive_failures", "open_time", "half_open_calls", "window_time", "slow_call_rate", "slow_call_duration", "mode")
    class Mode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        MODE_UNSPECIFIED: _ClassVar[Breaker.Mode]
        AUTOMATIC: _ClassVar[Breaker.Mode]
        FORCED_OPEN: _ClassVar[Breaker.Mode]
        FORCED_CLOSED: _ClassVar[Breaker.Mode]
        OBSERVE_ONLY: _ClassVar[Breaker.Mode]
    MODE_UNSPECIFIED: Breaker.Mode
    AUTOMATIC: Breaker.Mode
    FORCED_OPEN: Breaker.Mode
    FORCED_CLOSED: Breaker.Mode
    OBSERVE_ONLY: Breaker.Mode
    FAILURE_RATE_FIELD_NUMBER: _ClassVar[int]
    MINIMUM_CALLS_FIELD_NUMBER: _ClassVar[int]
    WINDOW_FIELD_NUMBER: _ClassVar[int]
    CONSECUTIVE_FAILURES_FIELD_NUMBER: _ClassVar[int]
    OPEN_TIME_FIELD_NUMBER: _ClassVar[int]
    HALF_OPEN_CALLS_FIELD_NUMBER: _ClassVar[int]
    WINDOW_TIME_FIELD_NUMBER: _ClassVar[int]
    SLOW_CALL_RATE_FIELD_NUMBER: _ClassVar[int]
    SLOW_CALL_DURATION_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    failure_rate: float
    minimum_calls: int
    window: int
    consecutive_failures: int
    open_time: _duration_pb2.Duration
    half_open_calls: int
    window_time: _duration_pb2.Duration
    slow_call_rate: float
    slow_call_duration: _duration_pb2.Duration
    mode: Breaker.Mode
    def __init__(self, failure_rate: _Optional[float] = ..., minimum_calls: _Optional[int] = ..., window: _Optional[int] = ..., consecutive_failures: _Optional[int] = ..., open_time: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., half_open_calls: _Optional[int] = ..., window_time: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., slow_call_rate: _Optional[float] = ..., slow_call_duration: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., mode: _Optional[_Union[Breaker.Mode, str]] = ...) -> None: ...

class Queue(_message.Message):
    __slots__ = ("use", "name", "start_within", "run_timeout", "max_attempts", "initial_backoff", "max_backoff", "priority", "schedule", "order_by", "cpu_bound")
    class Use(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        USE_UNSPECIFIED: _ClassVar[Queue.Use]
        ALLOWED: _ClassVar[Queue.Use]
        ONLY: _ClassVar[Queue.Use]
    USE_UNSPECIFIED: Queue.Use
    ALLOWED: Queue.Use
    ONLY: Queue.Use
    class Priority(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        PRIORITY_UNSPECIFIED: _ClassVar[Queue.Priority]
        HIGH: _ClassVar[Queue.Priority]
        NORMAL: _ClassVar[Queue.Priority]
        LOW: _ClassVar[Queue.Priority]
    PRIORITY_UNSPECIFIED: Queue.Priority
    HIGH: Queue.Priority
    NORMAL: Queue.Priority
    LOW: Queue.Priority
    USE_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    START_WITHIN_FIELD_NUMBER: _ClassVar[int]
    RUN_TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    MAX_ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    INITIAL_BACKOFF_FIELD_NUMBER: _ClassVar[int]
    MAX_BACKOFF_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    SCHEDULE_FIELD_NUMBER: _ClassVar[int]
    ORDER_BY_FIELD_NUMBER: _ClassVar[int]
    CPU_BOUND_FIELD_NUMBER: _ClassVar[int]
    use: Queue.Use
    name: str
    start_within: _duration_pb2.Duration
    run_timeout: _duration_pb2.Duration
    max_attempts: int
    initial_backoff: _duration_pb2.Duration
    max_backoff: _duration_pb2.Duration
    priority: Queue.Priority
    schedule: Schedule
    order_by: str
    cpu_bound: bool
    def __init__(self, use: _Optional[_Union[Queue.Use, str]] = ..., name: _Optional[str] = ..., start_within: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., run_timeout: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., max_attempts: _Optional[int] = ..., initial_backoff: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., max_backoff: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., priority: _Optional[_Union[Queue.Priority, str]] = ..., schedule: _Optional[_Union[Schedule, _Mapping]] = ..., order_by: _Optional[str] = ..., cpu_bound: _Optional[bool] = ...) -> None: ...

class Schedule(_message.Message):
    __slots__ = ("cron", "timezone", "missed")
    class Missed(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        MISSED_UNSPECIFIED: _ClassVar[Schedule.Missed]
        ONCE: _ClassVar[Schedule.Missed]
        EACH: _ClassVar[Schedule.Missed]
    MISSED_UNSPECIFIED: Schedule.Missed
    ONCE: Schedule.Missed
    EACH: Schedule.Missed
    CRON_FIELD_NUMBER: _ClassVar[int]
    TIMEZONE_FIELD_NUMBER: _ClassVar[int]
    MISSED_FIELD_NUMBER: _ClassVar[int]
    cron: str
    timezone: str
    missed: Schedule.Missed
    def __init__(self, cron: _Optional[str] = ..., timezone: _Optional[str] = ..., missed: _Optional[_Union[Schedule.Missed, str]] = ...) -> None: ...

class Subscribe(_message.Message):
    __slots__ = ("queue", "from_start", "run_timeout", "max_attempts", "initial_backoff", "max_backoff", "order_by", "cpu_bound")
    QUEUE_FIELD_NUMBER: _ClassVar[int]
    FROM_START_FIELD_NUMBER: _ClassVar[int]
    RUN_TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    MAX_ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    INITIAL_BACKOFF_FIELD_NUMBER: _ClassVar[int]
    MAX_BACKOFF_FIELD_NUMBER: _ClassVar[int]
    ORDER_BY_FIELD_NUMBER: _ClassVar[int]
    CPU_BOUND_FIELD_NUMBER: _ClassVar[int]
    queue: str
    from_start: bool
    run_timeout: _duration_pb2.Duration
    max_attempts: int
    initial_backoff: _duration_pb2.Duration
    max_backoff: _duration_pb2.Duration
    order_by: str
    cpu_bound: bool
    def __init__(self, queue: _Optional[str] = ..., from_start: _Optional[bool] = ..., run_timeout: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., max_attempts: _Optional[int] = ..., initial_backoff: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., max_backoff: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., order_by: _Optional[str] = ..., cpu_bound: _Optional[bool] = ...) -> None: ...

class Event(_message.Message):
    __slots__ = ("published",)
    PUBLISHED_FIELD_NUMBER: _ClassVar[int]
    published: bool
    def __init__(self, published: _Optional[bool] = ...) -> None: ...
