"""A service that `laneway new` has just made passes what every other has to, in a copy of this repository."""

import os
import re
import shutil

import pytest
import yaml

from tests.fixtures.checkout import Checkout


@pytest.fixture(scope="module")
def made(checkout: Checkout) -> Checkout:
    said = checkout.run(".venv/bin/laneway new service price-alerts </dev/null")
    [installs, tests] = re.findall(r"`(.+?)`", said.splitlines()[-1])
    assert tests == ".venv/bin/pytest services/pricealerts"
    checkout.run(installs)
    return checkout


def test_its_style_its_layers_and_its_contract_are_good(made: Checkout) -> None:
    assert "no findings" in made.run("make lint")


def test_its_types_are_strict(made: Checkout) -> None:
    assert "no issues found in 5 source files" in made.run(".venv/bin/mypy -p shop_pricealerts")


def test_its_tests_pass(made: Checkout) -> None:
    assert "4 passed" in made.run(".venv/bin/pytest -q services/pricealerts")


def test_it_is_installed_and_migrates(made: Checkout) -> None:
    said = made.run(
        ".venv/bin/laneway migrate pricealerts", LANEWAY_DATABASE_URL=f"sqlite:///{made.root}/{{service}}.db"
    )
    assert said == "pricealerts: up to date\n"


def test_its_readme_is_three_lines(made: Checkout) -> None:
    assert len((made.root / "services/pricealerts/README.md").read_text().splitlines()) == 3


@pytest.mark.skipif(
    shutil.which("helm") is None and os.environ.get("CI", "") in ("", "0", "false"), reason="helm is not on the PATH"
)
def test_the_chart_deploys_it(made: Checkout) -> None:
    made.run("helm dependency update charts/shop --skip-refresh")
    rendered = list(yaml.safe_load_all(made.run("helm template shop charts/shop")))
    found = {each["kind"] for each in rendered if each and each["metadata"]["name"] == "shop-pricealerts"}
    assert {"Deployment", "Service", "NetworkPolicy", "Secret"} <= found
