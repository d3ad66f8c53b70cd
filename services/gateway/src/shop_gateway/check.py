"""`helm test`: one order through a shop that is deployed, and its trace in Jaeger.

`EDGE_URL` is required; `MAIL_URL` and `JAEGER_URL` are looked at if they are given.
"""

import asyncio
import os
from typing import Any

import httpx

from shop_gateway.demo import demo

SERVICES = {"gateway", "catalog", "orders", "inventory", "payments", "fulfilment", "notifications"}
PATIENCE = 60.0
"""Seconds until the trace is complete: spans are exported in batches."""


async def check() -> None:
    trace = await demo(os.environ["EDGE_URL"], os.environ.get("MAIL_URL"))
    jaeger = os.environ.get("JAEGER_URL")
    if jaeger:
        print(f"trace    {trace}: {await _complete(jaeger, trace)} spans of {len(SERVICES)} services, all connected")


async def _complete(jaeger: str, trace: str) -> int:
    """How many spans the trace has, when every service is in it and every span has its parent."""
    missing = "nothing"
    async with httpx.AsyncClient(base_url=jaeger, timeout=10) as client:
        try:
            async with asyncio.timeout(PATIENCE):
                while True:
                    found = await client.get(f"/api/traces/{trace}")
                    spans = found.json()["data"][0] if found.status_code == httpx.codes.OK else {}
                    missing = _missing(spans)
                    if not missing:
                        return len(spans["spans"])
                    await asyncio.sleep(0.5)
        except TimeoutError:
            raise SystemExit(f"The trace {trace} is not complete after {PATIENCE:g} s: {missing}.") from None


def _missing(trace: dict[str, Any]) -> str:
    absent = SERVICES - {process["serviceName"] for process in trace.get("processes", {}).values()}
    if absent:
        return f"no span of {', '.join(sorted(absent))}"
    known = {span["spanID"] for span in trace["spans"]}
    parents = {reference["spanID"] for span in trace["spans"] for reference in span["references"]}
    return f"{len(parents - known)} spans without their parent" if parents - known else ""


if __name__ == "__main__":
    asyncio.run(check())
