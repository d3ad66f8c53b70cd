"""The deployment's policy file: over the contract, as a whole or not at all, and while running."""

import asyncio
from pathlib import Path

import pytest

from laneway.contract import tuning
from laneway.contract.model import Contract, Method
from laneway.contract.policy import BreakerMode
from laneway.contract.tuning import Tuning
from laneway.errors import ConfigurationError
from laneway.resilience.pipeline import Pipeline, Pipelines
from tests.fixtures.protos import service_of

BODY = """
service Shelf {
  option (laneway.v1.service_defaults) = {deadline {seconds: 4}};
  rpc Put(Request) returns (Reply) {
    option (laneway.v1.call) = {idempotency {} queue {use: ONLY run_timeout {seconds: 9}}};
  }
  rpc Get(Request) returns (Reply);
  rpc Find(Request) returns (Reply) { option (laneway.v1.call) = {max_deadline {seconds: 6}}; }
  rpc Keep(Request) returns (Reply) {
    option idempotency_level = NO_SIDE_EFFECTS;
    option (laneway.v1.call) = {fallback {last_good {seconds: 60} reserve {seconds: 1}}};
  }
}
"""


@pytest.fixture
def methods(tmp_path: Path) -> dict[str, Method]:
    return {method.name: method for method in Contract.of([service_of(tmp_path, BODY)])}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """As Kubernetes mounts a ConfigMap: the file is a link into a folder that is a link."""
    mounted = tmp_path / "mounted"
    mounted.mkdir()
    return mounted


def write(folder: Path, version: int, text: str) -> None:
    data = folder / f"..{version}"
    data.mkdir()
    (data / "policy.yaml").write_text(text)
    (folder / "..data_tmp").symlink_to(data.name)
    (folder / "..data_tmp").replace(folder / "..data")
    if not (folder / "policy.yaml").exists():
        (folder / "policy.yaml").symlink_to("..data/policy.yaml")


def test_without_a_file_the_contract_is_in_force(methods: dict[str, Method], folder: Path) -> None:
    assert Tuning(folder).of(methods["Get"]) == methods["Get"].policy
    assert Tuning().of(methods["Get"]) == methods["Get"].policy


def test_a_file_that_cannot_be_read_at_the_start_is_one_sentence(folder: Path) -> None:
    (folder / "policy.yaml").write_bytes(b"\xff")

    with pytest.raises(
        ConfigurationError, match=r"policy.yaml cannot be read \(.*\); correct it, or LANEWAY_POLICY_FOLDER"
    ):
        Tuning(folder)


def test_a_method_is_over_its_service_is_over_the_defaults_is_over_the_contract(
    methods: dict[str, Method], folder: Path
) -> None:
    write(
        folder,
        1,
        """
        defaults: {deadline: 3s, retry: {max_attempts: 5}, queue: {max_attempts: 2}}
        services: {test.shelf.v1.Shelf: {deadline: 2s}}
        methods: {test.shelf.v1.Shelf.Get: {deadline: 1.5s, breaker: {open_time: 7s}}}
        """,
    )
    tuning = Tuning(folder)
    get, put = tuning.of(methods["Get"]), tuning.of(methods["Put"])
    assert (get.deadline, get.retry.max_attempts, get.breaker.open_time, get.queue) == (1.5, 5, 7, None)
    assert (put.deadline, put.breaker.open_time) == (2, 1)
    assert put.queue is not None
    assert (put.queue.max_attempts, put.queue.run_timeout, put.queue.queue) == (2, 9, "default")


def test_no_deployment_goes_above_the_owners_ceiling(methods: dict[str, Method], folder: Path) -> None:
    write(folder, 1, "defaults: {deadline: 60s}")
    tuning = Tuning(folder)
    assert (tuning.of(methods["Find"]).deadline, tuning.of(methods["Get"]).deadline) == (6, 60)


def test_a_breaker_can_be_forced_open_by_the_deployment(methods: dict[str, Method], folder: Path) -> None:
    write(folder, 1, "methods: {test.shelf.v1.Shelf.Get: {breaker: {mode: FORCED_OPEN}}}")
    assert Tuning(folder).of(methods["Get"]).breaker.mode is BreakerMode.FORCED_OPEN


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("defaults: [", "is not YAML"),
        ("[" * 3000, "is not YAML"),
        ("defaults: {deadline: 1s}\ndefaults: {deadline: 2s}", "`defaults` is given twice"),
        ("methods: {a.B.C: {deadline: 1s}, a.B.C: {retry: {max_attempts: 2}}}", "`a.B.C` is given twice"),
        ("- 1", "holds `defaults`, `services`, `methods` and `logs`"),
        ("method: {}", "unknown: method"),
        ("methods: [a]", "`methods` maps full names"),
        ("defaults: {deadlin: 1s}", "defaults cannot be read"),
        ("defaults: {deadline: soon}", "defaults cannot be read"),
        ("defaults: {deadline: 0s}", "deadline is 0; it must be at least 0.001"),
        ("defaults: {breaker: {failure_rate: 2}}", "breaker.failure_rate is 2"),
        ("methods: {a.B.C: {idempotency: {}}}", "`idempotency` of a.B.C is the contract's"),
        ("methods: {a.B.C: {queue: {name: other}}}", "`queue.name` of a.B.C is the contract's"),
        ("defaults: {max_deadline: 60s}", "`max_deadline` of defaults is the contract's"),
        ("defaults: {fallback: {queue: true}}", "`fallback.queue` of defaults is the contract's"),
        ("logs: [a]", "`logs` maps names"),
        ("logs: {laneway.lanes: LOUD}", "the level 'LOUD' for laneway.lanes; write DEBUG"),
        ("defaults: {errors: [X]}", "`errors` of defaults is the contract's"),
    ],
)
def test_a_file_that_is_not_valid_is_refused_with_its_place(folder: Path, text: str, sentence: str) -> None:
    write(folder, 1, text)
    with pytest.raises(ConfigurationError, match=sentence):
        Tuning(folder)


def test_a_new_file_is_taken_over_and_a_bad_one_refused_as_a_whole(
    methods: dict[str, Method], folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(folder, 1, "defaults: {deadline: 3s}")
    tuning = Tuning(folder)
    assert tuning.of(methods["Get"]).deadline == 3
    write(folder, 2, "defaults: {deadline: 2s, retry: {max_attempts: 0}}")
    assert not tuning.look()
    assert tuning.of(methods["Get"]).deadline == 3
    assert "refused" in caplog.text
    write(folder, 3, "defaults: {deadline: 1s}")
    assert tuning.look()
    assert tuning.of(methods["Get"]).deadline == 1
    assert not tuning.look()


def test_a_new_file_that_one_method_cannot_obey_is_refused_for_all(methods: dict[str, Method], folder: Path) -> None:
    write(folder, 1, "defaults: {deadline: 3s}")
    tuning = Tuning(folder)
    met = [tuning.of(methods[name]).deadline for name in ("Get", "Keep")]
    write(folder, 2, "defaults: {deadline: 0.5s}")  # less than the fallback of Keep has for itself
    assert not tuning.look()
    assert [met, [tuning.of(methods[name]).deadline for name in ("Get", "Keep", "Find")]] == [[3, 3], [3, 3, 3]]


def test_levels_of_logs_are_told_with_each_file_that_is_taken_over(folder: Path) -> None:
    told: list[object] = []
    write(folder, 1, "logs: {laneway.lanes: DEBUG}")
    tuning = Tuning(folder, levels=told.append)
    write(folder, 2, "logs: {laneway.lanes: NOISY}")
    tuning.look()
    write(folder, 3, "defaults: {deadline: 1s}")
    tuning.look()

    assert told == [{"laneway.lanes": "DEBUG"}, {}]


async def test_it_looks_again_while_running(
    methods: dict[str, Method], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tuning, "LOOK_AGAIN", 0.01)
    tuned = Tuning(folder)
    looking = asyncio.create_task(tuned.keep())
    write(folder, 1, "defaults: {deadline: 2s}")
    async with asyncio.timeout(5):
        while tuned.of(methods["Get"]).deadline != 2:
            await asyncio.sleep(0.01)
    looking.cancel()


def test_a_breaker_is_made_anew_only_when_its_own_policy_changes(methods: dict[str, Method], folder: Path) -> None:
    write(folder, 1, "defaults: {deadline: 3s}")
    tuning, pipelines = Tuning(folder), Pipelines()

    def pipeline() -> Pipeline:
        return pipelines.of(methods["Get"], tuning.of(methods["Get"]))

    first = pipeline().breaker
    write(folder, 2, "defaults: {deadline: 2s}")
    tuning.look()
    assert pipeline().breaker is first
    write(folder, 3, "defaults: {breaker: {open_time: 9s}}")
    tuning.look()
    assert pipeline().breaker is not first
