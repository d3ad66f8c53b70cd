"""What a request says of its client's patience."""

from typing import Any

import pytest

from laneway.errors import DeadlineExceeded
from laneway.lanes.rest.incoming import Incoming
from laneway.lanes.rest.options import EdgeOptions


class Upload:
    """A request whose client waits for a second, and whose body takes some."""

    def __init__(self, seconds: float) -> None:
        self.now = 1_000.0
        self._seconds = seconds
        scope = {
            "method": "POST",
            "path": "/",
            "query_string": b"",
            "headers": [(b"content-length", b"2"), (b"x-request-timeout", b"1")],
        }
        self.request = Incoming(scope, self._receive, EdgeOptions(), clock=lambda: self.now)

    async def _receive(self) -> Any:
        self.now += self._seconds
        return {"type": "http.request", "body": b"{}"}


async def test_the_time_that_a_body_took_is_its_callers() -> None:
    upload = Upload(0.75)
    assert upload.request.timeout == 1.0
    await upload.request.body()
    assert upload.request.timeout == 0.25


async def test_a_call_whose_body_took_all_of_its_time_is_not_begun() -> None:
    upload = Upload(1.0)
    await upload.request.body()
    with pytest.raises(DeadlineExceeded, match="was not begun"):
        _ = upload.request.timeout
