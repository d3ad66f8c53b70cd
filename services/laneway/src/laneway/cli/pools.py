"""The WorkerPools of a cluster as a table: what waits, what runs, what the operator makes of it.

`kubectl` asks, because it is there wherever a cluster is used, and knows every way to log in to one.
"""

import json
import subprocess
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from laneway.cli.screen import follow
from laneway.errors import ConfigurationError, Unavailable

EACH = 2.0
"""Seconds between looks of the live table."""

WIDTH = 200
"""Columns at least where nobody looks: a row that is cut tells less than a long one."""

Pool = Mapping[str, Any]


def fetch_pools(namespace: str | None, context: str | None) -> list[Pool]:
    """All WorkerPools, or those of a namespace.

    Raises:
        ConfigurationError: there is no kubectl.
        Unavailable: the cluster does not answer, or has no WorkerPools.
    """
    where = ["--namespace", namespace] if namespace else ["--all-namespaces"]
    chosen = ["--context", context] if context else []
    command = ["kubectl", *chosen, "get", "workerpools.laneway.dev", *where, "--output", "json"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    except FileNotFoundError:
        raise ConfigurationError("kubectl is not installed; `laneway pools` asks the cluster by it.") from None
    except subprocess.TimeoutExpired:
        raise Unavailable("The cluster does not answer within 30 seconds.") from None
    if done.returncode:
        said = done.stderr.strip().splitlines()
        hint = " Install the chart laneway-operator." if "resource type" in done.stderr else ""
        raise Unavailable(f"{said[-1] if said else 'kubectl failed'}.{hint}")
    items: list[Pool] = json.loads(done.stdout)["items"]
    return sorted(items, key=lambda pool: (pool["metadata"]["namespace"], pool["metadata"]["name"]))


def show_pools(fetch: Callable[[], Sequence[Pool]], console: Console, *, looks: int | None = None) -> None:
    """A table that follows the cluster on a terminal, until Ctrl-C or so many looks; elsewhere one that stands."""
    follow(lambda: pools_table(fetch()), console, columns=WIDTH, each=EACH, looks=looks)


def pools_table(pools: Sequence[Pool]) -> Group:
    """One row a pool, and below all what is wrong with which."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("namespace", "pool", "queue"):
        table.add_column(column, no_wrap=True)
    for column in ("waiting", "oldest", "running", "parked", "pods"):
        table.add_column(column, no_wrap=True, justify="right")
    for column in ("objective", "met", "mode", "why"):
        table.add_column(column, no_wrap=True)
    for pool in pools:
        table.add_row(*_row(pool))
    said = [(pool["metadata"], sentence) for pool in pools for sentence in _complaints(pool)]
    lines = [Text(f"{meta['namespace']}/{meta['name']}: {sentence}", "yellow") for meta, sentence in said]
    return Group(table, *([Text(), *lines] if lines else []))


def _row(pool: Pool) -> list[str | Text]:
    meta, spec, status = pool["metadata"], pool["spec"], pool.get("status", {})
    met = status.get("objectiveMet", "Unknown")
    style = {"True": "green", "False": "bold red"}.get(met, "dim")
    ready, replicas = status.get("readyReplicas", 0), status.get("replicas", "?")
    desired = status.get("desiredReplicas", replicas)
    return [
        meta["namespace"],
        meta["name"],
        ",".join(queue["name"] for queue in spec["queues"]),
        _number(status.get("waiting")),
        _age(status.get("oldestSeconds")),
        _number(status.get("running")),
        _number(status.get("parked")),
        f"{ready}/{replicas}" + (f" → {desired}" if desired != replicas else ""),
        spec["objective"]["waiting"],
        Text({"True": "yes", "False": "no"}.get(met, "?"), style),
        spec.get("mode", "Active") + (", not consuming" if spec.get("consume") == "Paused" else ""),
        status.get("reason", "not looked at yet"),
    ]


def _complaints(pool: Pool) -> list[str]:
    """The sentences of the conditions that do not hold, where that is nobody's wish."""
    conditions = pool.get("status", {}).get("conditions", [])
    wished = {"DryRun", "Paused", "PausedIn", "PausedOut", "NotLooked"}
    return [each["message"] for each in conditions if each["status"] != "True" and each["reason"] not in wished]


def _number(value: int | None) -> str:
    return "?" if value is None else str(value)


def _age(seconds: int | None) -> str:
    if seconds is None:
        return "–"
    minutes, rest = divmod(seconds, 60)
    return (
        f"{minutes // 60}h{minutes % 60:02}m" if minutes >= 60 else f"{minutes}m{rest:02}s" if minutes else f"{rest}s"
    )
