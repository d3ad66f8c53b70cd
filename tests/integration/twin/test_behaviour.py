"""What notifications do, whoever wrote them: the shop's, and the twin by hand, seen from outside alone."""

import asyncio
import threading
from collections.abc import Iterator
from email import message_from_bytes
from typing import Any

import grpc
import pytest
import redis
from aiosmtpd.controller import Controller

from shop.fulfilment.v1.events_pb2 import OrderRejected, OrderShipped
from shop.notifications.v1.notifications_pb2 import SendEmailRequest
from tests.fixtures.roles import until
from tests.fixtures.valkey import Server, free_port
from tests.integration.twin.services import Processes, opened


class Post:
    """A mail server that may be away, and that may keep who sends waiting."""

    def __init__(self) -> None:
        self.port = free_port()
        self.mails: list[Any] = []
        self.entered = threading.Event()
        self.goes_on = threading.Event()
        self.goes_on.set()
        self._server: Controller | None = None

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802 aiosmtpd's name
        self.entered.set()
        if not self.goes_on.is_set():
            self.goes_on.set()  # only the first is kept waiting, until its sender is gone
            await asyncio.Event().wait()
        self.mails.append(message_from_bytes(envelope.content))
        return "250 kept"

    def open(self) -> None:
        self._server = Controller(self, hostname="127.0.0.1", port=self.port)
        self._server.start()

    def close(self) -> None:
        if self._server is not None:
            self._server.stop()
            self._server = None

    def subjects(self) -> list[str]:
        return [mail["Subject"] for mail in self.mails]


@pytest.fixture(scope="module")
def post() -> Iterator[Post]:
    post = Post()
    post.open()
    yield post
    post.close()


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("valkey"))
    server.start()
    yield server
    server.kill()


@pytest.fixture(scope="module", params=["ours", "twin"])
def service(
    request: pytest.FixtureRequest, broker: Server, post: Post, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Processes]:
    """One of the two; each test leaves it running."""
    with redis.Redis.from_url(broker.url) as client:
        client.flushall()
    yield from opened(request.param, broker.url, post.port, tmp_path_factory.mktemp(request.param))


@pytest.fixture
def mail(request: pytest.FixtureRequest, post: Post) -> SendEmailRequest:
    """A mail that only this test sends."""
    post.mails.clear()
    return SendEmailRequest(to="ada@example.org", subject=request.node.name, body="It works.\n")


def test_an_event_that_comes_twice_is_one_mail(service: Processes, post: Post) -> None:
    post.mails.clear()
    shipped = OrderShipped(order="orders/1", email="ada@example.org", tracking="T1")
    rejected = OrderRejected(order="orders/2", email="ada@example.org", reason="No stock.")
    for _ in range(2):
        service.tell("shipped-1", "OnOrderShipped", shipped)
        service.tell("rejected-2", "OnOrderRejected", rejected)
    service.tell("shipped-3", "OnOrderShipped", OrderShipped(order="orders/3", email="ada@example.org"))
    until(lambda: len(post.mails) >= 3, service.log)
    assert sorted(post.subjects()) == ["Not accepted: orders/2", "Shipped: orders/1", "Shipped: orders/3"]
    assert "T1" in next(mail for mail in post.mails if "orders/1" in mail["Subject"]).get_payload()


def test_one_key_is_one_mail_and_one_operation(service: Processes, post: Post, mail: SendEmailRequest) -> None:
    first = service.start_mail(mail, mail.subject)
    assert service.start_mail(mail, mail.subject) == first
    with pytest.raises(grpc.RpcError) as refused:
        service.start_mail(SendEmailRequest(to="eve@example.org"), mail.subject)
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    until(lambda: service.operation(first).done, service.log)
    assert post.subjects() == [mail.subject]
    assert post.mails[0]["Message-ID"].endswith("@laneway.example>")


def test_what_the_contract_refuses_is_refused(service: Processes) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        service.start_mail(SendEmailRequest(to="nobody", subject="x"), "key-1")
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    with pytest.raises(grpc.RpcError) as unknown:
        service.operation("operations/notifications/none")
    assert unknown.value.code() is grpc.StatusCode.NOT_FOUND


def test_a_mail_server_that_is_away_only_delays(service: Processes, post: Post, mail: SendEmailRequest) -> None:
    post.close()
    operation = service.start_mail(mail, mail.subject)
    until(lambda: "later" in service.log(), service.log)
    assert not service.operation(operation).done
    post.open()
    until(lambda: service.operation(operation).done, service.log)
    assert post.subjects() == [mail.subject]


def test_a_broker_that_forgets_loses_nothing(
    service: Processes, post: Post, broker: Server, mail: SendEmailRequest
) -> None:
    service.kill("worker")
    operation = service.start_mail(mail, mail.subject)
    with redis.Redis.from_url(broker.url) as client:
        until(lambda: client.llen("notifications.email") or client.keys("notifications.email*"), service.log)
        client.flushall()
    service.start("worker")
    until(lambda: service.operation(operation).done, service.log)
    assert post.subjects() == [mail.subject]


def test_a_worker_that_is_killed_in_the_middle_loses_nothing(
    service: Processes, post: Post, mail: SendEmailRequest
) -> None:
    post.entered.clear()
    post.goes_on.clear()
    operation = service.start_mail(mail, mail.subject)
    until(post.entered.is_set, service.log)
    service.kill("worker")
    service.outlast_copies()
    service.start("worker")
    until(lambda: service.operation(operation).done, service.log)
    assert post.subjects() == [mail.subject]
