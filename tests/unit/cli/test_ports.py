"""Ports that are taken are named before anything starts."""

from collections.abc import Iterator

import pytest

from laneway.cli.up.ports import Wanted, check_free, from_base, is_free, listener
from laneway.errors import ConfigurationError


@pytest.fixture
def taken() -> Iterator[int]:
    port = next(from_base(0))
    with listener("127.0.0.1", port) as bound:
        bound.listen()
        yield port


def test_a_taken_port_is_one_sentence_with_who_needs_it_and_what_to_change(taken: int) -> None:
    wanted = Wanted("127.0.0.1", taken, "orders", "choose others with --base-port")

    with pytest.raises(ConfigurationError) as raised:
        check_free([wanted])

    assert raised.value.message == (
        f"Port {taken}, wanted by orders, is taken; stop what uses it, or choose others with --base-port."
    )


@pytest.mark.parametrize("host", ["192.0.2.1", "no.such.host.invalid"])
def test_a_host_that_is_not_this_machine_is_no_taken_port(host: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{host}, where orders is to listen, is no .* correct LANEWAY_HOST"):
        check_free([Wanted(host, next(from_base(0)), "orders", "choose others with --base-port")])


def test_a_port_beyond_the_last_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="There is no port 65536 for valkey"):
        check_free([Wanted("127.0.0.1", 65_536, "valkey", "choose others with --base-port")])


def test_ports_rise_from_the_base() -> None:
    ports = from_base(50051)

    assert [next(ports), next(ports)] == [50051, 50052]


def test_base_zero_gives_different_free_ports() -> None:
    ports = from_base(0)
    found = [next(ports) for _ in range(20)]

    assert len(set(found)) == 20
    assert all(is_free("127.0.0.1", port) for port in found)
