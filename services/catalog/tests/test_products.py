import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from laneway.errors import InvalidArgument
from shop.catalog.v1.catalog_pb2 import Product
from shop_catalog.domain import changed, check

LAMP = Product(name="products/lamp", title="A lamp", price_minor=4900, currency="EUR", etag="1")


def test_a_mask_changes_what_it_names_and_nothing_else() -> None:
    wanted = Product(title="A light", price_minor=1)
    result = changed(LAMP, wanted, FieldMask(paths=["title"]))
    assert (result.title, result.price_minor, result.name) == ("A light", 4900, "products/lamp")


def test_without_a_mask_what_is_set_is_changed() -> None:
    assert changed(LAMP, Product(price_minor=1), FieldMask()).price_minor == 1


def test_a_name_cannot_be_changed() -> None:
    with pytest.raises(InvalidArgument, match="`name` cannot be changed"):
        changed(LAMP, Product(name="products/x"), FieldMask(paths=["name"]))


@pytest.mark.parametrize(
    "product",
    [
        Product(price_minor=1, currency="EUR"),
        Product(title="x", price_minor=-1, currency="EUR"),
        Product(title="x", price_minor=1, currency="euro"),
    ],
)
def test_what_cannot_be_sold_is_refused(product: Product) -> None:
    with pytest.raises(InvalidArgument):
        check(product)
