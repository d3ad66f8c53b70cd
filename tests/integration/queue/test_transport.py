"""kombu's transport as our workers use it."""

from kombu import Connection

from laneway.lanes.queue import transport


def test_a_channel_asks_all_by_one_client(valkey_url: str) -> None:
    with Connection(valkey_url, transport=transport.NAME) as connection:
        channel = connection.default_channel
        with channel.conn_or_acquire() as one, channel.conn_or_acquire() as other:
            assert one is other
            assert one.ping()
