import pytest

from laneway.scaling.staffing import steady_servers


@pytest.mark.parametrize(
    ("rate", "service", "within", "percentile", "servers"),
    [
        # Erlang C tables: 100 calls an hour of 3 minutes (5 erlang): 8 agents answer 80 % at once within 20 s.
        (100 / 3600, 180.0, 20.0, 0.80, 8),
        # 10 erlang, 90 % without waiting: C(15, 10) = 0.102, C(16, 10) = 0.057.
        (10.0, 1.0, 0.0, 0.90, 16),
        (0.0, 1.0, 1.0, 0.95, 0),
    ],
)
def test_erlang_c(rate: float, service: float, within: float, percentile: float, servers: int) -> None:
    assert steady_servers(rate, service, within=within, percentile=percentile, at_most=100) == servers


def test_the_search_ends_at_its_bound() -> None:
    assert steady_servers(1e6, 1.0, within=1.0, percentile=0.95, at_most=40) == 40
