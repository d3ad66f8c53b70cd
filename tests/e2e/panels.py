"""What every panel and alert asks, asked of a Prometheus."""

import re
from collections.abc import Iterator

import httpx

from tests.charts.queries import RULES, RULES_OF_THE_OPERATOR, Query, queries, rules, selected, variables

__all__ = ["RULES", "asked", "without_data"]

ALERTS = {rule["alert"] for rule in rules() if "alert" in rule}

OF_ACCIDENTS = {"queues: Copies dropped by the inbox"}
"""What tells only of what no test can bring about on a shop that works as it must."""

OF_THE_OPERATOR = (
    "queues: Pools", "queues: Decisions", "queues: Scales", *(rule["alert"] for rule in rules(RULES_OF_THE_OPERATOR))
)  # fmt: skip


def asked(*, operator: bool) -> Iterator[tuple[str, str]]:
    """Each query by what shows it, with all that a person could choose: those of the operator, or all others.

    Of an alert, which is silent while all is well, what it looks at.
    """
    for query in (*queries(), *variables()):
        if query.by in OF_ACCIDENTS or query.by.startswith(OF_THE_OPERATOR) is not operator:
            continue
        if query.by in ALERTS:
            yield from _looked_at(query)
        else:
            yield query.by, _chosen(query.text)


def _looked_at(query: Query) -> Iterator[tuple[str, str]]:
    for name, labels in selected(query.text):
        only = ",".join(f'{label}=~"{value}"' for label, value in labels.items() if label != "code")
        yield query.by, f"last_over_time({name}{{{only}}}[1h])"


def _chosen(text: str) -> str:
    """With a window of five minutes, and everything that a variable may be; nothing that a threshold hides."""
    text = re.sub(r"\$\w+", ".+", text.replace("$__rate_interval", "5m"))
    return re.sub(r"\s*> 0$", " >= 0", text)


async def without_data(prometheus: str, *, operator: bool) -> list[str]:
    """What finds nothing, and why."""
    empty = []
    async with httpx.AsyncClient(base_url=prometheus, timeout=20) as client:
        for by, text in asked(operator=operator):
            answer = (await client.get("/api/v1/query", params={"query": text})).json()
            if answer["status"] != "success":
                empty.append(f"{by}: {answer['error']}: {text}")
            elif not answer["data"]["result"]:
                empty.append(f"{by}: {text}")
    return empty
