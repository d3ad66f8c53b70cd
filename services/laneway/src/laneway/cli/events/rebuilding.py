"""`laneway events rebuild`: a view made anew, beside services that run or without them."""

import os
from pathlib import Path

from rich.console import Console
from rich.progress import Progress, TextColumn, TimeElapsedColumn

from laneway.cli.database import OpenService, opened
from laneway.domain.projection import Projection
from laneway.errors import ConfigurationError
from laneway.history.projector import BATCH_ALONE, Projector, few_collections
from laneway.settings import Settings
from laneway.store.projections import Generation
from laneway.telemetry.metrics import Metrics


async def rebuild_view(settings: Settings, service: str, view: str, data: Path) -> None:
    """Rebuild a view, and say when readers have changed over.

    Raises:
        ConfigurationError: there is no such service, database or view.
    """
    console = Console()
    async with opened(settings, service, data) as of:
        projection = _projection(of, view)
        holder = f"rebuild-{os.getpid()}"
        projector = Projector(
            of.store, projection, holder=holder, metrics=Metrics(), upcasters=of.service.upcasters, batch=BATCH_ALONE
        )
        columns = TextColumn("{task.description}"), TextColumn("{task.completed:,.0f} events"), TimeElapsedColumn()
        with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
            task = progress.add_task(view, total=None)

            def told(generation: Generation) -> None:
                progress.update(task, completed=generation.applied)

            with few_collections():
                done = await projector.rebuild(told)
        await projector.hand_over()
    console.print(f"{view}: generation {done.generation} is read now, of {done.applied:,} events", highlight=False)


def _projection(of: OpenService, view: str) -> Projection:
    for projection in of.service.projections:
        if projection.name == view:
            return projection
    known = ", ".join(each.name for each in of.service.projections) or "none"
    raise ConfigurationError(f"{of.service.name} has no view {view}; its views are: {known}.")
