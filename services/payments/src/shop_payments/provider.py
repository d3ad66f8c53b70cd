"""The payment provider: somebody else's service, for the laptop. It can be told to misbehave.

`PUT /faults {"mode": "ok"}`: ok, slow (2 s), error (500), hang, flaky (every other fails after the effect), down (503).
`GET /ledger`: what happened to the money. Keys are honoured: a repeated request changes nothing.
"""

import asyncio
import os
import uuid
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

MODES = ("ok", "slow", "error", "hang", "flaky", "down")


@dataclass
class Ledger:
    """The provider's books: authorizations by id, and each key's answer."""

    mode: str = "ok"
    calls: int = 0
    authorizations: dict[str, dict[str, Any]] = field(default_factory=dict)
    answers: dict[str, tuple[int, dict[str, Any]]] = field(default_factory=dict)

    def authorize(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if body.get("card") == "declined":
            return 402, {"error": "declined"}
        id = uuid.uuid4().hex
        self.authorizations[id] = {"id": id, "amount": body["amount"], "captured": 0, "refunded": 0, "open": True}
        return 200, {"id": id}

    def capture(self, id: str) -> tuple[int, dict[str, Any]]:
        entry = self.authorizations[id]
        if not entry["open"]:
            return 409, {"error": "closed"}
        entry["captured"] += entry["amount"]
        return 200, {"id": id}

    def refund(self, id: str) -> tuple[int, dict[str, Any]]:
        entry = self.authorizations[id]
        entry["refunded"], entry["open"] = entry["captured"], False
        return 200, {"id": id}


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
            await asyncio.sleep(3600)
        if ledger.mode == "slow":
            await asyncio.sleep(2)
        if key not in ledger.answers:
            id, action = request.path_params.get("id"), request.path_params.get("action")
            if id is None:
                ledger.answers[key] = ledger.authorize(await request.json())
            elif id not in ledger.authorizations or action not in ("capture", "refund"):
                return JSONResponse({"error": "unknown"}, 404)
            else:
                ledger.answers[key] = ledger.capture(id) if action == "capture" else ledger.refund(id)
        if ledger.mode == "flaky" and ledger.calls % 2:
            return JSONResponse({"error": "lost on the way back"}, 502)
        status, answer = ledger.answers[key]
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


def main() -> None:
    """Serve on `HOST` and `PORT`."""
    host, port = os.environ.get("HOST", "127.0.0.1"), int(os.environ.get("PORT", "8090"))
    uvicorn.run(provider_app(Ledger()), host=host, port=port, log_level="warning", timeout_graceful_shutdown=1)
