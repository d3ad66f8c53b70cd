"""Processes are started in order, kept running, and stopped in reverse, with nothing left."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from laneway.cli.up.launch import Launch, Running
from laneway.cli.up.output import Output
from laneway.cli.up.plan import Process, Ready, Stage
from laneway.cli.up.ports import from_base, is_free
from laneway.cli.up.supervisor import Patience, Supervisor
from laneway.errors import ConfigurationError, Unavailable

SERVE = """
import os, signal, socket
def end(*_):
    with open(os.environ["DIARY"], "a") as diary:
        diary.write(os.environ["NAME"] + " ended\\n")
    os._exit(0)
signal.signal(signal.SIGTERM, end)
server = socket.socket()
server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
server.bind(("127.0.0.1", int(os.environ["PORT"])))
with open(os.environ["DIARY"], "a") as diary:
    diary.write(os.environ["NAME"] + " started\\n")
print("serving", flush=True)
server.listen()  # last: whoever can connect finds the rest done
while True:
    server.accept()[0].close()
"""
STUBBORN = SERVE.replace("signal.signal(signal.SIGTERM, end)", "signal.signal(signal.SIGTERM, signal.SIG_IGN)")
WITH_CHILD = """
import os, subprocess, sys, time
subprocess.run([sys.executable, "-c", os.environ["CHILD"]])
"""


class Announcing(Launch):
    """The real launcher, which says when it has launched."""

    def __init__(self) -> None:
        super().__init__()
        self.launched = asyncio.Event()

    async def launch(self, process: Process, output: int) -> Running:
        running = await super().launch(process, output)
        self.launched.set()
        return running


class Bench:
    """A supervisor, what it prints, and what its processes write down."""

    def __init__(self, folder: Path) -> None:
        self.file = StringIO()
        self.launcher = Announcing()
        self._changed = asyncio.Event()
        self._diary = folder / "diary"
        self._ports: Iterator[int] = from_base(0)
        output = Output(Console(file=self.file, width=200), width=5)
        patience = Patience(start=10, stop=10, first_restart=0.01)
        self.output = output
        self.supervisor = self.with_patience(patience)

    def with_patience(self, patience: Patience) -> Supervisor:
        self.supervisor = Supervisor(
            self.launcher, self.output, patience=patience, changed=lambda _: self._changed.set()
        )
        return self.supervisor

    def process(self, name: str, stage: Stage = Stage.SERVER, code: str = SERVE, child: str = "") -> Process:
        port = next(self._ports)
        environment = {"NAME": name, "PORT": str(port), "DIARY": str(self._diary), "CHILD": child}
        command = ("-c", code)
        return Process(
            name, name, "grpc", stage, command, environment, Ready.ACCEPTS, port=port, program=Path(sys.executable)
        )

    @property
    def diary(self) -> list[str]:
        return self._diary.read_text().splitlines() if self._diary.exists() else []

    @property
    def printed(self) -> str:
        return self.file.getvalue()

    async def until(self, fact: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not fact():
                self._changed.clear()
                await self._changed.wait()


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    await bench.supervisor.stop()


async def test_stages_start_upwards_and_stop_downwards(bench: Bench) -> None:
    processes = [bench.process(stage.name, stage) for stage in reversed(Stage)]

    await bench.supervisor.start(processes)
    await bench.supervisor.stop()

    upwards = [stage.name for stage in Stage]
    assert bench.diary == [f"{name} started" for name in upwards] + [f"{name} ended" for name in reversed(upwards)]


async def test_lines_stand_behind_the_name_of_their_process(bench: Bench) -> None:
    await bench.supervisor.start([bench.process("a")])
    await bench.supervisor.stop()

    assert "a     serving\n" in bench.printed


async def test_what_is_killed_is_started_again_and_that_is_said(bench: Bench) -> None:
    await bench.supervisor.start([bench.process("a"), bench.process("b")])
    before = dict(bench.supervisor.pids)

    os.kill(before["a"], signal.SIGKILL)
    await bench.until(lambda: bench.supervisor.pids.get("a", before["a"]) != before["a"])

    assert bench.supervisor.pids["b"] == before["b"]
    assert "a was ended by SIGKILL; it is started again in 0.01 s." in bench.printed


async def test_a_process_that_does_not_end_is_killed(bench: Bench) -> None:
    supervisor = bench.with_patience(Patience(start=10, stop=0.1))
    process = bench.process("a", code=STUBBORN)
    await supervisor.start([process])

    await supervisor.stop()

    assert "a does not end; it is killed." in bench.printed
    assert is_free("127.0.0.1", process.port or 0)


async def test_the_children_of_a_killed_process_do_not_outlive_it(bench: Bench) -> None:
    supervisor = bench.with_patience(Patience(start=10, first_restart=60))
    process = bench.process("a", code=WITH_CHILD, child=SERVE)
    await supervisor.start([process])

    os.kill(supervisor.pids["a"], signal.SIGKILL)
    await bench.until(lambda: "a" not in supervisor.pids)
    await supervisor.stop()

    assert is_free("127.0.0.1", process.port or 0)


async def test_a_stop_does_not_wait_for_a_restart(bench: Bench) -> None:
    supervisor = bench.with_patience(Patience(start=10, first_restart=3600))
    await supervisor.start([bench.process("a")])
    os.kill(supervisor.pids["a"], signal.SIGKILL)
    await bench.until(lambda: "a" not in supervisor.pids)

    async with asyncio.timeout(10):
        await supervisor.stop()


async def test_a_process_that_says_how_it_is_misconfigured_ends_the_start_with_its_sentence(bench: Bench) -> None:
    failing = bench.process("b", Stage.WORKER, "import sys; print('LANEWAY_X cannot be used.'); sys.exit(2)")

    with pytest.raises(ConfigurationError) as raised:
        await bench.supervisor.start([bench.process("a"), failing, bench.process("c", Stage.EDGE)])
    await bench.supervisor.stop()

    assert raised.value.message == "LANEWAY_X cannot be used."
    assert bench.diary == ["a started", "a ended"]


async def test_a_process_that_ends_while_it_starts_is_named_with_its_last_words(bench: Bench) -> None:
    with pytest.raises(Unavailable) as raised:
        await bench.supervisor.start([bench.process("a", code="raise SystemExit('no luck')")])

    assert raised.value.message == "a ended with code 1 while it was starting; it said: no luck"


async def test_a_process_that_never_serves_is_named(bench: Bench) -> None:
    supervisor = bench.with_patience(Patience(start=0.3, stop=10))

    with pytest.raises(Unavailable, match=r"a was not ready within 0.3 s\."):
        await supervisor.start([bench.process("a", code="import signal; signal.pause()")])


async def test_a_program_that_does_not_exist_ends_the_start(bench: Bench) -> None:
    missing = Process("a", "a", "grpc", Stage.SERVER, (), {}, program=Path("/does/not/exist"))

    with pytest.raises(Unavailable, match="a ended with code 127 while it was starting"):
        await bench.supervisor.start([missing])


async def test_a_stop_while_a_process_starts_leaves_nothing(bench: Bench) -> None:
    process = bench.process("a")
    starting = asyncio.create_task(bench.supervisor.start([process]))
    await bench.launcher.launched.wait()
    starting.cancel()

    await bench.supervisor.stop()

    assert is_free("127.0.0.1", process.port or 0)


async def test_one_more_is_kept_running_and_one_less_is_stopped_warmly(bench: Bench) -> None:
    await bench.supervisor.start([bench.process("a")])
    more = bench.process("b")

    bench.supervisor.add(more)
    async with asyncio.timeout(10):
        while "b started" not in bench.diary:
            await asyncio.sleep(0.01)
    assert [each.name for each in bench.supervisor.processes] == ["a", "b"]
    await bench.supervisor.remove("b")

    assert bench.diary == ["a started", "b started", "b ended"]
    assert bench.supervisor.pids.keys() == {"a"}


async def test_one_more_that_does_not_start_is_tried_again_and_harms_nobody(bench: Bench) -> None:
    await bench.supervisor.start([bench.process("a")])
    before = dict(bench.supervisor.pids)

    bench.supervisor.add(bench.process("b", code="raise SystemExit('no luck')"))
    await bench.until(lambda: bench.printed.count("b ended with code 1") >= 2)

    assert bench.supervisor.pids["a"] == before["a"]


ENDING_ANOTHER = SERVE.replace(
    "def end(*_):",
    """def end(*_):
    other = int(os.environ["CHILD"])
    os.kill(other, signal.SIGTERM)
    while True:  # until the supervisor has seen its end
        try:
            os.kill(other, 0)
        except ProcessLookupError:
            break""",
)


async def test_what_somebody_else_ends_during_a_stop_is_not_started_again(bench: Bench) -> None:
    await bench.supervisor.start([bench.process("below", Stage.SERVER)])
    other = str(bench.supervisor.pids["below"])
    await bench.supervisor.start([bench.process("above", Stage.EDGE, ENDING_ANOTHER, child=other)])

    await bench.supervisor.stop()

    assert bench.diary == ["below started", "above started", "below ended", "above ended"]
    assert "started again" not in bench.printed


async def test_a_service_that_is_to_be_down_is_killed_and_not_started_again_until_it_may_run(bench: Bench) -> None:
    victim, other = bench.process("victim"), bench.process("other")
    await bench.supervisor.start([victim, other])
    supervisor = bench.supervisor
    before = supervisor.pids["other"]

    supervisor.hold("victim", down=True)
    await bench.until(lambda: "victim" not in supervisor.pids)
    supervisor.add(replace(bench.process("another"), service="victim"))
    assert "is started again" not in bench.printed
    assert supervisor.pids == {"other": before}

    supervisor.hold("victim", down=False)
    await bench.until(lambda: {"victim", "another"} <= supervisor.pids.keys())


async def test_a_service_that_is_down_does_not_keep_the_others_from_stopping(bench: Bench) -> None:
    await bench.supervisor.start([bench.process("victim"), bench.process("other")])
    bench.supervisor.hold("victim", down=True)

    await bench.supervisor.stop()

    assert bench.diary[-1] == "other ended"
