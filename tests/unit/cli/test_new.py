"""`laneway new`: names, what is refused with nothing made, and the lists in which a service then is."""

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from laneway.cli.new import listing
from laneway.cli.new.names import LONGEST, Name
from laneway.cli.new.service import new_service
from laneway.errors import ConfigurationError
from tests.fixtures.command import laneway

ROOT = Path(__file__).parents[3]
FILES = ("services/pyproject.toml", "pyproject.toml", "charts/shop/values.yaml")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """What `laneway new` looks at."""
    shutil.copytree(ROOT / "protos", tmp_path / "protos")
    for file in FILES:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / file, tmp_path / file)
    return tmp_path


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("typed", "service", "title", "resource", "collection", "table"),
    [
        ("reviews", "reviews", "Reviews", "Review", "reviews", "reviews"),
        ("price-alerts", "pricealerts", "PriceAlerts", "PriceAlert", "priceAlerts", "price_alerts"),
        ("price_alerts", "pricealerts", "PriceAlerts", "PriceAlert", "priceAlerts", "price_alerts"),
        ("loyalty", "loyalty", "Loyalty", "LoyaltyItem", "loyaltyItems", "loyalty_items"),
        ("status", "status", "Status", "StatusItem", "statusItems", "status_items"),
        ("categories", "categories", "Categories", "Category", "categories", "categories"),
    ],
)
def test_every_name_follows_from_the_one_that_is_typed(
    typed: str, service: str, title: str, resource: str, collection: str, table: str
) -> None:
    name = Name.of(typed)
    assert (name.service, name.title, name.resource) == (service, title, resource)
    assert (name.placeholders()["collection"], name.placeholders()["table"]) == (collection, table)


@pytest.mark.parametrize(
    ("typed", "reason"),
    [
        ("Reviews", "small letters"),
        ("2fast", "small letters"),
        ("price--alerts", "small letters"),
        ("price-big_alerts", "small letters"),
        ("-x", "small letters"),
        ("../x", "small letters"),
        ("", "small letters"),
        ("a" * (LONGEST + 1), "more than 24 letters"),
        ("class", "keyword of Python"),
        ("is", "keyword of Python"),
        ("v2", "version of a contract"),
        ("valkey", "deployed with the services"),
        ("google", "contracts import"),
        ("not-found", "has something of this name"),
        ("orders", "There is a service `orders` already"),
        ("gateway", "There is a service `gateway` already"),
        ("subscriptions", "Laneway itself has a table `subscriptions`"),
        ("products", r"ROUTE_\w+ [\s\S]*products"),
    ],
)
def test_a_name_that_cannot_be_is_refused_and_nothing_is_made(repository: Path, typed: str, reason: str) -> None:
    before = contents(repository)
    with pytest.raises(ConfigurationError, match=reason):
        new_service(typed, repository)
    assert contents(repository) == before


def test_a_refusal_is_one_sentence_on_the_terminal(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(repository)
    ended = laneway("new", "service", "class")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == "A service cannot be called `class`: it is a keyword of Python.\n"


def test_elsewhere_than_in_a_repository_it_says_where_to_go(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"There is no services/pyproject\.toml here"):
        new_service("reviews", tmp_path)


def test_a_service_is_in_every_list_in_which_its_neighbour_is(repository: Path) -> None:
    new_service("reviews", repository)
    for file in ("pyproject.toml", "services/pyproject.toml"):
        text = (repository / file).read_text()
        tomllib.loads(text)
        assert text.count("shop_reviews") == text.count("shop_catalog")
        assert text.count('reviews/src"') == text.count('catalog/src"')
    assert listing.services((repository / FILES[0]).read_text())["reviews"] == "shop_reviews.service:service"


def test_the_chart_deploys_it_and_is_otherwise_as_it_was(repository: Path) -> None:
    values = repository / "charts/shop/values.yaml"
    before = values.read_text().splitlines()
    new_service("reviews", repository)
    after = values.read_text().splitlines()
    assert [line for line in after if line not in before] == ["    reviews:"]
    assert len(after) - len(before) <= 10
    assert yaml.safe_load("\n".join(after))["laneway"]["services"]["reviews"] == {"grpc": {}}


@pytest.mark.parametrize("typed", ["a", "loyalty", "z" * 22 + "es", "z" * LONGEST, "x-y-z-a-b-c-d-e-f-g-h-k"])
def test_what_is_made_is_in_the_repositorys_style_whatever_the_name(repository: Path, typed: str) -> None:
    made = [str(place) for place in new_service(typed, repository) if place.suffix == ".py"]
    assert made
    for check in (["check"], ["format", "--check"]):
        ended = subprocess.run(
            [sys.executable, "-m", "ruff", *check, *made], cwd=repository, capture_output=True, text=True, check=False
        )
        assert ended.returncode == 0, ended.stdout


def test_a_second_service_stands_beside_the_first(repository: Path) -> None:
    new_service("reviews", repository)
    new_service("price-alerts", repository)
    known = listing.services((repository / FILES[0]).read_text())
    assert {"catalog", "pricealerts", "reviews"} <= known.keys()
    deployed = yaml.safe_load((repository / FILES[2]).read_text())["laneway"]["services"]
    assert list(deployed)[-2:] == ["reviews", "pricealerts"]
