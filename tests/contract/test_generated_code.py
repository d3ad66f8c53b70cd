"""The committed generated code is what the contracts generate."""

import filecmp
from pathlib import Path

import pytest

from laneway.contract.compile import compile_protos, generated
from laneway.errors import ConfigurationError

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("only", "committed", "plugin"),
    [
        ("laneway/v1", "services/laneway/src", False),
        ("laneway/compare", "services/laneway/src", True),
        ("shop", "services/contracts/src", True),
    ],
)
def test_committed_code_is_not_stale(only: str, committed: str, plugin: bool, tmp_path: Path) -> None:
    compile_protos(ROOT / "protos", only, tmp_path, plugin=plugin)
    fresh = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*.*"))
    assert fresh
    _, mismatch, missing = filecmp.cmpfiles(tmp_path, ROOT / committed, map(str, fresh), shallow=False)
    assert (mismatch, missing) == ([], []), "run `make protos` and commit what it writes"
    assert generated(ROOT / committed / only) == generated(tmp_path / only), "no contract makes it; run `make protos`"


def test_what_no_contract_makes_any_more_is_removed_and_nothing_else(tmp_path: Path) -> None:
    contracts, out = tmp_path / "protos", tmp_path / "out"
    contract = contracts / "mine" / "a.proto"
    contract.parent.mkdir(parents=True)
    (contracts / "laneway").symlink_to(ROOT / "protos" / "laneway")
    message = 'syntax = "proto3"; package mine.v1; message A {}\n'
    contract.write_text(message + "service S { rpc Go(A) returns (A); }")
    contract.with_name("b.proto").write_text('syntax = "proto3"; package mine.v1; message B {}')
    compile_protos(contracts, "mine", out)
    assert (out / "mine" / "a_laneway.py").exists()
    others = [out / "theirs" / "c_pb2.py", out / "mine" / "written.py"]
    for other in others:
        other.parent.mkdir(exist_ok=True)
        other.touch()

    contract.write_text(message)
    contract.with_name("b.proto").unlink()
    compile_protos(contracts, "mine", out)

    assert generated(out / "mine") == {Path("a_pb2.py"), Path("a_pb2.pyi")}
    assert all(other.exists() for other in others)


def test_a_contract_that_does_not_compile_says_where(tmp_path: Path) -> None:
    (tmp_path / "broken.proto").write_text('syntax = "proto3";\nmessage A { strin name = 1; }\n')
    with pytest.raises(ConfigurationError, match=r'broken\.proto:2:13: "strin" is not defined'):
        compile_protos(tmp_path, "", tmp_path / "out")


def test_a_contract_needs_no_copy_of_the_vocabulary(tmp_path: Path) -> None:
    (tmp_path / "a.proto").write_text(
        'syntax = "proto3"; package mine.v1; import "laneway/v1/call.proto"; import "buf/validate/validate.proto";\n'
        "message A { string name = 1 [(buf.validate.field).required = true]; }\n"
        "service S { rpc Go(A) returns (A) { option (laneway.v1.call) = {idempotency {}}; } }"
    )
    compile_protos(tmp_path, "", tmp_path / "out")
    assert "class SService(Handlers)" in (tmp_path / "out" / "a_laneway.py").read_text()


def test_a_contract_that_contradicts_itself_is_refused_before_it_is_code(tmp_path: Path) -> None:
    contract = tmp_path / "mine" / "a.proto"
    contract.parent.mkdir()
    contract.write_text(
        'syntax = "proto3"; package mine.v1; import "laneway/v1/call.proto"; message A {}\n'
        "service S { rpc Go(A) returns (A) { option (laneway.v1.call) = {queue {use: ONLY}}; } }"
    )
    with pytest.raises(ConfigurationError, match=r"mine\.v1\.S\.Go: a queued call is delivered at least once"):
        compile_protos(tmp_path, "mine", tmp_path / "out")
