"""Each knob at each layer: the highest that says something is in force, and a policy file is taken over while running.

The knobs are those of the vocabulary's descriptor, so that a field that is added there is covered here.
"""

import json
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import descriptor_pb2, duration_pb2, json_format
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.descriptor_pool import DescriptorPool

from laneway.contract.effective import effective
from laneway.contract.layers import DECLARED, Origin, knobs
from laneway.contract.model import Method, declared
from laneway.contract.tuning import FILE, Layers, Tuning, is_tunable
from laneway.v1 import call_pb2

NAME = "test.shelf.v1.Shelf.Put"
KNOBS = dict(knobs())
CONTRACT = ("file", "service", "method")
DEPLOYMENT = ("defaults", "services", "methods")
"""Where a value can be said, the highest last."""

ATTRIBUTES = {"queue.name": "queue.queue", "subscribe": "subscription"}
"""Where the policy calls something otherwise than the vocabulary."""


def value_of(field: FieldDescriptor, number: int) -> Any:
    """One of several values of a knob, in ProtoJSON: one for each layer, or two in turn where there are no more."""
    if field.message_type is not None:
        return f"{1 + number / 10:g}s"
    if field.enum_type is not None:
        return field.enum_type.values[1 + number % (len(field.enum_type.values) - 1)].name
    kinds = {
        FieldDescriptor.CPPTYPE_BOOL: bool(number % 2),
        FieldDescriptor.CPPTYPE_DOUBLE: 0.1 + number / 100,
        FieldDescriptor.CPPTYPE_STRING: f"v{number}",
    }
    value = kinds.get(field.cpp_type, 3 + number)
    return [value] if field.is_repeated else value


def says(path: str, value: Any) -> dict[str, Any]:
    first, *rest = reversed(path.split("."))
    nested = {first: value}
    for part in rest:
        nested = {part: nested}
    return nested


def shelf(said: dict[str, dict[str, Any]], path: str = "") -> Method:
    """A method of which file, service and method say what is given; it declares the part that is looked at."""
    file = descriptor_pb2.FileDescriptorProto(name="shelf.proto", package="test.shelf.v1", syntax="proto3")
    file.dependency.append("laneway/v1/call.proto")
    file.message_type.add(name="Request")
    service = file.service.add(name="Shelf")
    method = service.method.add(name="Put", input_type=".test.shelf.v1.Request", output_type=".test.shelf.v1.Request")
    options = {
        "file": file.options.Extensions[call_pb2.file_defaults],
        "service": service.options.Extensions[call_pb2.service_defaults],
        "method": method.options.Extensions[call_pb2.call],
    }
    for layer, content in said.items():
        json_format.ParseDict(content, options[layer])
    part = path.partition(".")[0]
    if part in DECLARED:
        getattr(options["method"], part).SetInParent()
    if path == "fallback.reserve":
        options["method"].fallback.queue = True  # there is no fallback without its kind
    pool = DescriptorPool()
    for known in (descriptor_pb2, duration_pb2, call_pb2):
        pool.AddSerializedFile(known.DESCRIPTOR.serialized_pb)
    pool.AddSerializedFile(file.SerializeToString())
    return declared(pool.FindMethodByName(NAME))


def policy_file(section: str, content: dict[str, Any]) -> str:
    names = {"services": "test.shelf.v1.Shelf", "methods": NAME}
    return json.dumps({section: {names[section]: content} if section in names else content})


def expected(field: FieldDescriptor, value: Any) -> Any:
    """A value of ProtoJSON as the policy has it."""
    if field.message_type is not None:
        return float(value.removesuffix("s"))
    return frozenset(value) if field.is_repeated else value


def in_force(policy: Any, path: str) -> Any:
    for old, new in ATTRIBUTES.items():
        path = f"{new}{path.removeprefix(old)}" if f"{path}.".startswith(f"{old}.") else path
    for name in path.split("."):
        policy = getattr(policy, name)
    return policy.name if hasattr(policy, "name") else policy


@pytest.mark.parametrize("path", KNOBS)
@pytest.mark.parametrize("pair", list(combinations(CONTRACT, 2)), ids="<".join)
def test_the_higher_layer_of_a_contract_is_in_force(path: str, pair: tuple[str, str]) -> None:
    field = KNOBS[path]
    for first in (0, 1):
        low, high = value_of(field, first), value_of(field, first + 1)
        method = shelf({pair[0]: says(path, low), pair[1]: says(path, high)}, path)
        both = low + high if field.is_repeated else high

        assert in_force(method.policy, path) == expected(field, both)
        [row] = [row for row in effective(method, Layers()) if row.path == path]
        assert [layer.origin.value for layer in row.layers] == (list(pair) if field.is_repeated else [pair[1]])


@pytest.mark.parametrize("path", [path for path in KNOBS if is_tunable(path)])
def test_every_layer_of_a_policy_file_is_over_the_contract_and_under_the_next(path: str) -> None:
    field = KNOBS[path]
    method = shelf({"method": says(path, value_of(field, 0))}, path)
    for first in (1, 2):
        sections: dict[str, Any] = {}
        for number, section in enumerate(DEPLOYMENT, first):
            value = value_of(field, number)
            sections |= json.loads(policy_file(section, says(path, value)))
            file = Layers(json.dumps(sections))

            assert in_force(file.of(method), path) == expected(field, value)
            [row] = [row for row in effective(method, file) if row.path == path]
            assert row.layers[-1].origin is Origin.DEPLOYMENT


@pytest.mark.parametrize("path", KNOBS)
def test_a_new_policy_file_is_taken_over_whole_or_refused_whole(
    path: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    field, told = KNOBS[path], []
    method = shelf({"method": says(path, value_of(field, 0))}, path)
    tuning = Tuning(tmp_path, refused=told.append)
    contract = tuning.of(method)

    def write(version: int, text: str) -> None:
        (tmp_path / f"{version}.tmp").write_text(text)
        (tmp_path / f"{version}.tmp").replace(tmp_path / FILE)

    for version in (1, 2):
        value = value_of(field, version)
        write(version, policy_file("methods", says(path, value)))
        assert tuning.look() == is_tunable(path)
        assert in_force(tuning.of(method), path) == expected(field, value if is_tunable(path) else value_of(field, 0))
    kept = tuning.of(method)
    write(3, policy_file("methods", {**says(path, value_of(field, 3)), "deadline": "0s", "limit": {"max_waiting": 1}}))

    assert not tuning.look()
    assert (tuning.of(method), told[-1]) == (kept, True)
    assert "refused" in caplog.text
    (tmp_path / FILE).unlink()
    assert tuning.look()
    assert (tuning.of(method), told[-1]) == (contract, False)


def test_a_file_that_does_not_suit_one_method_of_the_process_is_refused(tmp_path: Path) -> None:
    quick = shelf({"method": {"deadline": "1s", "fallback": {"queue": True}}})
    tuning = Tuning(tmp_path)
    assert tuning.of(quick).fallback is not None
    (tmp_path / FILE).write_text("defaults: {fallback: {reserve: 2s}, retry: {max_attempts: 9}}")

    assert not tuning.look()
    assert tuning.of(quick) == quick.policy


def test_the_knobs_are_those_of_the_vocabulary() -> None:
    assert {
        "deadline",
        "retry.max_attempts",
        "breaker.mode",
        "queue.run_timeout",
        "subscribe.from_start",
    } <= KNOBS.keys()
