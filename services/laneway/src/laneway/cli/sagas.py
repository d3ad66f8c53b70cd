"""`laneway sagas`: those that are open, the longest waiting first, and making one that got stuck act again."""

import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from laneway.cli.database import OpenService, opened
from laneway.cli.options import DATA, AsFormat, Data, Format
from laneway.settings import Settings

if TYPE_CHECKING:
    from laneway.history.sagas import OpenSaga

app = typer.Typer(name="sagas", help="Sagas that have not ended.", no_args_is_help=True, pretty_exceptions_enable=False)


@app.command("list")
def list_open(
    service: str,
    older: Annotated[float, typer.Option(min=0, help="Only those of which nothing was heard for so many seconds.")] = 0,
    data: Data = DATA,
    format: AsFormat = Format.TEXT,
) -> None:
    """List the open sagas of a service: what each waits for, and since when it has heard nothing."""
    told = asyncio.run(_open(service, data, older))
    if format is Format.JSON:
        print(json.dumps(told, indent=1, ensure_ascii=False))
    elif told:
        _print(told)
    else:
        print(f"{service} has no open sagas" + (f" that are silent for {older:g} s" if older else ""))


@app.command()
def resume(
    service: str,
    streams: Annotated[list[str], typer.Argument(help="Such as fulfilment/orders/7, as `laneway sagas list` has it.")],
    data: Data = DATA,
) -> None:
    """Let sagas begin again what they wait for; what was done already is not done twice."""
    for stream, actions in asyncio.run(_resume(service, streams, data)).items():
        print(f"{stream}: {', '.join(actions) or 'nothing is due'}")


async def _open(service: str, data: Path, older: float) -> list[dict[str, Any]]:
    from laneway.history.sagas import open_sagas

    now = time.time()
    async with opened(Settings.load(), service, data) as of:
        found = await open_sagas(of.store, told_before=now - older)
        told = [await _told(of, each, now) for each in found]
    return [each for each in told if each is not None]


async def _told(of: OpenService, saga: "OpenSaga", now: float) -> dict[str, Any] | None:
    """A saga as its log tells it; None if it has ended after all."""
    from laneway.history.log import EventLog

    kind = next((each for each in of.service.sagas if saga.stream.startswith(each.stream(""))), None)
    told = {"saga": saga.stream, "silentSeconds": round(now - saga.told_at, 1), "reason": saga.reason}
    if kind is None:
        return {**told, "waitsFor": None}
    loaded = await EventLog(of.store, of.service.upcasters).load(kind, saga.stream.removeprefix(kind.stream("")))
    due = loaded.outstanding if loaded.compensating else (loaded.next,)
    return None if loaded.done else {**told, "waitsFor": [action.name for action in due if action]}


def _print(told: Sequence[Mapping[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    from laneway.cli.events.told import printed

    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("saga", "silent", "waits for", "turned back because"):
        table.add_column(column, no_wrap=True, justify="right" if column == "silent" else "left")
    for each in told:
        waits = ", ".join(each["waitsFor"]) if each["waitsFor"] is not None else "a class that is not installed"
        table.add_row(each["saga"], f"{each['silentSeconds']:,.0f} s", waits, each["reason"] or "")
    printed(table, Console())


async def _resume(service: str, streams: Sequence[str], data: Path) -> dict[str, list[str]]:
    from laneway.cli.up.state import State
    from laneway.lanes.everywhere import RESUME
    from laneway.lanes.grpc.channel import GrpcTransport
    from laneway.lanes.outgoing import Lanes
    from laneway.resilience.pipeline import Pipelines
    from laneway.telemetry.metrics import Metrics
    from laneway.telemetry.tracing import Tracing
    from laneway.v1 import saga_pb2

    state, settings = State.read(data), Settings.load()
    ports = {each.service: each.port for each in state.processes.values() if each.role == "grpc"} if state else {}
    target = f"127.0.0.1:{ports[service]}" if service in ports else settings.target(service)
    transport = GrpcTransport(lambda _: target)
    try:
        tracing = Tracing("laneway", "laneway", None)
        lanes = Lanes(transport, pipelines=Pipelines(), tracing=tracing, metrics=Metrics())
        begun: dict[str, list[str]] = {}
        for stream in streams:
            answer = await lanes.call(RESUME.at(service), saga_pb2.ResumeSagaRequest(stream=stream))
            begun[stream] = list(cast(saga_pb2.ResumeSagaResponse, answer.message).actions)
        return begun
    finally:
        await transport.close()
