"""`laneway load` comes at its rate, and tells what became of each second's calls."""

import asyncio
import json
from pathlib import Path

import pytest

from laneway.cli.load import UNPROTECTED, WAITING, Load, Outcome, Second, _mirror, _tell, surroundings
from laneway.contract.layers import built_in
from laneway.contract.policy import BreakerMode
from laneway.contract.tuning import Layers
from laneway.lanes.everywhere import GET_OPERATION
from tests.fixtures.shelf import Clock


async def test_callers_come_whether_or_not_those_before_them_were_answered(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("laneway.cli.load.LATE", 0.2)
    arrived, all_here = 0, asyncio.Event()

    async def call() -> str:
        nonlocal arrived
        arrived += 1
        if arrived == 20:
            all_here.set()
        await all_here.wait()
        return "degraded" if arrived % 2 else "ok"

    load = Load(call, rate=20, seconds=1)
    async with asyncio.timeout(30):
        await asyncio.gather(load.run(), _tell([load], 1, as_json=True))
    told = json.loads(capsys.readouterr().out)
    assert told["second"] == 1
    assert sum(told["protected"][fact] for fact in (*(outcome.value for outcome in Outcome), WAITING)) == 20
    assert told["protected"]["p99_ms"] >= told["protected"]["p50_ms"] > 0


def test_a_second_without_calls_says_so() -> None:
    nothing = {"ok": 0, "degraded": 0, "failed": 0, "waiting": 0, "p50_ms": 0.0, "p99_ms": 0.0}
    assert Second().facts(5.0) == nothing


async def test_a_call_that_comes_late_counts_in_the_second_in_which_it_was_due_with_its_wait() -> None:
    clock = Clock()

    async def call() -> str:
        clock.now = max(clock.now, begin + 3.0)  # at the first, the machine stands still
        return "ok"

    begin = clock.now
    load = Load(call, rate=8, seconds=3, clock=clock)
    await load.run()
    told = [load.told(number) for number in range(3)]
    assert [second["ok"] for second in told] == [8, 8, 8]
    assert [second["p99_ms"] for second in told] == [3000, 2000, 1000]


async def test_a_call_that_has_not_ended_is_told_with_what_it_has_waited() -> None:
    clock, goes_on = Clock(), asyncio.Event()

    async def call() -> str:
        await goes_on.wait()
        return "ok"

    load = Load(call, rate=1, seconds=1, clock=clock)
    running = asyncio.create_task(load.run())
    clock.now += 4
    waits = load.told(0)
    goes_on.set()
    await running
    assert (waits["ok"], waits["waiting"], waits["p50_ms"]) == (0, 1, 4000)
    assert (load.told(0)["ok"], load.told(0)["waiting"]) == (1, 0)


def test_the_unprotected_policy_switches_off_what_it_is_about() -> None:
    policy = Layers(UNPROTECTED).of(GET_OPERATION.method)
    assert policy.breaker.mode is BreakerMode.FORCED_CLOSED
    assert (policy.limit.max_concurrent, policy.retry.max_attempts) == (0, 3)
    assert policy.retry.budget > 100 * built_in().retry.budget


def test_the_second_set_of_services_touches_nothing_of_the_first(tmp_path: Path) -> None:
    environment = {
        "PATH": "/bin", "LANEWAY_LOG_LEVEL": "ERROR", "LANEWAY_BROKER_URL": "redis://shop/0",
        "LANEWAY_DATABASE_URL": "postgresql://shop/{service}", "LANEWAY_DATABASES__orders": "postgresql://shop/o",
        "SMTP_URL": "smtp://mail.example.org", "LANEWAY_POLICY_FOLDER": "/its/own",
    }  # fmt: skip
    assert surroundings(environment, tmp_path) == {
        "PATH": "/bin",
        "LANEWAY_LOG_LEVEL": "ERROR",
        "LANEWAY_POLICY_FOLDER": str(tmp_path),
    }


async def test_the_faults_of_the_first_are_those_of_the_second(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.mkdir()
    other.mkdir()
    (one / "orders.json").write_text("{}")
    (other / "catalog.json").write_text("{}")
    mirroring = asyncio.create_task(_mirror(one, other))
    async with asyncio.timeout(10):
        while [file.name for file in other.glob("*.json")] != ["orders.json"]:
            await asyncio.sleep(0)
    mirroring.cancel()
