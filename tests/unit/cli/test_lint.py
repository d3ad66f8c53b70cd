"""`laneway lint` tells people, programs and pull requests what it finds, and exits with 1 then."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from laneway.cli.commands import app
from laneway.contract.compile import described
from tests.fixtures.command import laneway

ROOT = Path(__file__).parents[3]
CONTRACT = """syntax = "proto3";
package test.shelf.v1;
import "laneway/v1/call.proto";
message Request { optional string request_id = 1; }
message Reply {}
service Shelf {
  rpc Put(Request) returns (Reply) { option (laneway.v1.call) = {queue {use: ONLY}}; }
  rpc Get(Request) returns (Reply) {
    option idempotency_level = NO_SIDE_EFFECTS;
    option (laneway.v1.call) = {idempotency {}};
  }
}
"""


@pytest.fixture
def protos(tmp_path: Path) -> Path:
    folder = tmp_path / "protos"
    folder.mkdir()
    (folder / "shelf.proto").write_text(CONTRACT)
    return folder


def lint(*arguments: str, expected: int = 1) -> str:
    done = CliRunner().invoke(app, ["lint", *arguments], catch_exceptions=False)
    assert done.exit_code == expected
    return done.stdout


def test_people_see_place_code_what_is_wrong_and_what_to_do(protos: Path) -> None:
    assert lint(str(protos)).splitlines() == [
        f"{protos}/shelf.proto:7:3: QUEUE_NOT_IDEMPOTENT test.shelf.v1.Shelf.Put",
        "    a queued call is delivered at least once; declare `idempotency {}` or an idempotency_level.",
        f"{protos}/shelf.proto:8:3: KEY_OF_READ (warning) test.shelf.v1.Shelf.Get",
        "    each of its calls writes a row that protects nothing; remove `idempotency`.",
        "2 findings",
    ]


def test_programs_get_the_same_as_json(protos: Path) -> None:
    first, second = json.loads(lint(str(protos), "--format", "json"))
    assert first == {
        "code": "QUEUE_NOT_IDEMPOTENT",
        "severity": "error",
        "file": f"{protos}/shelf.proto",
        "line": 7,
        "column": 3,
        "element": "test.shelf.v1.Shelf.Put",
        "message": "a queued call is delivered at least once",
        "remedy": "declare `idempotency {}` or an idempotency_level",
    }
    assert second["severity"] == "warning"


def test_a_pull_request_gets_annotations(protos: Path) -> None:
    first, second = lint(str(protos), "--format", "github").splitlines()
    assert first.startswith(
        f"::error file={protos}/shelf.proto,line=7,col=3,title=QUEUE_NOT_IDEMPOTENT::test.shelf.v1."
    )
    assert second.startswith("::warning ")


def test_a_contract_without_a_mistake_exits_with_0(protos: Path) -> None:
    (protos / "shelf.proto").write_text(CONTRACT.replace("queue {use: ONLY}", "").replace("idempotency {}", ""))
    assert lint(str(protos), expected=0) == "no findings\n"
    assert lint(str(protos), "--format", "github", expected=0) == ""
    assert json.loads(lint(str(protos), "--format", "json", expected=0)) == []


def test_a_descriptor_set_is_read_like_a_folder(protos: Path, tmp_path: Path) -> None:
    (tmp_path / "shelf.pb").write_bytes(described(protos)[0].SerializeToString())
    assert "shelf.proto:7:3: QUEUE_NOT_IDEMPOTENT" in lint(str(tmp_path / "shelf.pb"))


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("nowhere", "There is no folder nowhere; name the one that holds your .proto files."),
        ("empty", "No .proto file below empty; name the folder that holds your contracts."),
        ("text", "text is no descriptor set"),
        ("broken", 'broken.proto:2:13: "strin" is not defined'),
    ],
)
def test_what_cannot_be_read_is_one_sentence_and_exits_with_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, sentence: str
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text").write_text("\x01text")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "broken.proto").write_text('syntax = "proto3";\nmessage A { strin name = 1; }\n')
    monkeypatch.chdir(tmp_path)
    done = laneway("lint", path)

    assert done.returncode == 2
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
