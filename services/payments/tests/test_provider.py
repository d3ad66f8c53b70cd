"""The unreliable provider, and our way with it."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from laneway.errors import FailedPrecondition, Unavailable
from shop_payments.provider import MODES, Ledger, provider_app
from shop_payments.provider_client import Provider

VISA = {"amount": 5, "currency": "EUR", "card": "visa"}


@pytest.fixture
def ledger() -> Ledger:
    return Ledger()


@pytest.fixture
def transport(ledger: Ledger) -> httpx.ASGITransport:
    return httpx.ASGITransport(provider_app(ledger))


@pytest.fixture
def provider(transport: httpx.ASGITransport) -> Provider:
    return Provider(transport)


async def test_a_repeated_key_changes_nothing(provider: Provider, ledger: Ledger) -> None:
    first, again = [await provider.post("/authorizations", "k", VISA, timeout=1) for _ in range(2)]
    assert first == again
    assert len(ledger.authorizations) == 1


async def test_a_capture_happens_once(provider: Provider, ledger: Ledger) -> None:
    id = (await provider.post("/authorizations", "k", VISA, timeout=1))["id"]
    for _ in range(2):
        await provider.post(f"/authorizations/{id}/capture", "c", {}, timeout=1)
    assert ledger.authorizations[id]["captured"] == 5


async def test_a_refund_gives_back_what_was_captured(provider: Provider, ledger: Ledger) -> None:
    id = (await provider.post("/authorizations", "k", VISA, timeout=1))["id"]
    await provider.post(f"/authorizations/{id}/capture", "c", {}, timeout=1)
    await provider.post(f"/authorizations/{id}/refund", "r", {}, timeout=1)
    entry = ledger.authorizations[id]
    assert (entry["captured"], entry["refunded"], entry["open"]) == (5, 5, False)


async def test_a_declined_card_is_an_answer(provider: Provider) -> None:
    with pytest.raises(FailedPrecondition) as declined:
        await provider.post("/authorizations", "k", {**VISA, "card": "declined"}, timeout=1)
    assert declined.value.reason == "CARD_DECLINED"


@pytest.mark.parametrize("mode", ["error", "down"])
async def test_a_failing_provider_is_unavailable_and_did_nothing(provider: Provider, ledger: Ledger, mode: str) -> None:
    ledger.mode = mode
    with pytest.raises(Unavailable):
        await provider.post("/authorizations", "k", VISA, timeout=1)
    assert ledger.authorizations == {}


async def test_a_flaky_provider_may_have_done_it_and_the_key_finds_out(provider: Provider, ledger: Ledger) -> None:
    ledger.mode = "flaky"
    with pytest.raises(Unavailable):
        await provider.post("/authorizations", "k", VISA, timeout=1)
    await provider.post("/authorizations", "k", VISA, timeout=1)
    assert len(ledger.authorizations) == 1


async def test_a_provider_that_cannot_be_reached_is_unavailable() -> None:
    def unreachable(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    with pytest.raises(Unavailable, match="ConnectError"):
        await Provider(httpx.MockTransport(unreachable)).post("/authorizations", "k", VISA, timeout=1)


async def test_faults_are_switched_by_name(transport: httpx.ASGITransport, ledger: Ledger) -> None:
    async with httpx.AsyncClient(transport=transport, base_url="http://provider") as client:
        for mode in MODES:
            assert (await client.put("/faults", json={"mode": mode})).json() == {"mode": mode}
        assert ledger.mode == MODES[-1]
        assert (await client.put("/faults", json={"mode": "broken"})).status_code == 400


async def test_a_request_without_a_key_is_refused(transport: httpx.ASGITransport) -> None:
    async with httpx.AsyncClient(transport=transport, base_url="http://provider") as client:
        assert (await client.post("/authorizations", json=VISA)).status_code == 400


def test_a_provider_that_hangs_ends_without_a_word_of_alarm(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        place = ("127.0.0.1", free.getsockname()[1])
    provider = subprocess.Popen(
        [sys.executable, "-c", "from shop_payments.provider import main; main()"],
        env={**os.environ, "PORT": str(place[1]), "DATA": str(tmp_path)},
        stderr=subprocess.PIPE,
        text=True,
    )
    with httpx.Client(base_url=f"http://127.0.0.1:{place[1]}", transport=httpx.HTTPTransport(retries=20)) as client:
        client.put("/faults", json={"mode": "hang"})
        with socket.create_connection(place) as waiting:
            waiting.sendall(b"POST /authorizations HTTP/1.1\r\nHost: p\r\nIdempotency-Key: k\r\n\r\n")
            assert client.get("/ledger").json()["mode"] == "hang"
            provider.send_signal(signal.SIGINT)
            _, said = provider.communicate(timeout=60)
    assert "Traceback" not in said


async def test_a_restart_of_the_provider_forgets_nothing(tmp_path: Path) -> None:
    def restarted() -> Provider:
        return Provider(httpx.ASGITransport(provider_app(Ledger(tmp_path / "ledger.jsonl"))))

    id = (await restarted().post("/authorizations", "k", VISA, timeout=1))["id"]
    await restarted().post(f"/authorizations/{id}/capture", "c", {}, timeout=1)
    assert (await restarted().post("/authorizations", "k", VISA, timeout=1))["id"] == id
    assert Ledger(tmp_path / "ledger.jsonl").authorizations[id]["captured"] == 5


async def test_an_error_that_is_not_the_providers_own_is_no_answer_of_it() -> None:
    in_between = httpx.MockTransport(lambda _: httpx.Response(404))
    with pytest.raises(Unavailable, match="not the payment provider"):
        await Provider(in_between).post("/authorizations", "k", VISA, timeout=1)
