"""Where things are, and what is said of a value that cannot be used."""

from pathlib import Path

import pytest

from laneway.errors import ConfigurationError
from laneway.settings import Settings

JSON = 'it is not JSON; write, for example, LANEWAY_TARGETS=\'{"orders": "dns:///orders:50051"}\'.'
BRACES = "its only braces are those of {service}, which stands for the name of a service; write, for example, "


@pytest.mark.parametrize(
    ("variable", "value", "named", "says"),
    [
        ("LANEWAY_TARGETS", "notjson", "LANEWAY_TARGETS", JSON),
        ("LANEWAY_TARGETS", "[]", "LANEWAY_TARGETS", "write, for example, LANEWAY_TARGETS='{"),
        ("LANEWAY_TARGET_PATTERN", "dns:///{x}", "LANEWAY_TARGET_PATTERN", f"{BRACES}LANEWAY_TARGET_PATTERN='dns:///"),
        ("LANEWAY_TARGET_PATTERN", "dns:///{", "LANEWAY_TARGET_PATTERN", BRACES),
        ("LANEWAY_DATABASE_URL", "sqlite:////tmp/{foo}.db", "LANEWAY_DATABASE_URL", f"{BRACES}LANEWAY_DATABASE_URL="),
        ("LANEWAY_BROKER_URL", "redis://127.0.0.1:abc", "LANEWAY_BROKER_URL", "the port in it is no number from 0 to"),
        (
            "LANEWAY_BROKER_URL",
            "amqp://x",
            "LANEWAY_BROKER_URL",
            "it begins with none of redis://, rediss://; write, for",
        ),
        (
            "LANEWAY_OTLP_ENDPOINT",
            "localhost:4318",
            "LANEWAY_OTLP_ENDPOINT",
            "it begins with none of http://, https://;",
        ),
        ("LANEWAY_DATABASE_URL", "postgresql://db:x/{service}", "LANEWAY_DATABASE_URL", "the port in it is no number"),
        ("LANEWAY_DATABASE_URL", "mysql://x", "LANEWAY_DATABASE_URL", "or LANEWAY_DATABASE_URL='postgresql://user@"),
        (
            "LANEWAY_DATABASES__orders",
            "mysql://x",
            "LANEWAY_DATABASES__orders",
            "LANEWAY_DATABASES__orders=postgresql:",
        ),
        (
            "LANEWAY_POLICY_FOLDER",
            "/nowhere",
            "LANEWAY_POLICY_FOLDER",
            "there is no folder /nowhere; make it, or unset",
        ),
    ],
)
def test_a_value_that_cannot_be_used_is_named_with_its_remedy(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, named: str, says: str
) -> None:
    monkeypatch.setenv(variable, value)

    with pytest.raises(ConfigurationError) as raised:
        Settings.load()

    assert raised.value.message.startswith(f"{named} cannot be used: ")
    assert says in raised.value.message


def test_a_pattern_holds_the_services_name_wherever_it_stands() -> None:
    settings = Settings(target_pattern="dns:///{service}.{service}:1", database_url="postgresql://db/{service}")

    assert settings.target("orders") == "dns:///orders.orders:1"
    assert settings.database("orders") == "postgresql://db/orders"


def test_a_service_may_have_a_place_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANEWAY_DATABASES__orders", "postgresql://db/o")
    monkeypatch.setenv("LANEWAY_TARGETS__orders", "elsewhere:1")
    settings = Settings.load()

    assert (settings.database("orders"), settings.target("orders")) == ("postgresql://db/o", "elsewhere:1")


def test_a_policy_folder_without_a_file_is_a_deployment_without_a_policy(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("LANEWAY_POLICY_FOLDER", str(tmp_path))

    assert Settings.load().policy_folder == tmp_path


def test_a_database_of_a_service_that_is_not_installed_is_refused() -> None:
    settings = Settings(databases={"nosuch": "sqlite:///x.db"})

    with pytest.raises(ConfigurationError, match=r"LANEWAY_DATABASES__nosuch is of no service .* a, b"):
        settings.refuse_unknown_databases(["b", "a"])


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"database_url": "sqlite:///all.db"}, "gives a and b and 1 more the same database; write {service}"),
        ({"databases": {"a": "sqlite:///x.db", "c": "sqlite:///x.db"}}, "gives a and c the same database"),
    ],
)
def test_two_services_with_one_database_are_refused(values: dict[str, object], says: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        Settings(**values).refuse_shared_database(["a", "b", "c"])  # type: ignore[arg-type]

    assert says in raised.value.message


def test_a_service_alone_may_have_a_plain_url() -> None:
    Settings(database_url="sqlite:///orders.db").refuse_shared_database(["orders"])
