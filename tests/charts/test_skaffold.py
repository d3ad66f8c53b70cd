"""`skaffold.yaml`: what each profile would install, and which files it copies where.

Profiles are applied here as skaffold applies them (JSON patches), and the releases rendered with the options it gives
to helm. Where skaffold is installed, it says itself what it makes of the file.
"""

import copy
import os
import re
import shutil
import subprocess
from typing import Any

import pytest
import yaml

from tests.charts.rendering import ROOT, Charts, Object, Rendered
from tests.charts.test_policies import services

FIELDS = {
    "": {"apiVersion", "kind", "metadata", "build", "deploy", "portForward", "profiles"},
    "/build": {"artifacts", "local", "tagPolicy"},
    "/build/artifacts/0": {"image", "context", "docker", "sync"},
    "/build/artifacts/0/docker": {"dockerfile", "buildArgs", "target"},
    "/deploy/helm/releases/0": {
        "name", "chartPath", "namespace", "createNamespace", "valuesFiles", "setValues", "setValueTemplates",
    },
    "/portForward/0": {"resourceType", "resourceName", "namespace", "port", "localPort"},
    "/profiles/0": {"name", "activation", "patches"},
}  # fmt: skip
"""Of the schema of v4beta13, the fields that this file may use."""

PROFILES = [(), ("dev",), ("debug",), ("lite",), ("full",), ("dev", "lite")]
IMAGE = {"IMAGE_REPO_laneway": "localhost:5001/laneway", "IMAGE_TAG_laneway": "abc", "IMAGE_DIGEST_laneway": ""}


def config(*profiles: str) -> Object:
    """The file, with profiles applied in order."""
    written: Object = yaml.safe_load((ROOT / "skaffold.yaml").read_text())
    found = copy.deepcopy(written)
    for name in profiles:
        [profile] = [each for each in written["profiles"] if each["name"] == name]
        for patch in profile["patches"]:
            add(found, patch)
    return found


def add(document: Any, patch: Object) -> None:
    """One `add` of RFC 6902; its target's parent must be there, as skaffold demands."""
    assert patch["op"] == "add"
    *parents, last = patch["path"].split("/")[1:]
    for part in parents:
        document = document[int(part) if isinstance(document, list) else part]
    if isinstance(document, list):
        assert last == "-"
        document.append(patch["value"])
    else:
        document[last] = patch["value"]


def at(document: Any, path: str) -> Any:
    for part in path.split("/")[1:]:
        document = document[int(part) if isinstance(document, list) else part]
    return document


def options(release: Object, image: dict[str, str]) -> list[str]:
    """What skaffold gives to helm for a release."""
    values = {
        key: re.sub(r"\{\{\.(\w+)}}", lambda found: image[found[1]], template)
        for key, template in release["setValueTemplates"].items()
    }
    sets = [f"{key}={value}" for key, value in (values | release.get("setValues", {})).items()]
    files = [str(ROOT / path) for path in release["valuesFiles"]]
    return [*(part for each in sets for part in ("--set", each)), *(part for each in files for part in ("-f", each))]


def release(charts: Charts, *profiles: str, image: dict[str, str] = IMAGE) -> Rendered:
    [wanted] = config(*profiles)["deploy"]["helm"]["releases"]
    assert wanted["chartPath"] == "charts/shop"
    return charts.render(*options(wanted, image))


@pytest.mark.parametrize("path", FIELDS)
def test_its_fields_are_those_of_the_schema(path: str) -> None:
    assert config()["apiVersion"] == "skaffold/v4beta13"
    assert at(config("debug"), path).keys() <= FIELDS[path]


@pytest.mark.parametrize("profiles", PROFILES, ids=" ".join)
def test_every_release_renders_with_the_built_image(charts: Charts, profiles: tuple[str, ...]) -> None:
    rendered = release(charts, *profiles)
    assert {pod.containers[0]["image"] for pod in services(rendered)} == {"localhost:5001/laneway:abc"}
    for forward in config(*profiles)["portForward"]:
        found = rendered.named(forward["resourceType"].capitalize(), forward["resourceName"])
        numbers = re.findall(r"'(?:port|containerPort)': (\d+)", str(found))
        assert str(forward["port"]) in numbers


def test_a_pushed_image_is_named_by_its_digest(charts: Charts) -> None:
    digest = "sha256:" + "0f" * 32
    pods = services(release(charts, image=IMAGE | {"IMAGE_DIGEST_laneway": digest}))
    assert {pod.containers[0]["image"] for pod in pods} == {f"localhost:5001/laneway@{digest}"}


def test_dev_reloads_and_is_what_skaffold_dev_takes(charts: Charts) -> None:
    [dev] = [each for each in config()["profiles"] if each["name"] == "dev"]
    assert dev["activation"] == [{"command": "dev"}]
    assert all("--reload" in pod.containers[0]["args"] for pod in services(release(charts, "dev")))
    assert not any("--reload" in pod.containers[0]["args"] for pod in services(release(charts)))


def test_debug_listens_for_a_debugger_which_its_image_has(charts: Charts) -> None:
    assert config("debug")["build"]["artifacts"][0]["docker"]["buildArgs"] == {"DEBUG": "1"}
    dockerfile = (ROOT / "services/Dockerfile").read_text()
    assert "ARG DEBUG=\n" in dockerfile
    assert "${DEBUG:+-r /build/debug.lock}" in dockerfile
    assert (ROOT / "requirements/debug.lock").read_text().startswith("debugpy==")
    for pod in services(release(charts, "debug")):
        assert pod.containers[0]["command"] == [
            "python", "-m", "debugpy", "--listen", "0.0.0.0:5678", "-m", "laneway.cli",
        ], pod.name  # fmt: skip
        assert {"name": "debug", "containerPort": 5678} in pod.containers[0]["ports"], pod.name


def test_lite_observes_nothing_and_full_everything(charts: Charts) -> None:
    def observers(*profiles: str) -> set[str]:
        names = {pod.labels["app.kubernetes.io/name"] for pod in release(charts, *profiles).pods}
        return names & {"jaeger", "prometheus", "grafana"}

    assert observers("lite") == set()
    assert observers() == {"jaeger", "prometheus"}
    assert observers("full") == {"jaeger", "prometheus", "grafana"}
    env = str([pod.containers[0]["env"] for pod in services(release(charts, "lite"))])
    assert "LANEWAY_OTLP_ENDPOINT" not in env


def test_a_source_is_copied_to_where_the_image_has_it() -> None:
    [artifact] = config()["build"]["artifacts"]
    assert "COPY services /app" in (ROOT / artifact["docker"]["dockerfile"]).read_text()
    [rule] = artifact["sync"]["manual"]
    assert rule == {"src": "services/**/*.py", "dest": "/app", "strip": "services/"}
    meant = {str(path.relative_to(ROOT)) for path in ROOT.glob(rule["src"])}
    assert {"services/laneway/src/laneway/runtime/process.py", "services/orders/src/shop_orders/service.py"} <= meant


@pytest.mark.skipif(shutil.which("skaffold") is None, reason="skaffold is not on the PATH")
@pytest.mark.parametrize("profiles", PROFILES, ids=" ".join)
def test_skaffold_reads_it_as_we_do(profiles: tuple[str, ...]) -> None:
    chosen = ["--profile", ",".join(profiles)] if profiles else []
    said = subprocess.run(
        ["skaffold", "diagnose", "--yaml-only", *chosen], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True,
        env=os.environ | {"SKAFFOLD_UPDATE_CHECK": "false"},
    )  # fmt: skip
    theirs, ours = yaml.safe_load(said.stdout), config(*profiles)
    [their], [our] = (each["deploy"]["helm"]["releases"] for each in (theirs, ours))
    assert [path.removeprefix(f"{ROOT}/") for path in their["valuesFiles"]] == our["valuesFiles"]
    assert their["setValueTemplates"] == our["setValueTemplates"]
    assert len(theirs["portForward"]) == len(ours["portForward"])
    assert theirs["build"]["artifacts"][0]["sync"] == ours["build"]["artifacts"][0]["sync"]
