"""A caller without a database, at the edge of real processes, when its queue is full."""

import httpx

from tests.fixtures.roles import Roles, listens, until

LIMIT = 5


def test_the_edge_answers_429_with_retry_after_when_the_outbox_is_full(roles: Roles) -> None:
    server = roles.start("grpc", outbox_max_rows=LIMIT)
    edge = roles.start("rest")
    for name in ("grpc", "rest"):
        until(lambda port=roles.ports[name]: listens(port), lambda: server.log() + edge.log())
    with httpx.Client(base_url=f"http://127.0.0.1:{roles.ports['rest']}", timeout=30) as client:
        answers: list[httpx.Response] = []

        def refused() -> bool:
            answers.append(client.post("/v1/shelves/book:tidy", json={}))
            return answers[-1].status_code != 202

        until(refused, server.log)
    last = answers[-1]
    assert len(answers) > LIMIT
    assert (last.status_code, last.headers["Retry-After"]) == (429, "5")
    assert last.json()["error"]["status"] == "RESOURCE_EXHAUSTED"
    assert "The queue shelf.default takes nothing now" in last.json()["error"]["message"]
