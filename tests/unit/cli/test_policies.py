"""`laneway policy` shows what is in force for each method, and who says so."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from laneway.cli.commands import app
from laneway.contract.findings import Severity
from laneway.contract.lint.deployment import RULES

CONTRACT = """
syntax = "proto3";
package test.shelf.v1;
import "laneway/v1/call.proto";
option (laneway.v1.file_defaults) = {deadline {seconds: 1} retry {initial_backoff {seconds: 2}}};
message Request { optional string request_id = 1; }
message Reply {}
service Shelf {
  option (laneway.v1.service_defaults) = {deadline {seconds: 4} errors: "SHELF_FULL"};
  rpc Put(Request) returns (Reply) {
    option (laneway.v1.call) = {
      idempotency {key: "request_id"} max_deadline {seconds: 8} errors: "TOO_WIDE"
      queue {use: ALLOWED name: "bulk"}
    };
  }
  rpc Get(Request) returns (Reply);
}
"""


@pytest.fixture
def protos(tmp_path: Path) -> Path:
    folder = tmp_path / "protos"
    folder.mkdir()
    (folder / "shelf.proto").write_text(CONTRACT)
    return folder


@pytest.fixture
def policy(protos: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("LANEWAY_POLICY_FOLDER", raising=False)

    def run(*arguments: str, expected: int = 0) -> str:
        done = CliRunner().invoke(app, ["policy", "--protos", str(protos), *arguments], catch_exceptions=False)
        assert done.exit_code == expected
        return done.stdout

    return run


def values(told: str, method: str = "test.shelf.v1.Shelf.Put") -> dict:
    return json.loads(told)[method]


def said(told: str, path: str) -> tuple:
    row = values(told)[path]
    return row["value"], [(each["layer"], each["place"]) for each in row["from"]]


def test_each_value_is_told_with_the_layer_that_says_it(policy) -> None:
    told = policy("Put", "--format", "json")

    assert said(told, "deadline") == (4, [("service", "test.shelf.v1.Shelf")])
    assert said(told, "retry.initial_backoff") == (2, [("file", "shelf.proto")])
    assert said(told, "retry.max_attempts") == (3, [("built-in", "laneway")])
    assert said(told, "queue.name") == ("bulk", [("method", "test.shelf.v1.Shelf.Put")])
    assert said(told, "attempt_timeout") == (None, [])


def test_a_value_that_adds_up_names_all_who_add_to_it(policy) -> None:
    value, layers = said(policy("Put", "--format", "json"), "errors")

    assert value == ["SHELF_FULL", "TOO_WIDE"]
    assert [layer for layer, _ in layers] == ["service", "method"]


def test_a_part_that_a_method_does_not_declare_is_not_shown(policy) -> None:
    told = policy("--format", "json")

    assert "queue.name" in values(told)
    assert not [path for path in values(told, "test.shelf.v1.Shelf.Get") if path.startswith(("queue", "idempotency"))]


def test_a_policy_file_is_shown_as_it_would_be_in_force(policy, tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text(
        "methods: {test.shelf.v1.Shelf.Put: {deadline: 6s, breaker: {mode: FORCED_OPEN}}}"
    )
    told = policy("Put", "--tuning", str(tmp_path), "--format", "json")

    assert said(told, "deadline") == (6, [("deployment", "policy.yaml: test.shelf.v1.Shelf.Put")])
    assert said(told, "breaker.mode")[0] == "forced_open"


def test_no_deployment_and_no_call_site_is_shown_above_the_owners_ceiling(policy, tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text("defaults: {deadline: 60s}")
    tuned = policy("Put", "--tuning", str(tmp_path / "policy.yaml"), "--format", "json", expected=1)
    asked = policy("Put", "--timeout", "20", "--format", "json")

    assert said(tuned, "deadline") == (8, [("method", "test.shelf.v1.Shelf.Put")])
    assert said(asked, "deadline") == (8, [("method", "test.shelf.v1.Shelf.Put")])
    assert said(policy("Put", "--timeout", "2", "--format", "json"), "deadline") == (2, [("call site", "timeout=2")])
    assert values(tuned)["deadline"]["ceiling"] == 8


def test_what_no_deployment_may_set_is_marked(policy) -> None:
    row = values(policy("Put", "--format", "json"))

    assert (row["deadline"]["tunable"], row["idempotency.key"]["tunable"]) == (True, False)
    assert [line for line in policy("Put").splitlines() if "queue.name" in line and "the contract's" in line]


DOCUMENT = (Path(__file__).parents[3] / "docs" / "policy.md").read_text()
EXAMPLES = re.findall(r"^### ([A-Z_]+)\n\n(.*?)\n\n```yaml\n(.*?)```\n\n```yaml\n(.*?)```", DOCUMENT, re.DOTALL | re.M)


def tuned(tmp_path: Path, text: str, *arguments: str) -> Any:
    """What `laneway policy` makes of a file, for the contract of the document."""
    (tmp_path / "shelf").mkdir()
    (tmp_path / "shelf" / "shelf.proto").write_text(re.findall(r"```proto\n(.*?)```", DOCUMENT, re.DOTALL)[0])
    (tmp_path / "policy.yaml").write_text(text)
    named = ["policy", "--protos", str(tmp_path / "shelf"), "--tuning", str(tmp_path / "policy.yaml")]
    return CliRunner().invoke(app, [*named, *arguments])


def test_every_rule_has_its_entry_and_every_entry_its_rule() -> None:
    assert [code for code, *_ in EXAMPLES] == [rule.code for rule in RULES]
    for rule, (_, text, *_) in zip(RULES, EXAMPLES, strict=True):
        assert text.startswith(rule.title)
        assert ("(Warning.)" in text) == (rule.severity is Severity.WARNING)


@pytest.mark.parametrize(("code", "text", "fails", "passes"), EXAMPLES)
def test_a_rule_finds_its_example_and_says_so_in_each_form(
    tmp_path: Path, code: str, text: str, fails: str, passes: str
) -> None:
    person = tuned(tmp_path, fails)
    (tmp_path / "again").mkdir()
    github = tuned(tmp_path / "again", fails, "--format", "github")

    assert (person.exit_code, f"{tmp_path / 'policy.yaml'}: {code}" in person.stderr) == (1, True)
    assert "Shelf.Put" in person.stdout
    [annotation] = github.stdout.splitlines()
    kind = "warning" if "(Warning.)" in text else "error"
    assert (github.exit_code, annotation.startswith(f"::{kind} file=")) == (1, True)
    assert f"title={code}::" in annotation


@pytest.mark.parametrize(("code", "text", "fails", "passes"), EXAMPLES)
def test_nothing_is_found_in_the_example_that_passes(
    tmp_path: Path, code: str, text: str, fails: str, passes: str
) -> None:
    done = tuned(tmp_path, passes, "--format", "github")
    assert (done.exit_code, done.stdout) == (0, "")


def test_the_methods_of_the_installed_services_are_shown_where_no_folder_is_named() -> None:
    done = CliRunner().invoke(app, ["policy", "Orders.PlaceOrder"], catch_exceptions=False)

    assert "shop.orders.v1.Orders.PlaceOrder" in done.stdout
    deadline = next(line.split() for line in done.stdout.splitlines() if "deadline" in line)
    assert deadline == ["deadline", "3", "s", "service"]
