"""Charts as helm renders them, without a cluster: what a release would consist of."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
NAMESPACE = "ct-shop"
RELEASE = "shop"
PRESENT = "monitoring.coreos.com/v1"
"""Kinds of the Prometheus operator, for a cluster that has them."""

Object = dict[str, Any]


@dataclass(frozen=True)
class Configuration:
    """A chart and the values on top of its own."""

    chart: str = "shop"
    values: tuple[Path, ...] = ()
    api_versions: tuple[str, ...] = ()


def configurations() -> dict[str, Configuration]:
    """The main ones: the defaults, each file beside this one, and each profile of the development loop."""
    here = {path.stem: path for path in sorted((Path(__file__).parent / "configurations").glob("*.yaml"))}
    profiles = {f"profile-{path.stem}": path for path in sorted((ROOT / "k8s/values").glob("*.yaml"))}
    alone = {"one-service": "laneway", "operator-alone": "laneway-operator"}
    monitored = (f"{PRESENT}/PodMonitor", f"{PRESENT}/PrometheusRule")
    return {
        "default": Configuration(),
        **{
            name: Configuration(
                chart=alone.get(name, "shop"),
                values=(path,),
                api_versions=monitored if "monitored" in name else (),
            )
            for name, path in (here | profiles).items()
        },
    }


@dataclass(frozen=True)
class Pod:
    """A pod as some object describes it."""

    owner: Object
    labels: Mapping[str, str]
    spec: Object

    @property
    def name(self) -> str:
        return f"{self.owner['kind']}/{self.owner['metadata']['name']}"

    @property
    def containers(self) -> list[Object]:
        """The init containers too."""
        return [*self.spec.get("initContainers", ()), *self.spec["containers"]]


@dataclass(frozen=True)
class Rendered:
    """What a release consists of."""

    text: str
    objects: list[Object] = field(init=False)

    def __post_init__(self) -> None:
        found = [each for each in yaml.load_all(self.text, StrictLoader) if each is not None]
        object.__setattr__(self, "objects", found)

    def of(self, *kinds: str) -> list[Object]:
        return [each for each in self.objects if each["kind"] in kinds]

    def named(self, kind: str, name: str) -> Object:
        [found] = [each for each in self.of(kind) if each["metadata"]["name"] == name]
        return found

    @cached_property
    def pods(self) -> list[Pod]:
        return list(self._pods())

    def _pods(self) -> Iterator[Pod]:
        for each in self.objects:
            if each["kind"] == "Pod":
                yield Pod(each, each["metadata"]["labels"], each["spec"])
            elif "template" in (each.get("spec") or {}):
                template = each["spec"]["template"]
                yield Pod(each, template["metadata"]["labels"], template["spec"])

    @property
    def masked(self) -> str:
        """The text, without what is random, and without the blank lines in which versions of helm differ."""
        text = re.sub(r"#[0-9a-f]{64}", "#<sha256 of the password>", self.text)
        text = re.sub(r"\n{2,}", "\n", text)
        text = re.sub(r"\b(?=[A-Za-z0-9]*[A-Z])[A-Za-z0-9]{32}\b", "<password>", text)
        text = re.sub(r"(-migrate-\d+)-[0-9a-f]{8}\b", r"\1-<digest>", text)
        return re.sub(r'(laneway\.dev/config): "\w{16}"', r'\1: "<digest>"', text)


class StrictLoader(yaml.CSafeLoader):
    """YAML in which a key that is there twice is a mistake, as the API server sees it."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        twice = {key for key in keys if keys.count(key) > 1}
        if twice:
            raise yaml.constructor.ConstructorError(None, None, f"{sorted(twice)} is there twice", node.start_mark)
        return super().construct_mapping(node, deep)


class RenderingFailed(Exception):
    """What helm said instead."""


class Charts:
    """A copy of the charts, with what they depend on."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "charts"
        shutil.copytree(ROOT / "charts", self.folder, ignore=shutil.ignore_patterns("charts", "Chart.lock"))
        self._rendered: dict[tuple[object, ...], Rendered] = {}
        for chart in self.names:
            self.helm("dependency", "update", self.folder / chart, "--skip-refresh")

    @property
    def names(self) -> list[str]:
        return sorted(path.parent.name for path in self.folder.glob("*/Chart.yaml"))

    def helm(self, *arguments: str | Path, stdin: str | None = None) -> str:
        ended = subprocess.run(
            ["helm", *map(str, arguments)], input=stdin, capture_output=True, text=True, timeout=60, check=False
        )
        if ended.returncode:
            raise RenderingFailed(ended.stderr)
        return ended.stdout

    def configured(self, name: str) -> Rendered:
        """One of the main configurations."""
        chosen = configurations()[name]
        options = [option for path in chosen.values for option in ("--values", str(path))]
        options += [option for version in chosen.api_versions for option in ("--api-versions", version)]
        return self.render(*options, chart=chosen.chart)

    def render(self, *options: str, values: Mapping[str, Any] | None = None, chart: str = "shop") -> Rendered:
        """A chart on values; the same ones are rendered once."""
        key = (chart, options, json.dumps(values, sort_keys=True))
        if key not in self._rendered:
            self._rendered[key] = Rendered(self._template(chart, options, values))
        return self._rendered[key]

    def _template(self, chart: str, options: Sequence[str], values: Mapping[str, Any] | None) -> str:
        name = () if "--name-template" in options else (RELEASE,)
        return self.helm(
            "template", *name, self.folder / chart, "--namespace", NAMESPACE, *options,
            *([] if values is None else ["--values", "-"]),
            stdin=None if values is None else json.dumps(values),
        )  # fmt: skip

    def notes(self, name: str) -> str:
        """What helm prints after an installation."""
        values = (option for path in configurations()[name].values for option in ("--values", str(path)))
        said = self.helm(
            "install", RELEASE, self.folder / "shop", "--namespace", NAMESPACE, "--dry-run=client", *values
        )
        return said.partition("\nNOTES:\n")[2]
