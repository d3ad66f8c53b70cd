"""What the gateway lets in, and what it does not."""

from laneway.runtime.installed import describe


def test_the_public_methods_have_routes_and_the_inner_ones_none() -> None:
    exposed = {method.full_name for method in describe("gateway").exposed}
    assert {"shop.orders.v1.Orders.PlaceOrder", "shop.catalog.v1.Catalog.ListProducts"} <= exposed
    assert not any(name.startswith(("shop.inventory", "shop.payments", "shop.notifications")) for name in exposed)
    assert not any(".On" in name for name in exposed)


def test_the_gateway_has_no_database_and_one_role() -> None:
    gateway = describe("gateway")
    assert (gateway.database, gateway.roles) == (False, ("rest",))
