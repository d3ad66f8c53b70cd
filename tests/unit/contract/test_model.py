from pathlib import Path

import pytest

from laneway.contract.model import method_of, owner_of, python_name
from laneway.errors import ConfigurationError
from tests.fixtures.protos import service_of

MISTAKES = {
    "a stream cannot be queued": "rpc Put(stream Request) returns (Reply) { option (laneway.v1.call) = {queue {use: ONLY}}; }",
    "declare `idempotency {}`": "rpc Put(Request) returns (Reply) { option (laneway.v1.call) = {queue {use: ONLY}}; }",
    "is not published": "rpc On(Internal) returns (google.protobuf.Empty) { option (laneway.v1.call) = {subscribe {}}; }",
    "return google.protobuf.Empty": "rpc On(Happened) returns (Reply) { option (laneway.v1.call) = {subscribe {}}; }",
    "remove its google.api.http": """rpc On(Happened) returns (google.protobuf.Empty) {
        option (google.api.http) = {get: "/v1/on"}; option (laneway.v1.call) = {subscribe {}}; }""",
    "cannot be started": """rpc On(Happened) returns (google.protobuf.Empty) {
        option (laneway.v1.call) = {idempotency {} subscribe {} queue {use: ALLOWED}}; }""",
    "has no field `nowhere`": "rpc Put(Request) returns (Reply) { option (laneway.v1.call) = {idempotency {key: 'nowhere'}}; }",
    "is not a single string": "rpc Put(Request) returns (Reply) { option (laneway.v1.call) = {idempotency {key: 'tags'}}; }",
    "is not a single message": "rpc Put(Request) returns (Reply) { option (laneway.v1.call) = {idempotency {key: 'name.x'}}; }",
    "idempotency of streams": "rpc Put(Request) returns (stream Reply) { option (laneway.v1.call) = {idempotency {}}; }",
}  # fmt: skip


@pytest.mark.parametrize("sentence", MISTAKES)
def test_a_contract_that_contradicts_itself_is_refused_with_place_and_remedy(sentence: str, tmp_path: Path) -> None:
    service = service_of(tmp_path, f"service Shelf {{ {MISTAKES[sentence]} }}")
    with pytest.raises(ConfigurationError, match=r"test\.shelf\.v1\.Shelf\.") as refused:
        method_of(service.methods[0])
    assert sentence in refused.value.message


def test_a_key_may_be_in_a_nested_message(tmp_path: Path) -> None:
    option = "option (laneway.v1.call) = {idempotency {key: 'inner.key'}};"
    service = service_of(tmp_path, f"service Shelf {{ rpc Put(Request) returns (Reply) {{ {option} }} }}")
    assert method_of(service.methods[0]).policy.idempotency.key == "inner.key"


@pytest.mark.parametrize(
    ("name", "expected"),
    [("SyncStock", "sync_stock"), ("GetHTTPRoute", "get_http_route"), ("Put", "put"), ("V2Put", "v2_put")],
)
def test_method_names_become_python_names(name: str, expected: str) -> None:
    assert python_name(name) == expected


@pytest.mark.parametrize(
    ("package", "owner"), [("shop.orders.v1", "orders"), ("shop.orders", "orders"), ("x.v1beta1", "x")]
)
def test_the_owner_is_the_component_before_the_version(package: str, owner: str) -> None:
    assert owner_of(package) == owner
