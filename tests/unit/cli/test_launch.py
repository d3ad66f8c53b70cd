"""A forked `laneway` is what `laneway` on a command line would be."""

import asyncio
import os
from collections.abc import AsyncIterator
from io import StringIO

import pytest
from rich.console import Console

from laneway.cli.up.launch import Launch
from laneway.cli.up.output import Output
from laneway.cli.up.plan import Process, Stage


@pytest.fixture
async def launch() -> AsyncIterator[Launch]:
    launch = Launch()
    yield launch
    await asyncio.to_thread(launch.close)


async def run(launch: Launch, *command: str, **environment: str) -> tuple[int, str]:
    """The exit code and what was printed."""
    reading, writing = os.pipe()
    file = StringIO()
    lines = asyncio.create_task(Output(Console(file=file, width=200), width=1).follow("a", "a", reading))
    running = await launch.launch(Process("a", "a", "grpc", Stage.SERVER, command, environment), writing)
    os.close(writing)
    async with asyncio.timeout(60):
        code = await running.ended()
        await lines
    return code, file.getvalue()


async def test_it_prints_into_its_pipe_and_ends_with_the_code_of_the_command(launch: Launch) -> None:
    code, printed = await run(launch, "companion", "--help")

    assert code == 0
    assert "Run a companion" in printed


async def test_it_sees_its_own_surroundings(launch: Launch) -> None:
    code, printed = await run(launch, "companion", "none", LANEWAY_PORT_OF_CALL="1")
    refused, sentence = await run(launch, "run", "orders", "--role", "grpc", LANEWAY_PORT_OF_CALL="1")

    assert (code, refused) == (2, 2)
    assert "There is no companion `none`" in printed
    assert sentence.startswith("a LANEWAY_PORT_OF_CALL is not a setting of Laneway")
