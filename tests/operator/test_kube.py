"""Requests to an API server, on a server that only listens; and the permissions that the chart asks for them."""

import inspect
import json
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web
from aiohttp.test_utils import TestServer

from laneway.errors import Aborted, AlreadyExists, LanewayError, NotFound, PermissionDenied, Unavailable
from laneway_operator.kube import Api, Credentials, Request, find_credentials
from laneway_operator.watch import KopfWatch

CHART = Path("charts/laneway-operator")


@dataclass
class Listener:
    """An API server that says yes, or what `answers` holds."""

    answers: list[tuple[int, dict[str, Any]]] = field(default_factory=list)
    heard: list[tuple[str, str, str, Any]] = field(default_factory=list)

    async def handle(self, request: web.Request) -> web.Response:
        body = await request.json() if request.can_read_body else None
        self.heard.append((request.method, request.path, request.headers.get("Authorization", ""), body))
        code, answer = self.answers.pop(0) if self.answers else (200, {"data": {"url": "cmVkaXM6Ly94"}})
        return web.json_response(answer, status=code)


@pytest.fixture
def listener() -> Listener:
    return Listener()


@pytest.fixture
def requests() -> list[Request]:
    return []


@pytest.fixture
async def api(listener: Listener, requests: list[Request]) -> AsyncIterator[Api]:
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", listener.handle)
    tokens = iter(["first", "second", "third"])
    async with TestServer(application) as server:
        url = str(server.make_url("")).rstrip("/")
        find = lambda: Credentials(url, {"Authorization": f"Bearer {next(tokens)}"}, False)  # noqa: E731
        async with Api(find, requests.append) as api:
            yield api


async def test_the_scale_is_set_only_on_the_version_that_was_seen(api: Api, listener: Listener) -> None:
    await api.scale("shop", "worker", 3, version="42")
    method, path, _, body = listener.heard[0]
    assert (method, path) == ("PATCH", "/apis/apps/v1/namespaces/shop/deployments/worker/scale")
    assert body == {"metadata": {"resourceVersion": "42"}, "spec": {"replicas": 3}}


async def test_a_secret_is_decoded(api: Api) -> None:
    assert await api.secret("shop", "broker") == {"url": b"redis://x"}


async def test_a_token_that_was_renewed_is_read_again(api: Api, listener: Listener) -> None:
    listener.answers = [(401, {})]
    await api.secret("shop", "broker")
    assert [each[2] for each in listener.heard] == ["Bearer first", "Bearer second"]


@pytest.mark.parametrize(
    ("code", "body", "error"),
    [
        (404, {"message": "pods not found"}, NotFound),
        (409, {"reason": "Conflict", "message": "modified"}, Aborted),
        (409, {"reason": "AlreadyExists", "message": "exists"}, AlreadyExists),
        (403, {"message": "forbidden"}, PermissionDenied),
        (503, {"message": "starting"}, Unavailable),
        (429, {"message": "slow down"}, Unavailable),
    ],
)
async def test_an_answer_that_is_no_yes_is_an_error_with_its_words(
    api: Api, listener: Listener, code: int, body: dict[str, Any], error: type[LanewayError]
) -> None:
    listener.answers = [(code, body)]
    with pytest.raises(error, match=body["message"]):
        await api.set_deletion_cost("shop", "worker-1", 1)


async def test_a_server_that_is_away_is_unavailable_and_counted(requests: list[Request]) -> None:
    async with Api(lambda: Credentials("http://127.0.0.1:1", {}, False), requests.append) as api:
        with pytest.raises(Unavailable):
            await api.create_event("shop", {})
    assert [(each.verb, each.resource, each.code) for each in requests] == [("post", "events", 0)]


async def test_the_chart_asks_for_each_permission_that_is_used_and_for_no_other(
    api: Api, listener: Listener, requests: list[Request]
) -> None:
    asked = {
        "scale": api.scale("n", "d", 1, version="1"),
        "set_deletion_cost": api.set_deletion_cost("n", "p", None),
        "patch_status": api.patch_status("n", "w", {}),
        "create_event": api.create_event("n", {}),
        "secret": api.secret("n", "s"),
        "get_lease": api.get_lease("n", "l"),
        "create_lease": api.create_lease("n", "l", {}),
        "patch_lease": api.patch_lease("n", "l", {}, version="1"),
    }
    for each in asked.values():
        await each
    public = {name for name in vars(Api) if inspect.iscoroutinefunction(getattr(Api, name)) and name[0] != "_"}
    assert asked.keys() == public - {"serves_pools"}, "what everybody may ask needs no permission"
    groups = [_group(path) for _, path, _, _ in listener.heard]
    used = {
        ({"post": "create"}.get(each.verb, each.verb), group, each.resource)
        for each, group in zip(requests, groups, strict=True)
    }
    for selector in KopfWatch().registry._indexing.get_all_selectors():
        used |= {(verb, selector.group or "", selector.any_name or selector.plural) for verb in ("list", "watch")}
    for options in ((), ("--set", "namespaces={a}")):
        assert {(verb, group, resource) for verb, group, resource, _ in _permissions(*options)} == used


def test_of_leases_only_its_own_may_be_read_and_changed() -> None:
    rules = {(verb, names) for verb, _, resource, names in _permissions() if resource == "leases"}
    assert rules == {("create", ()), ("get", ("op",)), ("patch", ("op",))}


def _group(path: str) -> str:
    """The API group in a request's path."""
    return "" if path.startswith("/api/") else path.split("/")[2]


def _permissions(*options: str) -> set[tuple[str, str, str, tuple[str, ...]]]:
    """Verb, group, resource and names of all rules that the operator is given."""
    if shutil.which("helm") is None:
        pytest.skip("helm is not installed")
    command = ["helm", "template", "op", str(CHART), "--show-only", "templates/rbac.yaml", *options]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found = set()
    for each in yaml.safe_load_all(text):
        if each and each["kind"] in ("Role", "ClusterRole") and "aggregate" not in json.dumps(each["metadata"]):
            found |= {
                (verb, group, resource, tuple(rule.get("resourceNames", ())))
                for rule in each["rules"]
                for verb in rule["verbs"]
                for group in rule["apiGroups"]
                for resource in rule["resources"]
            }
    return found


def test_a_clusters_authority_need_not_carry_every_extension(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = {
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:6443"}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
    }
    (tmp_path / "config").write_text(yaml.safe_dump(config))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
    found = find_credentials()
    assert isinstance(found.tls, ssl.SSLContext)
    assert not found.tls.verify_flags & ssl.VERIFY_X509_STRICT
    assert (found.tls.verify_mode, found.tls.check_hostname) == (ssl.CERT_REQUIRED, True)
