"""Calls of the shop's edge, made by schemathesis of its own OpenAPI document: none may end otherwise than it says.

Its examples are bounded and always the same; `schemathesis.toml` says what is expected beyond its own defaults, and why.
"""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.fixtures.edge import running_edge

CONFIG = Path(__file__).with_name("schemathesis.toml")

ASIDE = "allow_header_conformance"
"""`/v1/orders/1:cancel` also has GET, and `Allow` says so: by http.proto's rules it is the order of that name."""


def test_no_call_ends_otherwise_than_the_document_says(tmp_path: Path) -> None:
    with running_edge() as url:
        ran = subprocess.run(
            [
                Path(sys.executable).with_name("st"), "--no-color", "--config-file", CONFIG, "run", f"{url}/openapi.json",
                "--phases", "examples,coverage,fuzzing", "--checks", "all", "--exclude-checks", ASIDE, "--continue-on-failure", "--warnings", "off",
            ],
            cwd=tmp_path, capture_output=True, text=True, timeout=240, check=False,
        )  # fmt: skip
    if ran.returncode:
        pytest.fail(ran.stdout + ran.stderr)
