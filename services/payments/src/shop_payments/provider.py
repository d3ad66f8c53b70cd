"""The payment provider: somebody else's service, for the laptop. It can be told to misbehave.

`PUT /faults {"mode": "ok"}`: ok, slow (2 s), error (500), hang, flaky (every other fails after the effect), down (503).
`GET /ledger`: what happened to the money. Keys are honoured: a repeated request changes nothing.
"""

import asyncio
import json
import os
import uuid
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

MODES = ("ok", "slow", "error", "hang", "flaky", "down")


@dataclass
class Ledger:
    """The provider's books: authorizations by id, and each key's answer. With a `file`, a restart forgets nothing."""

    file: Path | None = None
    mode: str = "ok"
    calls: int = 0
    authorizations: dict[str, dict[str, Any]] = field(default_factory=dict)
    answers: dict[str, tuple[int, dict[str, Any]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.file is not None and self.file.exists():
            for line in self.file.read_text().splitlines():
                self._take(*json.loads(line))

    def answer(self, key: str, id: str | None, action: str | None, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Move the money that a request asks for, once for its key."""
        if key in self.answers:
            return self.answers[key]
        if id is None:
            status, answer, entry = _authorized(body)
        elif id not in self.authorizations or action not in ("capture", "refund"):
            return 404, {"error": "unknown"}
        else:
            change = _captured if action == "capture" else _refunded
            status, answer, entry = change(self.authorizations[id])
        if self.file is not None:
            with self.file.open("a") as books:
                books.write(json.dumps([key, status, answer, entry]) + "\n")
        self._take(key, status, answer, entry)
        return self.answers[key]

    def _take(self, key: str, status: int, answer: dict[str, Any], entry: dict[str, Any] | None) -> None:
        self.answers[key] = status, answer
        if entry is not None:
            self.authorizations[entry["id"]] = entry


Change = tuple[int, dict[str, Any], dict[str, Any] | None]
"""The status and the body of an answer, and the authorization as it is from then on."""


def _authorized(body: dict[str, Any]) -> Change:
    if body.get("card") == "declined":
        return 402, {"error": "declined"}, None
    id = uuid.uuid4().hex
    return 200, {"id": id}, {"id": id, "amount": body["amount"], "captured": 0, "refunded": 0, "open": True}


def _captured(entry: dict[str, Any]) -> Change:
    if not entry["open"]:
        return 409, {"error": "closed"}, entry
    return 200, {"id": entry["id"]}, {**entry, "captured": entry["captured"] + entry["amount"]}


def _refunded(entry: dict[str, Any]) -> Change:
    return 200, {"id": entry["id"]}, {**entry, "refunded": entry["captured"], "open": False}


def provider_app(ledger: Ledger) -> Starlette:
    """The provider's HTTP interface."""

    async def act(request: Request) -> Response:
        key = request.headers.get("Idempotency-Key")
        if key is None:
            return JSONResponse({"error": "Idempotency-Key missing"}, 400)
        ledger.calls += 1
        if ledger.mode == "down":
            return JSONResponse({"error": "down"}, 503)
        if ledger.mode == "error":
            return JSONResponse({"error": "broken"}, 500)
        if ledger.mode == "hang":
            return await _no_answer(request)
        if ledger.mode == "slow":
            await asyncio.sleep(2)
        id, action = request.path_params.get("id"), request.path_params.get("action")
        status, answer = ledger.answer(key, id, action, {} if id else await request.json())
        if ledger.mode == "flaky" and ledger.calls % 2:
            return JSONResponse({"error": "lost on the way back"}, 502)
        return JSONResponse(answer, status)

    async def faults(request: Request) -> Response:
        mode = (await request.json()).get("mode")
        if mode not in MODES:
            return JSONResponse({"error": f"mode is one of {', '.join(MODES)}"}, 400)
        ledger.mode = mode
        return JSONResponse({"mode": mode})

    async def books(_: Request) -> Response:
        return JSONResponse({"mode": ledger.mode, "authorizations": list(ledger.authorizations.values())})

    return Starlette(
        routes=[
            Route("/authorizations", act, methods=["POST"]),
            Route("/authorizations/{id}/{action}", act, methods=["POST"]),
            Route("/faults", faults, methods=["PUT"]),
            Route("/ledger", books),
        ]
    )


async def _no_answer(request: Request) -> Response:
    """Wait until the caller goes away, or this server stops."""
    with suppress(asyncio.CancelledError):  # so does the server end what runs when it stops
        while (await request.receive())["type"] != "http.disconnect":
            pass
    return Response(status_code=503)


def main() -> None:
    """Serve on `HOST` and `PORT`, with the books in the folder `DATA`."""
    host, port = os.environ.get("HOST", "127.0.0.1"), int(os.environ.get("PORT", "8090"))
    data = os.environ.get("DATA")
    ledger = Ledger(Path(data) / "ledger.jsonl" if data else None)
    uvicorn.run(provider_app(ledger), host=host, port=port, log_level="warning", timeout_graceful_shutdown=1)
