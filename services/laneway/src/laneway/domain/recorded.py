"""An event as it stands in the log: what happened, and where and when."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from google.protobuf.message import Message

E_co = TypeVar("E_co", bound=Message, covariant=True)


@dataclass(frozen=True, slots=True)
class Recorded(Generic[E_co]):
    """An event of the log. `message` is of its newest version, whatever was written once.

    Attributes:
        stream: the stream's name, such as `order/7`.
        version: its place in the stream, from 1.
        recorded_at: seconds since the epoch, by the clock of the process that recorded it.
        metadata_text: what is known of its origin, such as its trace, as JSON.
    """

    message: E_co
    stream: str
    version: int
    event_id: str
    recorded_at: float
    metadata_text: str = "{}"

    @property
    def metadata(self) -> Mapping[str, str]:
        """What is known of its origin."""
        return json.loads(self.metadata_text)  # type: ignore[no-any-return]
