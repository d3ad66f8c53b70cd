"""Products: their table, and what makes one valid."""

from google.protobuf.field_mask_pb2 import FieldMask
from sqlalchemy import BigInteger, Column, MetaData, Table, Text

from laneway.errors import InvalidArgument
from shop.catalog.v1.catalog_pb2 import Product

products = Table(
    "products",
    MetaData(),
    Column("name", Text, primary_key=True),
    Column("title", Text, nullable=False),
    Column("price_minor", BigInteger, nullable=False),
    Column("currency", Text, nullable=False),
    Column("etag", Text, nullable=False),
)

CHANGEABLE = ("title", "price_minor", "currency")


def check(product: Product) -> None:
    """Refuse what cannot be sold."""
    if not product.title:
        raise InvalidArgument("A product needs a title.")
    if product.price_minor < 0:
        raise InvalidArgument("A price is not negative.")
    if len(product.currency) != 3:
        raise InvalidArgument("A currency is an ISO 4217 code, such as EUR.")


def changed(product: Product, wanted: Product, mask: FieldMask) -> Product:
    """The product with the fields of the mask as wanted; without a mask, those that are set."""
    paths = mask.paths or [field.name for field, _ in wanted.ListFields() if field.name in CHANGEABLE]
    result = Product()
    result.CopyFrom(product)
    for path in paths:
        if path not in CHANGEABLE:
            raise InvalidArgument(f"update_mask: `{path}` cannot be changed; what can is {', '.join(CHANGEABLE)}.")
        setattr(result, path, getattr(wanted, path))
    check(result)
    return result
