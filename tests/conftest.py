"""Fixtures that every suite may use, one module for each server."""

import os

from hypothesis import HealthCheck, settings

pytest_plugins = [
    "tests.fixtures.checkout", "tests.fixtures.postgres", "tests.fixtures.shelf", "tests.fixtures.shop", "tests.fixtures.valkey",
    "tests.fixtures.stores", "tests.fixtures.talk",
    "tests.fixtures.roles", "tests.fixtures.producer",  # after those that it imports
]  # fmt: skip

# How fast a machine makes examples says nothing about the code. CI looks at the same ones each time; here they vary.
settings.register_profile(
    "laneway", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize="CI" in os.environ
)
settings.load_profile("laneway")
