"""What the end-to-end tests ask of a cluster, through the programs that its users have: kubectl and helm."""

import asyncio
import json
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
HARNESS = ROOT / "../shared/cluster/cluster"


def run(*command: str | Path, stdin: str | None = None, timeout: float = 300) -> str:
    """Run a program; its output. One that fails raises with what it said."""
    ended = subprocess.run(
        [str(part) for part in command], input=stdin, capture_output=True, text=True, timeout=timeout, check=False
    )
    if ended.returncode:
        raise AssertionError(f"{' '.join(map(str, command))}\n{ended.stdout}\n{ended.stderr}")
    return ended.stdout


@dataclass(frozen=True)
class Namespace:
    """One namespace of the cluster that `KUBECONFIG` names."""

    name: str

    def kubectl(self, *arguments: str | Path, stdin: str | None = None, timeout: float = 300) -> str:
        return run("kubectl", "-n", self.name, *arguments, stdin=stdin, timeout=timeout)

    def helm(self, *arguments: str | Path, timeout: float = 300) -> str:
        return run("helm", "-n", self.name, *arguments, timeout=timeout)

    def get(self, kind: str, selector: str = "") -> list[dict[str, Any]]:
        found = json.loads(self.kubectl("get", kind, "-o", "json", *(["-l", selector] if selector else [])))
        items: list[dict[str, Any]] = found["items"]
        return items

    def create(self) -> None:
        """Make it, with restricted Pod Security enforced."""
        labels = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn")}
        manifest = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.name, "labels": labels}}
        run("kubectl", "apply", "-f", "-", stdin=json.dumps(manifest))

    def delete(self) -> None:
        run("kubectl", "delete", "namespace", self.name, "--ignore-not-found", "--wait", "--timeout=120s")

    def pods(self, selector: str = "") -> list[dict[str, Any]]:
        """The pods that are to run on."""
        return [
            pod
            for pod in self.get("pods", selector)
            if "deletionTimestamp" not in pod["metadata"] and pod["status"]["phase"] in ("Pending", "Running")
        ]

    def restarts(self) -> dict[str, int]:
        """How often the containers of each pod that serves have been started again."""
        return {
            pod["metadata"]["name"]: sum(each["restartCount"] for each in pod["status"].get("containerStatuses", ()))
            for pod in self.pods()
            if not _of_a_job(pod)
        }

    def unready(self) -> list[str]:
        """The pods that are to run on and are not ready."""
        return [
            pod["metadata"]["name"]
            for pod in self.pods()
            if not _of_a_job(pod)
            and not any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", ()))
        ]

    async def settled(self, within: float = 120) -> None:
        """Wait until every pod is ready."""
        try:
            async with asyncio.timeout(within):
                while await asyncio.to_thread(self.unready):
                    await asyncio.sleep(0.5)
        except TimeoutError:
            raise AssertionError(f"not ready after {within:g} s: {self.unready()}") from None

    async def restarted(self, pod: dict[str, Any], before: dict[str, int], within: float = 60) -> None:
        """Wait until a pod's container that was killed has been started again, or another pod has its place."""
        name, uid = pod["metadata"]["name"], pod["metadata"]["uid"]

        def again() -> bool:
            alive = {each["metadata"]["uid"] for each in self.pods()}
            return uid not in alive or self.restarts().get(name, 0) > before[name]

        try:
            async with asyncio.timeout(within):
                while not await asyncio.to_thread(again):
                    await asyncio.sleep(0.3)
        except TimeoutError:
            raise AssertionError(f"{name} was not started again within {within:g} s") from None

    async def drained(self, within: float = 60) -> None:
        """Wait until the pods that were told to stop are gone: as long as they drain, they are asked still."""
        try:
            async with asyncio.timeout(within):
                while any("deletionTimestamp" in pod["metadata"] for pod in await asyncio.to_thread(self.get, "pods")):
                    await asyncio.sleep(0.3)
        except TimeoutError:
            raise AssertionError(f"pods are still stopping after {within:g} s") from None

    async def rolled_out(self, selector: str = "", within: float = 120) -> None:
        """Wait until what was changed has replaced what was there."""
        names = [f"deployment/{each['metadata']['name']}" for each in self.get("deployments", selector)]
        await asyncio.to_thread(self.kubectl, "rollout", "status", f"--timeout={within:g}s", *names)

    def kill(self, pod: dict[str, Any]) -> None:
        """Kill a pod's container as a kernel does (-9), where the node can be reached; else delete it without grace."""
        container = pod["status"]["containerStatuses"][0]["containerID"].partition("://")[2]
        ctr = _ctr(pod["spec"]["nodeName"])
        if ctr:
            run(*ctr, "tasks", "kill", "-s", "SIGKILL", container)
        else:
            self.kubectl("delete", "pod", pod["metadata"]["name"], "--grace-period=0", "--force", "--wait=false")

    def logs(self, folder: Path) -> None:
        """Keep what may explain a failure."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "pods.txt").write_text(self.kubectl("get", "pods", "-o", "wide"))
        (folder / "events.txt").write_text(self.kubectl("get", "events", "--sort-by=.lastTimestamp"))
        for pod in self.get("pods"):
            name = pod["metadata"]["name"]
            for suffix, more in (("", ()), (".before", ("--previous",))):
                ended = subprocess.run(
                    ["kubectl", "-n", self.name, "logs", name, "--all-containers", "--tail=400", *more],
                    capture_output=True,
                    text=True,
                    check=False,
                )
                if ended.returncode == 0:
                    (folder / f"{name}{suffix}.log").write_text(ended.stdout)

    @asynccontextmanager
    async def away(self, target: str) -> AsyncIterator[None]:
        """No pod of a Deployment or StatefulSet that has one."""
        self.kubectl("scale", target, "--replicas=0")
        try:
            await self.drained()
            yield
        finally:
            self.kubectl("scale", target, "--replicas=1")

    @asynccontextmanager
    async def forwarded(self, target: str, port: int) -> AsyncIterator[int]:
        """A local port that leads to a service's or pod's."""
        process = await asyncio.create_subprocess_exec(
            "kubectl", "-n", self.name, "port-forward", target, f":{port}", stdout=asyncio.subprocess.PIPE
        )
        assert process.stdout is not None
        try:
            async with asyncio.timeout(20):
                said = (await process.stdout.readline()).decode()
            yield int(said.partition("127.0.0.1:")[2].partition(" ")[0])
        finally:
            process.terminate()
            await process.wait()


def _of_a_job(pod: dict[str, Any]) -> bool:
    return bool(pod["metadata"].get("ownerReferences", [{}])[0].get("kind") == "Job")


def _ctr(node: str) -> Sequence[str | Path]:
    if HARNESS.exists() and "one-node" in os.environ.get("KUBECONFIG", ""):
        return (HARNESS, "ctr")
    if shutil.which("kind") and node.endswith("-control-plane"):
        return ("docker", "exec", node, "ctr", "-n", "k8s.io")
    return ()
