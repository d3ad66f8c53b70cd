"""Which route a path takes, what its variables hold, and which verbs a path has."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from google.api.http_pb2 import CustomHttpPattern, HttpRule

from laneway.contract.model import Method, method_of
from laneway.errors import ConfigurationError, InvalidArgument
from laneway.lanes.rest.codec import JsonCodec
from laneway.lanes.rest.router import Router
from tests.contract.transcoding.tables import table
from tests.fixtures.protos import service_of

HEAD = """
syntax = "proto3";
package test.routes.v1;
message Thing { string id = 1; }
message Child { string id = 1; Thing thing = 2; }
message Request {
  string name = 1; Child child = 2; Thing thing = 3; string cat = 4; string starstar = 5; string x = 6; string y = 7;
  string a = 8; string b = 9; string id = 10; string oname = 11; repeated string tags = 12; map<string, string> labels = 13;
  oneof either { string this = 14; string that = 15; }
}
service Routes { rpc Go(Request) returns (Thing); }
"""


@pytest.fixture(scope="module")
def method(tmp_path_factory: pytest.TempPathFactory) -> Method:
    return method_of(service_of(tmp_path_factory.mktemp("routes"), "", head=HEAD).methods[0])


def rule(text: str) -> HttpRule:
    """`GET /a`, or `/a` for short."""
    verb, _, path = text.rpartition(" ")
    if not verb or verb == "GET":
        return HttpRule(get=path)
    return HttpRule(post=path) if verb == "POST" else HttpRule(custom=CustomHttpPattern(kind=verb, path=path))


def router_of(method: Method, *rules: HttpRule) -> Router:
    return Router([replace(method, http=rules)], JsonCodec())


def routes() -> Iterator[Any]:
    for group in table("routes"):
        for case in group["cases"]:
            yield pytest.param(group["routes"], case, id=case["path"])


@pytest.mark.parametrize(("templates", "case"), list(routes()))
def test_a_path_takes_the_most_particular_route(method: Method, templates: list[str], case: dict[str, Any]) -> None:
    router = router_of(method, *map(rule, templates))
    verb, _, path = case["path"].rpartition(" ")
    match = router.match(verb or "GET", path)
    if "route" not in case:
        assert match is None
        assert router.allowed(path) == case.get("allow", [])
        return
    assert match is not None
    wanted = case["route"].rpartition(" ")
    assert (match.binding.verb, match.binding.template.text) == (wanted[0] or "GET", wanted[2])
    if "variables" in case:
        values = {variable.path: variable.value(match.parts) for variable, _ in match.binding.variables}
        assert values == case["variables"]


@pytest.mark.parametrize("order", [1, -1])
def test_precedence_does_not_follow_the_order_of_declaration(method: Method, order: int) -> None:
    rules = [rule(path) for path in ("/a/**", "/a/*", "/a/b", "/a/b:sum", "/a/*/c")]
    router = router_of(method, *rules[::order])
    paths = ["/a/b", "/a/x", "/a/x/y", "/a/b:sum", "/a/b/c", "/a"]
    taken = [match.binding.template.text for path in paths if (match := router.match("GET", path))]
    assert taken == ["/a/b", "/a/*", "/a/**", "/a/b:sum", "/a/*/c", "/a/**"]


@pytest.mark.parametrize("path", ["/%zz", "/%FF", "/a%"])
def test_a_variable_that_cannot_be_decoded_is_refused(method: Method, path: str) -> None:
    match = router_of(method, rule("/{name}")).match("GET", path)
    assert match is not None
    with pytest.raises(InvalidArgument, match="`name`"):
        match.binding.request(match.parts, "", b"")


MISTAKES = [
    # what a rule must not say, and what is said of it
    ([HttpRule(get="/a"), HttpRule(get="/a")], "both answer GET /a; change one"),
    ([HttpRule(get="/a/{name}"), HttpRule(get="/a/{id=*}")], r"both answer GET /a/\{id=\*\}"),
    ([HttpRule(get="/a/{name=b/**}"), HttpRule(get="/a/b/**")], "both answer GET"),
    ([HttpRule(get="/a"), HttpRule(custom=CustomHttpPattern(kind="get", path="/%61"))], "both answer GET"),
    ([HttpRule(get="a")], "`a` is invalid at position 0"),
    ([HttpRule(get="/{nothing}")], "variable `nothing`: there is no such field"),
    ([HttpRule(get="/{child.nothing}")], r"variable `child.nothing`: there is no such field"),
    ([HttpRule(get="/{child}")], "variable `child`: it is a Child; name one of its fields"),
    ([HttpRule(get="/{tags}")], "variable `tags` is repeated"),
    ([HttpRule(get="/{labels}")], "variable `labels`: it is a map"),
    ([HttpRule(post="/a", body="nothing")], "body `nothing` is no field of test.routes.v1.Request"),
    ([HttpRule(post="/a", body="child.id")], r"body `child.id` is no field"),
    ([HttpRule(get="/a", response_body="nothing")], "response_body `nothing` is no field of test.routes.v1.Thing"),
    ([HttpRule(body="*")], "has a verb and a path"),
    ([HttpRule(custom=CustomHttpPattern(path="/a"))], "names its verb in `kind`"),
    (
        [HttpRule(get="/a"), HttpRule(get="/b", additional_bindings=[HttpRule(get="/c")])],
        "additional_bindings have no additional_bindings",
    ),
]


@pytest.mark.parametrize(("rules", "says"), MISTAKES)
def test_a_rule_that_cannot_be_obeyed_stops_the_start(method: Method, rules: list[HttpRule], says: str) -> None:
    with pytest.raises(ConfigurationError, match=r"test\.routes\.v1\.Routes\.Go.*" + says):
        router_of(method, *rules)
