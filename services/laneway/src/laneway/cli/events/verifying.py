"""`laneway events verify`: what is wrong with logs and views, as sentences."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.progress import Progress, TextColumn

from laneway.cli import discovery
from laneway.cli.database import opened
from laneway.cli.events.told import class_of
from laneway.history.verify import Report, verify
from laneway.settings import Settings


async def verify_all(settings: Settings, names: Sequence[str], data: Path, *, as_json: bool) -> bool:
    """Check the logs and views of services; whether nothing is wrong."""
    chosen = names or [each.name for each in discovery.installed() if each.database]
    reports = {name: await _verify(settings, name, data) for name in chosen}
    if as_json:
        print(json.dumps({name: asdict(report) for name, report in reports.items()}, indent=1))
    else:
        _print(reports, Console())
    return not any(report.wrong for report in reports.values())


async def _verify(settings: Settings, name: str, data: Path) -> Report:
    columns = TextColumn("{task.description}"), TextColumn("{task.completed:,.0f} events")
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(name, total=None)
        async with opened(settings, name, data) as of:
            return await verify(
                of.store,
                of.service.upcasters,
                class_of,
                of.service.projections,
                told=lambda events: progress.update(task, completed=events),
            )


def _print(reports: dict[str, Report], console: Console) -> None:
    for name, report in reports.items():
        verdict = f"{len(report.wrong)} wrong" if report.wrong else "good"
        console.print(
            f"{name}: {verdict} ({report.events:,} events, {report.views} views)", highlight=False, soft_wrap=True
        )
        for sentence in report.wrong:
            console.print(f"  {sentence}", style="red", highlight=False, soft_wrap=True)
