"""The kind WorkerPool as the chart has it. What its rules refuse is tried on an API server by `make e2e`."""

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.operator import test_validation

KIND = yaml.safe_load(Path("charts/laneway-operator/files/workerpool.yaml").read_text())["spec"]
[VERSION] = KIND["versions"]
OTHERS = {
    "a WorkerPool's name has at most 63 characters": test_validation.test_a_name_that_cannot_be_a_label_is_refused,
    "target cannot be changed; delete this WorkerPool": test_validation.test_the_target_of_a_pool_stays,
}
"""Rules that no spec alone can break, and the tests that break them."""

Rule = tuple[str, str]
"""Where in a WorkerPool it holds, and what it says."""


def rules(schema: dict[str, Any], at: str = "") -> Iterator[Rule]:
    """All of a schema's rules, at any depth."""
    yield from ((at, rule["message"]) for rule in schema.get("x-kubernetes-validations", ()))
    for name, each in schema.get("properties", {}).items():
        yield from rules(each, f"{at}.{name}")
    if "items" in schema:
        yield from rules(schema["items"], at)


def places(value: Any, at: str) -> Iterator[str]:
    """Every place that a value names, itself included, but for what is right in it."""
    if value in test_validation.WINDOW.values():
        return
    yield at
    if isinstance(value, dict):
        for name, each in value.items():
            yield from places(each, f"{at}.{name}")
    elif isinstance(value, list):
        for each in value:
            yield from places(each, at)


@pytest.mark.parametrize("rule", sorted(rules(VERSION["schema"]["openAPIV3Schema"])))
def test_each_rule_is_broken_where_it_holds_and_its_message_is_expected(rule: Rule) -> None:
    place, message = rule
    tried = [said for spec, said in test_validation.MISTAKES if said in message and place in places(spec, ".spec")]
    tried += [said for said, test in OTHERS.items() if said in message and said in inspect.getsource(test)]
    assert [said for said in tried if len(said) >= 20], f"no test breaks the rule at {place}: {message}"


def test_what_people_and_autoscaling_tools_see_of_a_pool_is_there() -> None:
    assert KIND["names"]["shortNames"] == ["wp"]
    assert VERSION["subresources"]["scale"]["statusReplicasPath"] == ".status.replicas"
    columns = {each["name"] for each in VERSION["additionalPrinterColumns"]}
    assert {"Queue", "Waiting", "Running", "Replicas", "Desired", "Objective", "Met"} <= columns
    status = VERSION["schema"]["openAPIV3Schema"]["properties"]["status"]["properties"]
    paths = [each["jsonPath"].split(".") for each in VERSION["additionalPrinterColumns"]]
    assert {name for _, part, name, *_ in paths if part == "status"} <= status.keys()
