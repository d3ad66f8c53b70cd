"""The examples of docs/lint.md: each rule finds something in one, and in the other none does."""

import re
from dataclasses import dataclass
from pathlib import Path

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorSet

from laneway.contract import sources
from laneway.contract.compile import described
from laneway.contract.findings import Placed
from laneway.contract.lint import RULES, lint
from laneway.contract.sources import Source
from laneway.lanes.rest import routes

ROOT = Path(__file__).parents[3]
DOCUMENT = (ROOT / "docs" / "lint.md").read_text()
PRELUDE = re.search(r"```proto\n(.*?)```", DOCUMENT, re.DOTALL)[1]
KNOWN = {rule.code: rule for rule in (*RULES, *routes.LINT_RULES)}
BESIDE = {"IGNORE_WITHOUT_REASON": {"KEY_OF_READ"}}
"""What is found besides: a rule that is ignored without a reason is not ignored."""


@dataclass(frozen=True)
class Entry:
    code: str
    text: str
    fails: str
    passes: str


def entries() -> dict[str, Entry]:
    found = re.findall(
        r"^### ([A-Z_]+)\n\n(.*?)\n\n```proto\n(.*?)```\n\n```proto\n(.*?)```", DOCUMENT, re.DOTALL | re.M
    )
    return {code: Entry(code, *rest) for code, *rest in found}


ENTRIES = entries()


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Source]:
    """All examples, compiled at once, each in a package of its own."""
    folder = tmp_path_factory.mktemp("examples")
    for entry in ENTRIES.values():
        for outcome, body in (("fails", entry.fails), ("passes", entry.passes)):
            name = f"{entry.code.lower()}_{outcome}"
            text = f"{PRELUDE}service Shelf {{\n{body}}}\n".replace("test.shelf.v1", f"test.{name}.v1")
            (folder / f"{name}.proto").write_text(text)
    files, own = described(folder)
    imported = [file for file in files.file if file.name not in own]
    return {
        file.name.removesuffix(".proto"): Source(FileDescriptorSet(file=[*imported, file]), own={file.name})
        for file in files.file
        if file.name in own
    }


def codes(found: list[Placed]) -> set[str]:
    return {each.finding.rule.code for each in found}


def test_every_rule_has_its_entry_in_the_document_and_every_entry_its_rule() -> None:
    headings = re.findall(r"^### (.+)$", DOCUMENT, re.M)
    assert headings == [*ENTRIES]
    assert {code: entry.text.startswith(KNOWN[code].title) for code, entry in ENTRIES.items()} == dict.fromkeys(
        KNOWN, True
    )
    assert [
        code
        for code, entry in ENTRIES.items()
        if ("(Warning.)" in entry.text) != (KNOWN[code].severity.value == "warning")
    ] == []


@pytest.mark.parametrize("code", ENTRIES)
def test_a_rule_finds_its_example(examples: dict[str, Source], code: str) -> None:
    found = lint(examples[f"{code.lower()}_fails"], [routes.lint])
    assert codes(found) == {code} | BESIDE.get(code, set())
    assert all(each.place.line and each.finding.message and each.finding.remedy for each in found)


@pytest.mark.parametrize("code", ENTRIES)
def test_nothing_is_found_in_the_example_that_passes(examples: dict[str, Source], code: str) -> None:
    assert lint(examples[f"{code.lower()}_passes"], [routes.lint]) == []


def test_a_finding_is_placed_at_the_method_that_it_is_about(tmp_path: Path) -> None:
    (tmp_path / "shelf.proto").write_text(f"{PRELUDE}\nservice Shelf {{\n{ENTRIES['QUEUE_NOT_IDEMPOTENT'].fails}}}")
    [found] = [each for each in lint(sources.folder(tmp_path)) if each.place.file.endswith("shelf.proto")]

    lines = (tmp_path / "shelf.proto").read_text().splitlines()
    assert (found.place.file, found.place.column) == (str(tmp_path / "shelf.proto"), 1)
    assert lines[found.place.line - 1].startswith("rpc Put")


def test_the_contracts_of_the_shop_and_of_laneway_itself_pass() -> None:
    assert lint(sources.folder(ROOT / "protos"), [routes.lint]) == []
