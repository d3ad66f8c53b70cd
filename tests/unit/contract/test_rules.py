"""What `buf.validate` says of messages: found, compiled, and told of in words."""

from pathlib import Path
from typing import Any

import pytest

from laneway.contract.model import Contract, Method
from laneway.errors import ConfigurationError, Internal, InvalidArgument
from tests.fixtures.protos import service_of

RULED = """
import "buf/validate/validate.proto";
message Order {
  option (buf.validate.message).cel = {
    id: "order.gift" message: "a gift has a note" expression: "!this.gift || this.note != ''"
  };
  repeated Line lines = 1 [(buf.validate.field).repeated.min_items = 1];
  map<string, Line> by_name = 2;
  map<int32, string> by_number = 3 [(buf.validate.field).map.values.string.min_len = 2];
  bool gift = 4;
  string note = 5;
  Order parent = 6;
}
message Line { optional int32 quantity = 1 [(buf.validate.field) = {required: true int32 {gte: 1}}]; }
service Orders {
  rpc Place(Order) returns (Reply);
  rpc Ask(Request) returns (Reply);
}
"""


@pytest.fixture
def methods(tmp_path: Path) -> dict[str, Method]:
    contract = Contract.of([service_of(tmp_path, RULED)])
    return {method.name: method for method in contract}


def broken(method: Method, **fields: Any) -> list[tuple[str, str]]:
    with pytest.raises(InvalidArgument) as raised:
        method.check(method.input(**fields))
    assert raised.value.reason == "INVALID_REQUEST"
    return [(each.field, each.description) for each in raised.value.violations]


def test_a_request_that_keeps_the_rules_passes(methods: dict[str, Method]) -> None:
    methods["Place"].check(methods["Place"].input(lines=[{"quantity": 1}], by_name={"a": {"quantity": 2}}))


def test_a_contract_without_rules_is_not_even_looked_at(methods: dict[str, Method]) -> None:
    assert methods["Ask"].rules is None
    methods["Ask"].check(methods["Ask"].input())


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({}, "lines"),
        ({"lines": [{"quantity": 1}, {}]}, "lines[1].quantity"),
        ({"lines": [{"quantity": 1}], "by_name": {"a lamp": {"quantity": 0}}}, 'by_name["a lamp"].quantity'),
        ({"lines": [{"quantity": 1}], "by_number": {7: "x"}}, "by_number[7]"),
        ({"lines": [{"quantity": 1}], "parent": {"lines": [{}]}}, "parent.lines[0].quantity"),
    ],
)
def test_a_violation_names_the_field_wherever_it_is(
    methods: dict[str, Method], fields: dict[str, Any], path: str
) -> None:
    [(field, description)] = broken(methods["Place"], **fields)
    assert field == path
    assert description


def test_a_rule_on_the_whole_request_names_no_field(methods: dict[str, Method]) -> None:
    assert broken(methods["Place"], lines=[{"quantity": 1}], gift=True) == [("", "a gift has a note")]


def test_the_text_names_some_and_counts_the_rest(methods: dict[str, Method]) -> None:
    with pytest.raises(InvalidArgument, match=r"`lines\[0\].quantity`: .*; and 2 more\.$") as raised:
        methods["Place"].check(methods["Place"].input(lines=[{}] * 5))
    assert len(raised.value.violations) == 5


WITH_RULE = """
import "buf/validate/validate.proto";
message Inside { int32 number = 1 [(buf.validate.field).RULE]; }
message Outside { repeated Inside parts = 1; }
service Wrong { rpc Go(Outside) returns (Reply); }
"""


@pytest.mark.parametrize("rule", ["string.min_len = 1", 'cel = {id: "x" message: "x" expression: "this +"}'])
def test_a_rule_that_does_not_compile_stops_the_start_with_its_place(tmp_path: Path, rule: str) -> None:
    with pytest.raises(ConfigurationError, match=r"test\.shelf\.v1\.Inside: its buf\.validate rules do not compile"):
        Contract.of([service_of(tmp_path, WITH_RULE.replace("RULE", rule))])


def test_a_rule_that_cannot_be_evaluated_is_the_contracts_mistake_and_not_the_callers(tmp_path: Path) -> None:
    rule = 'cel = {id: "x" message: "x" expression: "10 / this > 1"}'
    [method] = Contract.of([service_of(tmp_path, WITH_RULE.replace("RULE", rule))])
    method.check(method.input(parts=[{"number": 3}]))
    with pytest.raises(Internal, match="cannot be evaluated") as raised:
        method.check(method.input(parts=[{"number": 0}]))
    assert raised.value.reason == "RULE_FAILED"
