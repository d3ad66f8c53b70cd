"""Fixtures that every suite may use, one module for each server."""

pytest_plugins = [
    "tests.fixtures.postgres", "tests.fixtures.shelf", "tests.fixtures.shop", "tests.fixtures.valkey",
    "tests.fixtures.roles",  # after those that it imports
]  # fmt: skip
