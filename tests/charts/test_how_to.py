"""The how-to pages: what they tell to type fits the repository. Docker, kind, minikube and skaffold themselves are not run."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.charts.rendering import ROOT, Charts

PAGES = [*sorted((ROOT / "docs/how-to").glob("*.md")), ROOT / "k8s/README.md"]
PATH = re.compile(r"\b(?:charts|k8s|services|docs|tests)/[\w./-]*\w")


def commands(page: Path) -> list[list[str]]:
    """What a page tells to type."""
    blocks = re.findall(r"^```sh\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)
    return [shlex.split(line, comments=True) for block in blocks for line in block.splitlines()]


def named(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_what_is_linked_or_typed_is_there(page: Path) -> None:
    text = page.read_text()
    assert commands(page)
    links = [page.parent / target for target in re.findall(r"\]\(([^):#]+)\)", text)]
    typed = [ROOT / path for command in commands(page) for path in PATH.findall(" ".join(command))]
    assert not [str(path) for path in links + typed if not path.exists()]


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_the_values_it_sets_are_values(charts: Charts, page: Path) -> None:
    spoken = re.findall(r"`[^`]*`", page.read_text())
    for command in [*commands(page), *(shlex.split(each.strip("`")) for each in spoken if "--set" in each)]:
        sets = [part for part in command if re.fullmatch(r"(laneway|provider|mailbox)\.[\w.]+=\S+", part)]
        charts.render(*(option for each in sets for option in ("--set", each)))


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_the_targets_and_profiles_it_names_exist(page: Path) -> None:
    makefile, skaffold = (ROOT / "Makefile").read_text(), yaml.safe_load((ROOT / "skaffold.yaml").read_text())
    profiles = {each["name"] for each in skaffold["profiles"]}
    for target in re.findall(r"\bmake ([a-z][a-z-]+)", page.read_text()):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
    for profile in re.findall(r"skaffold \w+ -p (\w+)", page.read_text()):
        assert profile in profiles


def test_kinds_cluster_leads_the_node_port_here_and_reads_registries() -> None:
    cluster = yaml.safe_load((ROOT / "k8s/kind.yaml").read_text())
    [node] = cluster["nodes"]
    assert node["extraPortMappings"][0]["containerPort"] == 30080
    script = (ROOT / "k8s/kind-with-registry.sh").read_text()
    assert 'config_path = "/etc/containerd/certs.d"' in cluster["containerdConfigPatches"][0]
    assert f"NAME={cluster['name']}\n" in script
    assert "/etc/containerd/certs.d/localhost:$PORT" in script
    subprocess.run(["bash", "-n", ROOT / "k8s/kind-with-registry.sh"], check=True)
