"""The operator as a process of this machine, against the cluster that KUBECONFIG names."""

import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

from tests.fixtures.valkey import free_port


class Operator:
    """One process, which serves one namespace and has its Lease there; `kubeconfig` leads it by another way."""

    def __init__(self, namespace: str, *, kubeconfig: Path | None = None) -> None:
        self.port = free_port()
        environment = {
            **os.environ,
            "LANEWAY_OPERATOR_NAMESPACES": namespace,
            "LANEWAY_OPERATOR_LEASE_NAMESPACE": namespace,
            "LANEWAY_OPERATOR_HOST": "127.0.0.1",
            "LANEWAY_OPERATOR_ADMIN_PORT": str(self.port),
            "LANEWAY_OPERATOR_LOG_LEVEL": "WARNING",
        }
        if kubeconfig is not None:
            environment["KUBECONFIG"] = str(kubeconfig)
        self._process = subprocess.Popen([sys.executable, "-m", "laneway_operator"], env=environment)

    def metrics(self) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=10) as answer:
            return str(answer.read().decode())

    def value(self, name: str) -> float:
        """The sum over a metric's labels."""
        lines = [line for line in self.metrics().splitlines() if line.startswith((f"{name}{{", f"{name} "))]
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines)

    def writes(self) -> float:
        lines = self.metrics().splitlines()
        ours = [line for line in lines if line.startswith("laneway_operator_api_requests_total{")]
        return sum(float(line.rsplit(" ", 1)[1]) for line in ours if 'verb="get"' not in line)

    def cpu_seconds(self) -> float:
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def resident_mib(self) -> float:
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]) / 1024

    def stop(self) -> None:
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(20)
