"""Images and the scripts that bring them to a cluster. Docker and kind are stand-ins here, which note how they are called."""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from requirements.sbom import completed
from tests.charts.rendering import ROOT

DOCKERFILES = ["services/Dockerfile", "operator/Dockerfile"]
LOCKS = {"services/Dockerfile": "run", "operator/Dockerfile": "operator"}

# The images


@pytest.mark.parametrize("name", DOCKERFILES)
def test_an_image_runs_as_a_user_of_its_own(name: str) -> None:
    last = (ROOT / name).read_text().rpartition("\nFROM ")[2]
    [user] = re.findall(r"^USER (\d+):(\d+)$", last, re.MULTILINE)
    assert "0" not in user


@pytest.mark.parametrize("name", DOCKERFILES)
def test_every_library_of_an_image_is_held_to_its_hash(name: str) -> None:
    installs = re.findall(r"pip [^&\n]*\binstall\b[^&\n]*", (ROOT / name).read_text())
    locked = [each for each in installs if "-r /build/" in each]
    assert f"/build/{LOCKS[name]}.lock" in str(locked)
    for each in installs:
        assert "--no-deps" in each, each
        assert "--require-hashes" in each or "--no-build-isolation" in each, "what is not ours has a hash"
    for lock in re.findall(r"/build/(\w+)\.lock", str(locked)):
        text = (ROOT / "requirements" / f"{lock}.lock").read_text()
        pins = re.findall(r"^[\w.-]+==[^\n]*", text, re.MULTILINE)
        assert pins
        assert all(pin.endswith("\\") for pin in pins), "followed by its hashes"


def test_a_change_of_sources_installs_no_library_again() -> None:
    """A builder keeps the steps before the first that has changed."""
    first, *_ = (ROOT / "services/Dockerfile").read_text().split("COPY services")
    assert "-r /build/run.lock" in first
    assert "-r /build/build.lock" in first


def test_images_are_built_for_both_architectures() -> None:
    text = (ROOT / "docker-bake.hcl").read_text()
    assert re.findall(r"platforms\s*=\s*(\[.*\])", text) == ['["linux/amd64", "linux/arm64"]']
    [group] = re.findall(r'group "default" \{ targets = (\[.*\]) \}', text)
    targets = re.findall(r'^target "(\w+)" \{\n(.*?)^\}', text, re.MULTILINE | re.DOTALL)
    assert json.loads(group) == [name for name, _ in targets]
    assert all("platforms" in body or 'inherits   = ["services"]' in body for _, body in targets)
    assert {dockerfile for _, body in targets for dockerfile in re.findall(r'dockerfile = "(.*)"', body)} == set(
        DOCKERFILES
    )


def test_the_bill_of_materials_is_of_what_the_images_install() -> None:
    said = subprocess.run(
        ["make", "--dry-run", "--always-make", "sbom"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    for dockerfile, lock in LOCKS.items():
        [recipe] = [part for part in said.split("venv --clear") if f"build/sbom-{lock}\n" in part]
        assert re.findall(r"-r requirements/(\w+)\.lock", recipe) == ["build", "build", lock]
        assert recipe.count(dockerfile) == 1
        assert "./services/laneway" in recipe


@pytest.mark.parametrize("name", DOCKERFILES)
def test_a_bill_of_materials_names_the_base_image(name: str) -> None:
    ours = {"name": "laneway", "externalReferences": [{"url": "file:///here/services/laneway"}]}
    found = completed({"components": [ours]}, (ROOT / name).read_text())
    assert [each["name"] for each in found["components"]] == ["laneway", "python"]
    assert "/here/" not in str(found)


# The scripts


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """A folder with stand-ins; what they are called with is in its file `calls`."""
    for name in ("docker", "kind", "kubectl"):
        program = tmp_path / name
        program.write_text(
            f'#!/bin/sh\necho {name} "$@" >>{tmp_path}/calls\n'
            'case "$*" in "get clusters") echo laneway ;; "get nodes"*) echo node ;; *NetworkSettings*) echo null ;; esac\n'
        )
        program.chmod(0o755)
    return tmp_path


def script(programs: Path, *command: str, kind: str = "kind") -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}", "LANEWAY_CLUSTER": kind}
    return subprocess.run([ROOT / command[0], *command[1:]], env=env, capture_output=True, text=True, check=False)


def calls(programs: Path) -> list[str]:
    return (programs / "calls").read_text().splitlines()


def test_an_image_that_is_built_for_kind_is_loaded_and_says_its_revision(programs: Path) -> None:
    assert script(programs, "k8s/cluster", "build", "a:1", "-f", "services/Dockerfile", ".").returncode == 0
    build, load = calls(programs)
    assert re.fullmatch(r"docker build --tag a:1 --build-arg REVISION=\w+ -f services/Dockerfile \.", build)
    assert load == "kind load docker-image --name laneway a:1"


@pytest.mark.parametrize(
    ("tag", "loaded"),
    [
        ("laneway/laneway:dev", "docker.io/laneway/laneway:dev"),
        ("shop:1", "docker.io/library/shop:1"),
        ("docker.io/laneway/laneway:dev", "docker.io/laneway/laneway:dev"),
        ("localhost:5001/laneway:1", "localhost:5001/laneway:1"),
    ],
)
def test_an_image_without_a_registry_has_the_name_that_pods_ask_for(tmp_path: Path, tag: str, loaded: str) -> None:
    """Where no Docker is that completes it."""
    harness, cluster = tmp_path / "shared/cluster/cluster", tmp_path / "laneway/k8s/cluster"
    for program, text in ((harness, '#!/bin/sh\necho "$2"\n'), (cluster, (ROOT / "k8s/cluster").read_text())):
        program.parent.mkdir(parents=True)
        program.write_text(text)
        program.chmod(0o755)
    built = subprocess.run([cluster, "build", tag, "."], capture_output=True, text=True, check=True,
                           env={**os.environ, "LANEWAY_CLUSTER": "harness"})  # fmt: skip
    assert built.stdout == f"{loaded}\n"


def test_kinds_nodes_reach_the_registry_by_their_network(programs: Path) -> None:
    said = script(programs, "k8s/kind-with-registry.sh")
    assert said.returncode == 0, said.stderr
    assert "docker network connect kind kind-registry" in calls(programs)
    assert any(each.startswith("docker exec -i node ") for each in calls(programs))


def test_a_kind_of_cluster_that_there_is_not_is_refused(programs: Path) -> None:
    said = script(programs, "k8s/cluster", "build", "a:1", ".", kind="knid")
    assert said.returncode != 0
    assert "LANEWAY_CLUSTER is knid; it must be harness, kind, minikube or current." in said.stderr
    assert not (programs / "calls").exists()
