"""`laneway breaking AGAINST` compares with a folder, a git revision or a descriptor set."""

import json
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

from laneway.cli.commands import app
from laneway.contract.compile import described
from laneway.errors import ConfigurationError

CONTRACT = """syntax = "proto3";
package test.shelf.v1;
message Request { string name = 1; int32 size = 2; }
message Reply {}
service Shelf { rpc Put(Request) returns (Reply); }
"""
FOUND = "protos/shelf.proto:3:1: FIELD_NO_DELETE_UNLESS_NUMBER_RESERVED test.shelf.v1.Request"


@pytest.fixture(autouse=True)
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository whose contract has lost a field since its only commit, which is `v1`."""
    monkeypatch.chdir(tmp_path)
    write(CONTRACT)
    git("init", "--quiet")
    git("add", "protos")
    git("-c", "user.name=x", "-c", "user.email=x@localhost", "commit", "--quiet", "--message", "first")
    git("tag", "v1")
    write(CONTRACT.replace("int32 size = 2; ", ""))
    return tmp_path


def git(*arguments: str) -> None:
    subprocess.run(["git", *arguments], check=True, capture_output=True)


def write(text: str, folder: str = "protos") -> None:
    Path(folder).mkdir(exist_ok=True)
    (Path(folder) / "shelf.proto").write_text(text)


def breaking(*arguments: str, expected: int = 1) -> str:
    done = CliRunner().invoke(app, ["breaking", *arguments], catch_exceptions=False)
    assert done.exit_code == expected
    return done.stdout


def test_a_git_revision_is_compared_with_what_is_written_now() -> None:
    told = breaking("v1")
    assert told.splitlines()[0] == FOUND
    assert "`size` = 2 is gone" in told
    write(CONTRACT)
    assert breaking("v1", expected=0) == "no findings\n"


def test_a_revision_may_name_the_folder_that_the_contract_was_in() -> None:
    git("mv", "protos", "contracts")
    assert breaking("v1:protos", "contracts").startswith(FOUND.replace("protos", "contracts"))


def test_a_folder_and_a_descriptor_set_do_as_well(tmp_path: Path) -> None:
    write(CONTRACT, "before")
    (tmp_path / "before.pb").write_bytes(described(tmp_path / "before")[0].SerializeToString())
    assert breaking("before") == breaking("before.pb") == breaking("v1")


def test_programs_and_pull_requests_are_told_as_by_lint() -> None:
    [found] = json.loads(breaking("v1", "--format", "json"))
    assert (found["code"], found["file"], found["line"]) == (
        "FIELD_NO_DELETE_UNLESS_NUMBER_RESERVED",
        "protos/shelf.proto",
        3,
    )
    assert breaking("v1", "--format", "github").startswith(
        "::error file=protos/shelf.proto,line=3,col=1,title=FIELD_NO"
    )


@pytest.mark.parametrize("against", ["v2", "--output=/tmp/x", "v1:nowhere"])
def test_what_is_nothing_of_these_is_refused_in_a_sentence(against: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{against} is no folder, no file(,)? and no git revision"):
        breaking("--", against)


def test_a_shallow_clone_compares_with_what_it_fetches(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    git("-c", "user.name=x", "-c", "user.email=x@localhost", "commit", "--quiet", "--all", "--message", "second")
    git("branch", "before", "v1")
    git("clone", "--quiet", "--depth=1", repository.as_uri(), "shallow")
    monkeypatch.chdir(repository / "shallow")
    with pytest.raises(ConfigurationError, match="`git fetch --depth=1 origin main`, and it is FETCH_HEAD"):
        breaking("before")
    git("fetch", "--quiet", "--depth=1", "origin", "before")
    assert breaking("FETCH_HEAD").splitlines()[0] == FOUND
