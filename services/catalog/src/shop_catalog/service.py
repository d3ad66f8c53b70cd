"""The catalog's handlers."""

import uuid
from pathlib import Path

from google.protobuf.empty_pb2 import Empty
from sqlalchemy import delete, insert, select, update

from laneway.call import Call
from laneway.client import Lanes
from laneway.errors import Aborted, AlreadyExists, NotFound
from laneway.service import Service
from shop.catalog.v1.catalog_laneway import CatalogService
from shop.catalog.v1.catalog_pb2 import (
    CreateProductRequest,
    DeleteProductRequest,
    GetProductRequest,
    ListProductsRequest,
    ListProductsResponse,
    Product,
    UpdateProductRequest,
)
from shop_catalog.domain import changed, products


class Catalog(CatalogService):
    async def create_product(self, request: CreateProductRequest, call: Call) -> Product:
        product = Product()
        product.CopyFrom(request.product)
        product.name = f"products/{request.product_id or uuid.uuid4().hex}"
        product.etag = uuid.uuid4().hex
        if await call.fetch(select(products.c.name).where(products.c.name == product.name)):
            raise AlreadyExists(f"{product.name} exists.", reason="PRODUCT_EXISTS")
        call.execute(insert(products), [_row(product)])
        return product

    async def get_product(self, request: GetProductRequest, call: Call) -> Product:
        rows = await call.fetch(select(products).where(products.c.name == request.name))
        if not rows:
            raise NotFound(f"There is no {request.name}.", reason="NO_PRODUCT")
        return Product(**rows[0].as_dict())

    async def list_products(self, request: ListProductsRequest, call: Call) -> ListProductsResponse:
        size = min(request.page_size or 20, 100)
        page = select(products).where(products.c.name > request.page_token).order_by(products.c.name)
        rows = await call.fetch(page.limit(size + 1))
        more = {"next_page_token": rows[size - 1].name} if len(rows) > size else {}
        return ListProductsResponse(products=[Product(**row.as_dict()) for row in rows[:size]], **more)

    async def update_product(self, request: UpdateProductRequest, call: Call) -> Product:
        known = await self.get_product(GetProductRequest(name=request.product.name), call)
        _unseen(known, request.product.etag)
        product = changed(known, request.product, request.update_mask)
        product.etag = uuid.uuid4().hex
        row = products.c.name == known.name, products.c.etag == known.etag
        call.execute(update(products).where(*row).values(**_row(product)), expect=1)
        return product

    async def delete_product(self, request: DeleteProductRequest, call: Call) -> Empty:
        known = await self.get_product(GetProductRequest(name=request.name), call)
        _unseen(known, request.etag)
        call.execute(delete(products).where(products.c.name == known.name, products.c.etag == known.etag), expect=1)
        return Empty()


def _row(product: Product) -> dict[str, object]:
    return {column: getattr(product, column) for column in products.c.keys()}  # noqa: SIM118 a column collection


def _unseen(known: Product, etag: str) -> None:
    if etag and etag != known.etag:
        raise Aborted(f"{known.name} has changed since; read it again.", reason="ETAG_MISMATCH")


def service(lanes: Lanes) -> Service:
    """The catalog, as it is deployed."""
    return Service("catalog", Catalog(), migrations=Path(__file__).with_name("migrations"))
