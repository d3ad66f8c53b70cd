"""What kombu lays out on a broker, however it is told to, is what is read: written by kombu itself, read by us."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from kombu import Connection, Exchange, Queue

from laneway.scaling.model import Reading
from laneway.scaling.signals import Layout, Source
from laneway.scaling.signals.valkey import ValkeySignals

OPTIONS = {
    "global_keyprefix": "team:",
    "priority_steps": [0, 4, 8],
    "sep": "::",
    "unacked_key": "taken",
    "unacked_index_key": "taken-index",
}
LAYOUT = Layout(
    global_keyprefix="team:",
    priority_steps=(0, 4, 8),
    separator="::",
    unacked_key="taken",
    unacked_index_key="taken-index",
)
BOTH = pytest.mark.parametrize(("options", "layout"), [({}, Layout()), (OPTIONS, LAYOUT)], ids=["default", "own"])
MEDIA = Exchange("media", type="topic")


@dataclass
class Application:
    """An application that publishes and takes by kombu; what it took is in `unacked` while it lives."""

    connection: Any

    def publish(self, queue: Queue, *keys: str, priority: int = 0) -> None:
        with self.connection.Producer() as producer:
            for key in keys:
                producer.publish({}, exchange=queue.exchange, routing_key=key, declare=[queue], priority=priority)

    def take(self, queue: Queue) -> None:
        assert queue(self.connection.default_channel).get() is not None


@contextmanager
def application(url: str, options: dict[str, Any]) -> Iterator[Application]:
    with Connection(url, transport_options=options) as connection:
        yield Application(connection)


async def look(url: str, *queues: str, layout: Layout) -> Reading:
    """The second look: the first may have met an exchange that it did not know."""
    signals = ValkeySignals(url)
    source = Source(pool="p", queues=queues, layout=layout)
    try:
        await signals.read([source])
        reading = (await signals.read([source]))["p"]
    finally:
        await signals.close()
    assert isinstance(reading, Reading), reading
    return reading


@BOTH
async def test_what_waits_in_each_priority_and_what_was_taken(
    valkey_url: str, options: dict[str, Any], layout: Layout
) -> None:
    queue = Queue("mail")
    with application(valkey_url, options) as app:
        for priority in range(10):
            app.publish(queue, "mail", priority=priority)
        app.take(queue)
        reading = await look(valkey_url, "mail", layout=layout)
    assert (reading.waiting, reading.orphans) == (9, 1)


@BOTH
@pytest.mark.parametrize(
    ("bound", "key"),
    [
        ("video.#", "video.encode"),
        ("video.#", "video.encode.fast"),
        ("video.*", "video.encode"),
        ("*.encode", "video.encode"),
        ("#.fast", "video.encode.fast"),
        ("video.encode", "video.encode"),
        ("video.encode", None),
        ("video.#", None),
        ("*.*.mix", None),
    ],
)
async def test_what_was_taken_belongs_to_the_queue_that_its_topic_leads_to(
    valkey_url: str, options: dict[str, Any], layout: Layout, bound: str, key: str | None
) -> None:
    ours = Queue("films", MEDIA, routing_key=bound)
    other = Queue("rest", MEDIA, routing_key="audio.#")
    with application(valkey_url, options) as app:
        ours(app.connection.default_channel).declare()
        app.publish(other, "audio.mix")
        app.take(other)
        if key:
            app.publish(ours, key)
            app.take(ours)
        films = await look(valkey_url, "films", layout=layout)
        rest = await look(valkey_url, "rest", layout=layout)
    assert (films.orphans, rest.orphans) == (int(key is not None), 1)


async def test_what_was_taken_belongs_to_the_queue_that_a_direct_exchange_leads_to(valkey_url: str) -> None:
    queue = Queue("films", Exchange("direct-media", type="direct"), routing_key="video")
    with application(valkey_url, {}) as app:
        app.publish(queue, "video")
        app.take(queue)
        films = await look(valkey_url, "films", layout=Layout())
        video = await look(valkey_url, "video", layout=Layout())
    assert (films.orphans, video.orphans) == (1, 0)


async def test_a_database_is_what_the_url_says(valkey_url: str) -> None:
    base = valkey_url.rpartition("/")[0]
    queue = Queue("mail")
    with application(f"{base}/2", {}) as app:
        app.publish(queue, "mail", "mail")
        assert (await look(f"{base}/2", "mail", layout=Layout())).waiting == 2
        assert (await look(f"{base}/1", "mail", layout=Layout())).waiting == 0
