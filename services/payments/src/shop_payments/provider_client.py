"""The provider, as payments speaks with it."""

import os
from typing import Any

import httpx

from laneway.errors import FailedPrecondition, InvalidArgument, Unavailable

DECLINED = "CARD_DECLINED"


class Provider:
    """One HTTP client, made at the first call on the loop that calls."""

    def __init__(self, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._transport = transport
        self._client: httpx.AsyncClient | None = None

    async def post(self, path: str, key: str, body: dict[str, Any], *, timeout: float) -> dict[str, Any]:
        """Make something happen once for its key; the provider's answer.

        Raises:
            Unavailable: it did not answer, or failed.
            FailedPrecondition: it declines.
        """
        if self._client is None:
            url = os.environ.get("PROVIDER_URL", "http://127.0.0.1:8090")
            self._client = httpx.AsyncClient(base_url=url, transport=self._transport)
        try:
            answer = await self._client.post(path, json=body, headers={"Idempotency-Key": key}, timeout=timeout)
        except httpx.HTTPError as error:
            raise Unavailable(f"The payment provider does not answer: {type(error).__name__}.") from error
        if answer.status_code == 402:
            raise FailedPrecondition("The card was declined.", reason=DECLINED)
        if answer.status_code >= 500:
            raise Unavailable(f"The payment provider fails with {answer.status_code}.")
        if answer.is_error and not answer.headers.get("content-type", "").startswith("application/json"):
            # Not the provider's: something on the way to it answers while it cannot be reached.
            raise Unavailable(f"Something that is not the payment provider answers {answer.status_code}.")
        if answer.is_error:
            raise InvalidArgument(f"The payment provider refuses the request with {answer.status_code}.")
        result: dict[str, Any] = answer.json()
        return result
