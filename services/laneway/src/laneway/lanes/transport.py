"""The seam between a client's policy and the wire."""

from collections.abc import AsyncIterable, AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from google.protobuf.message import Message

from laneway.contract.model import Method


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a callee said: its message, and how it came by it.

    `operation` names what became of a call that was queued instead; its message is empty. `headers` are those of
    `laneway.telemetry.names.ANSWER_HEADERS`.
    """

    message: Message
    replayed: bool = False
    degraded: str | None = None
    operation: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


class Transport(Protocol):
    """Carries one attempt. Errors of the callee and of the wire come as `LanewayError`."""

    async def unary(
        self, method: Method, request: Message, headers: Mapping[str, str], timeout: float | None
    ) -> Answer: ...

    def stream(
        self,
        method: Method,
        requests: Message | AsyncIterable[Message],
        headers: Mapping[str, str],
        timeout: float | None,
    ) -> AsyncIterator[Message]: ...

    async def close(self) -> None: ...
