"""The development loop without skaffold: the shop on the cluster that `KUBECONFIG` names, changed sources in its pods.

    make dev-cluster                            # build the image once, install, watch
    make dev-cluster ARGS="--no-build --values k8s/values/lite.yaml"

A changed file is copied into the containers that run its service, where `laneway run --reload` starts again with it. A
container that is started later gets everything that has changed since. Ctrl-C ends the loop and leaves the release.
"""

import asyncio
import io
import json
import signal
import tarfile
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer
from watchfiles import PythonFilter, awatch

ROOT = Path(__file__).parents[1]
CHART = ROOT / "charts/shop"
RELEASE = "shop"
SHARED = {"laneway", "contracts"}
"""Folders of sources that every service runs; each other one is its service's."""
UNPACK = 'cd /app; [ $# = 0 ] || rm -f "$@"; exec tar --extract --file=- --touch --no-same-owner'
"""What a container does with the names of files that are gone, and an archive of the others."""
LOOK_AGAIN_MS = 3000
"""Between looks for containers that were started again."""


class CommandFailed(Exception):
    """What a program said that failed."""


async def run(*command: str | Path, stdin: bytes = b"") -> str:
    """Run a program; its output."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*map(str, command), stdin=pipe, stdout=pipe, stderr=pipe)
    try:
        output, errors = await process.communicate(stdin)
    finally:
        await _end(process)
    if process.returncode:
        raise CommandFailed(f"{' '.join(map(str, command))}: {errors.decode().strip() or output.decode().strip()}")
    return output.decode()


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.terminate()
        await process.wait()


async def install(image: str, namespace: str, values: Iterable[Path]) -> None:
    """Install the shop such that it reloads, and wait until it is ready."""
    repository, _, tag = image.rpartition(":")
    files = [option for path in (ROOT / "k8s/values/dev.yaml", *values) for option in ("--values", path)]
    await run("helm", "dependency", "update", CHART)
    await run(
        "helm", "upgrade", "--install", RELEASE, CHART, "--namespace", namespace, "--create-namespace", *files,
        "--set", f"laneway.image.repository={repository}", "--set", f"laneway.image.tag={tag}",
        "--wait", "--timeout", "5m",
    )  # fmt: skip


@dataclass(frozen=True)
class Container:
    """A running container of a service."""

    pod: str
    name: str
    id: str
    service: str

    def runs(self, source: Path) -> bool:
        return source.parts[0] in SHARED | {self.service} and "tests" not in source.parts


@dataclass
class Loop:
    """Keeps the containers of the release at the sources of a folder."""

    sources: Path
    namespace: str
    since: float
    """When the image had the sources, in seconds since the epoch."""
    changed: set[Path] = field(default_factory=set)
    current: list[Container] = field(default_factory=list)
    """Containers that have all of `changed`."""

    async def watch(self) -> None:
        """Copy what changes, until cancelled."""
        self.current = await self._containers()
        print(f"watching {self.sources}; Ctrl-C ends this, the release stays", flush=True)
        watched = False
        async for changes in awatch(
            self.sources, watch_filter=PythonFilter(), debounce=100, step=20, rust_timeout=LOOK_AGAIN_MS,
            yield_on_timeout=True,
        ):  # fmt: skip
            paths = {Path(path).relative_to(self.sources) for _, path in changes}
            if not watched:
                paths |= self._edited()
                watched = True
            self.changed |= paths
            if paths:
                self.current = await self._copy(paths, self.current)
            elif self.changed:
                await self._catch_up()

    def _edited(self) -> set[Path]:
        """What was edited before anybody watched."""
        files = self.sources.rglob("*.py")
        return {path.relative_to(self.sources) for path in files if path.stat().st_mtime > self.since}

    async def _catch_up(self) -> None:
        """Bring those up to date that were started since, or that a copy did not reach."""
        running = await self._containers()
        kept = [each for each in running if each in self.current]
        self.current = kept + await self._copy(self.changed, [each for each in running if each not in kept])

    async def _copy(self, paths: set[Path], containers: list[Container]) -> list[Container]:
        """Copy what each container runs of it; the containers that have it."""
        begin = time.monotonic()
        wanted = {each: [path for path in paths if each.runs(path)] for each in containers}
        copies = {each: self._send(each, sources) for each, sources in wanted.items() if sources}
        results = dict(zip(copies, await asyncio.gather(*copies.values(), return_exceptions=True), strict=True))
        for container, failure in results.items():
            print(f"{container.pod}: {failure or 'copied'}, {time.monotonic() - begin:.1f} s", flush=True)
        return [each for each in containers if results.get(each) is None]

    async def _send(self, container: Container, sources: Iterable[Path]) -> None:
        gone = [str(path) for path in sources if not (self.sources / path).exists()]
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as tar:
            for path in sources:
                if (self.sources / path).exists():
                    tar.add(self.sources / path, arcname=str(path))
        await run(
            "kubectl", "-n", self.namespace, "exec", "-i", container.pod, "-c", container.name, "--",
            "sh", "-ec", UNPACK, "sh", *gone,
            stdin=archive.getvalue(),
        )  # fmt: skip

    async def _containers(self) -> list[Container]:
        said = await run(
            "kubectl", "-n", self.namespace, "get", "pods", "-l", f"app.kubernetes.io/part-of={RELEASE}", "-o", "json"
        )
        return [
            Container(
                pod=pod["metadata"]["name"],
                name=status["name"],
                id=status["containerID"],
                service=pod["metadata"]["labels"]["app.kubernetes.io/name"],
            )
            for pod in json.loads(said)["items"]
            for status in pod["status"].get("containerStatuses", ())
            if "running" in status["state"]
        ]


async def forward(namespace: str, port: int) -> None:
    """Lead a port of this machine to the edge, again and again: a forward ends with its pod."""
    while True:
        process = await asyncio.create_subprocess_exec(
            "kubectl", "-n", namespace, "port-forward", f"svc/{RELEASE}-gateway-rest", f"{port}:80",
            stdout=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        try:
            await process.wait()
        finally:
            await _end(process)
        await asyncio.sleep(1)


async def develop(image: str, namespace: str, *, built: bool, values: list[Path], sources: Path, port: int) -> None:
    """The whole loop, until SIGINT or SIGTERM."""
    begin = time.time()
    if not built:
        image = f"{image}-{begin:.0f}"  # of its own: pods and the migration job of an earlier one are replaced
        print(f"building {image}", flush=True)
        await run(ROOT / "k8s/cluster", "build", image, "-f", ROOT / "services/Dockerfile", ROOT)
    print(f"installing {RELEASE} in the namespace {namespace}", flush=True)
    await install(image, namespace, values)
    print(f"the edge is at http://127.0.0.1:{port}", flush=True)
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(forward(namespace, port)),
            group.create_task(Loop(sources, namespace, begin).watch()),
        ]
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, lambda: [task.cancel() for task in tasks])


def main(
    image: Annotated[
        str, typer.Option(help="The image's name and tag; one that is built gets the time behind it.")
    ] = "docker.io/laneway/laneway:dev",
    build: Annotated[bool, typer.Option(help="Build the image; without, it is there.")] = True,
    namespace: Annotated[str, typer.Option(help="Where the shop is installed.")] = "shop",
    values: Annotated[list[Path] | None, typer.Option(help="More values files, such as k8s/values/lite.yaml.")] = None,
    sources: Annotated[Path, typer.Option(help="The folder that the image has as /app.")] = ROOT / "services",
    port: Annotated[int, typer.Option(help="Port of the edge on this machine.")] = 8080,
) -> None:
    """Install the shop on the cluster that KUBECONFIG names, and keep its pods at the sources of this tree."""
    loop = develop(image, namespace, built=not build, values=values or [], sources=sources.resolve(), port=port)
    try:
        asyncio.run(loop)
    except* CommandFailed as failures:
        raise SystemExit("\n".join(map(str, failures.exceptions))) from None


if __name__ == "__main__":
    typer.run(main)
