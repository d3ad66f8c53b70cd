import pytest


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """A database of each kind, at its newest revision."""
    return str(request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "migrated_postgres_url"))
