"""The admin port tells of a loop that does not turn, of work that is not taken, and gives the metrics."""

import asyncio
import threading

import httpx
import pytest

from laneway.cli.up.ports import from_base, listener
from laneway.errors import ConfigurationError
from laneway.telemetry import admin
from laneway.telemetry.admin import Health, serve_admin


def nothing(_: str) -> tuple[bytes, str]:
    return b"", "text/plain"


async def get(port: int, path: str) -> httpx.Response:
    async with httpx.AsyncClient() as client:
        return await client.get(f"http://127.0.0.1:{port}{path}")


async def test_it_gives_metrics_and_what_the_process_says_of_itself() -> None:
    health = Health(asyncio.get_running_loop())
    with serve_admin(health, lambda accept: (b"laneway_x 1\n", accept), host="127.0.0.1", port=0) as port:
        metrics = await get(port, "/metrics")
        assert (metrics.text, metrics.headers["Content-Type"]) == ("laneway_x 1\n", "*/*")
        assert (await get(port, "/livez")).status_code == 200
        assert (await get(port, "/readyz")).status_code == 503
        health.begin()
        assert (await get(port, "/readyz")).status_code == 200
        health.end()
        assert (await get(port, "/readyz")).status_code == 503
        assert (await get(port, "/livez")).status_code == 200
        assert (await get(port, "/secrets")).status_code == 404


async def test_a_loop_that_is_blocked_is_not_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admin, "LOOP_PATIENCE", 0.2)
    other = asyncio.new_event_loop()
    go_on = threading.Event()
    other.call_soon(go_on.wait)
    thread = threading.Thread(target=other.run_forever)
    thread.start()
    try:
        with serve_admin(Health(other), nothing, host="127.0.0.1", port=0) as port:
            assert (await get(port, "/livez")).status_code == 503
            go_on.set()
            assert (await get(port, "/livez")).status_code == 200
    finally:
        go_on.set()
        other.call_soon_threadsafe(other.stop)
        thread.join()
        other.close()


async def test_a_taken_port_is_one_sentence() -> None:
    port = next(from_base(0))
    health = Health(asyncio.get_running_loop())
    with listener("127.0.0.1", port) as bound:
        bound.listen()
        with (
            pytest.raises(ConfigurationError, match="LANEWAY_ADMIN_PORT"),
            serve_admin(health, nothing, host="127.0.0.1", port=port),
        ):
            pass


async def test_a_process_that_is_ailing_says_why_it_is_not_alive() -> None:
    health, ailments = Health(asyncio.get_running_loop()), [None, "the broker has not answered for 31 s"]
    health.watch(lambda: ailments.pop())
    with serve_admin(health, nothing, host="127.0.0.1", port=0) as port:
        answer = await get(port, "/livez")
        assert (answer.status_code, answer.text) == (503, "the broker has not answered for 31 s\n")
        assert (await get(port, "/livez")).status_code == 200
