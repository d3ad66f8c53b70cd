"""google/api/http.proto, data first: templates that match, that do not, and that are none."""

import pytest

from laneway.errors import ConfigurationError
from laneway.lanes.rest.template import parse

MATCHES = [
    # template, raw path, variables (None: no match)
    ("/v1/orders", "/v1/orders", {}),
    ("/v1/orders", "/v1/orders/", None),
    ("/v1/orders", "/v1/Orders", None),
    ("/v1/orders", "/v1/or%64ers", {}),
    ("/v1/{name}", "/v1/a", {"name": "a"}),
    ("/v1/{name}", "/v1/a%2Fb", {"name": "a/b"}),
    ("/v1/{name}", "/v1/a%20b", {"name": "a b"}),
    ("/v1/{name}", "/v1/a/b", None),
    ("/v1/{name}", "/v1/", None),
    ("/v1/{name=orders/*}", "/v1/orders/7", {"name": "orders/7"}),
    ("/v1/{name=orders/*}", "/v1/orders/a%2Fb", {"name": "orders/a%2Fb"}),
    ("/v1/{name=orders/*}", "/v1/orders/a%2fb", {"name": "orders/a%2fb"}),
    ("/v1/{name=orders/*}", "/v1/orders/a%3Ab", {"name": "orders/a:b"}),
    ("/v1/{name=orders/*}", "/v1/books/7", None),
    ("/v1/{name=orders/*}/history", "/v1/orders/7/history", {"name": "orders/7"}),
    ("/v1/{name=orders/*}:cancel", "/v1/orders/7:cancel", {"name": "orders/7"}),
    ("/v1/{name=orders/*}:cancel", "/v1/orders/7:watch", None),
    ("/v1/{name=orders/*}:cancel", "/v1/orders/7", None),
    ("/v1/{name=orders/*}:cancel", "/v1/orders/a:b:cancel", {"name": "orders/a:b"}),
    ("/v1/{order.name=orders/*}", "/v1/orders/7", {"order.name": "orders/7"}),
    ("/v1/{parent=shelves/*}/books/{book}", "/v1/shelves/1/books/2", {"parent": "shelves/1", "book": "2"}),
    ("/v1/{name=operations/**}", "/v1/operations/orders/7", {"name": "operations/orders/7"}),
    ("/v1/{name=operations/**}", "/v1/operations", {"name": "operations"}),
    ("/v1/{path=**}", "/v1/a/b/c", {"path": "a/b/c"}),
    ("/v1/*/b", "/v1/anything/b", {}),
    ("/v1/**", "/v1/a/b", {}),
    ("/{a}/{b}", "/x/y", {"a": "x", "b": "y"}),
    ("/v1/{name}", "/v1/%C3%A9", {"name": "é"}),
    ("/v1/{name}", "/v1/100%25", {"name": "100%"}),
    ("/v1/{name}:sum", "/v1/a%3Asum", None),
]


@pytest.mark.parametrize(("template", "path", "variables"), MATCHES)
def test_a_template_takes_what_it_says(template: str, path: str, variables: dict[str, str] | None) -> None:
    assert parse(template).match(path) == variables


INVALID = [
    ("v1/orders", 0),
    ("/", 1),
    ("/v1/", 4),
    ("/v1//orders", 4),
    ("/v1/{}", 4),
    ("/v1/{name", 4),
    ("/v1/name}", 8),
    ("/v1/{name=}", 4),
    ("/v1/{name=a{b}}", 4),
    ("/v1/**/orders", 4),
    ("/v1/{name=**}/orders", 10),
    ("/v1/{1name}", 4),
    ("/v1/a*b", 5),
    ("/v1/orders:", 10),
    ("/v1/{a}/{a}", 0),
]


@pytest.mark.parametrize(("template", "position"), INVALID)
def test_an_invalid_template_is_refused_with_its_place(template: str, position: int) -> None:
    with pytest.raises(ConfigurationError, match=f"invalid at position {position}:"):
        parse(template)


def test_literal_beats_star_beats_double_star() -> None:
    templates = ["/v1/**", "/v1/*", "/v1/orders", "/v1/orders:sum"]
    ordered = sorted((parse(text) for text in templates), key=lambda template: template.precedence)
    assert [template.text for template in ordered] == ["/v1/orders:sum", "/v1/orders", "/v1/*", "/v1/**"]
