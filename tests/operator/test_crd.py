"""The kind WorkerPool as the chart has it. What its rules refuse is tried on an API server by `make e2e`."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

KIND = yaml.safe_load(Path("charts/laneway-operator/files/workerpool.yaml").read_text())["spec"]
TRIED = Path("tests/e2e/operator/test_validation.py")
[VERSION] = KIND["versions"]


def messages(schema: Any) -> Iterator[str]:
    """What the rules of a schema say, at any depth."""
    if isinstance(schema, dict):
        yield from (rule["message"] for rule in schema.get("x-kubernetes-validations", ()))
        for each in schema.values():
            yield from messages(each)


@pytest.mark.parametrize("message", sorted(set(messages(VERSION["schema"]))))
def test_each_rule_is_tried_with_its_message(message: str) -> None:
    said = {each.value for each in ast.walk(ast.parse(TRIED.read_text())) if isinstance(each, ast.Constant)}
    assert any(isinstance(each, str) and len(each) >= 20 and each in message for each in said)


def test_what_people_and_autoscaling_tools_see_of_a_pool_is_there() -> None:
    assert KIND["names"]["shortNames"] == ["wp"]
    assert VERSION["subresources"]["scale"]["statusReplicasPath"] == ".status.replicas"
    columns = {each["name"] for each in VERSION["additionalPrinterColumns"]}
    assert {"Queue", "Waiting", "Running", "Replicas", "Desired", "Objective", "Met"} <= columns
    status = VERSION["schema"]["openAPIV3Schema"]["properties"]["status"]["properties"]
    paths = [each["jsonPath"].split(".") for each in VERSION["additionalPrinterColumns"]]
    assert {name for _, part, name, *_ in paths if part == "status"} <= status.keys()
