"""What of an error the public is told."""

from typing import Any

import pytest

from laneway.errors import (
    Cancelled,
    DataLoss,
    DeadlineExceeded,
    Internal,
    InvalidArgument,
    LanewayError,
    NotFound,
    Unavailable,
    Unknown,
)
from laneway.lanes.rest.errors import body_of, public
from laneway.lanes.status import status_of
from laneway.resilience.retry import mark_exhausted

FAILURES = [Unknown, Internal, DataLoss, Unavailable, DeadlineExceeded, Cancelled]
LIBRARYS = "connecting to 10.1.2.3:5432 failed"


@pytest.mark.parametrize("kind", FAILURES)
@pytest.mark.parametrize("is_exhausted", [False, True])
def test_a_failure_that_no_author_named_says_nothing_of_itself(kind: type[LanewayError], is_exhausted: bool) -> None:
    error = kind(LIBRARYS)
    if is_exhausted:
        mark_exhausted(error)
    _, body, _ = body_of(error)
    assert body["error"]["message"] not in ("", LIBRARYS)
    assert LIBRARYS not in str(body)
    assert public(status_of(error)).message == body["error"]["message"]


@pytest.mark.parametrize("kind", FAILURES)
def test_a_failure_with_a_reason_is_told_as_its_author_wrote_it(kind: type[LanewayError]) -> None:
    error: Any = kind("The printer is on fire.", reason="ON_FIRE")
    mark_exhausted(error)
    assert body_of(error)[1]["error"]["message"] == "The printer is on fire."


@pytest.mark.parametrize("kind", [NotFound, InvalidArgument])
def test_an_answer_in_the_negative_is_told_with_or_without_a_reason(kind: type[LanewayError]) -> None:
    assert body_of(kind("There is no such book."))[1]["error"]["message"] == "There is no such book."


@pytest.mark.parametrize(
    ("error", "after"), [(Unavailable("x"), "1"), (Unavailable("x", retry_after=2.5), "3"), (NotFound("x"), None)]
)
def test_who_may_come_again_is_told_when(error: LanewayError, after: str | None) -> None:
    assert body_of(error)[2].get("Retry-After") == after
