"""What the documents and the Makefile say of the tree, where it can be told by a program."""

import re
import subprocess
from pathlib import Path

import pytest

from laneway.cli.commands import app
from tests.benchmarks.twin.lines import counted, lines

ROOT = Path(__file__).parents[2]
ARCHITECTURE = (ROOT / "ARCHITECTURE.md").read_text()


def test_make_lock_pins_every_list_of_dependencies() -> None:
    printed = subprocess.run(["make", "-n", "lock"], cwd=ROOT, capture_output=True, text=True, check=True).stdout

    for wanted in sorted((ROOT / "requirements").glob("*.in")):
        assert f"requirements/{wanted.name}" in printed
        assert wanted.with_suffix(".lock").exists()


def test_the_architecture_names_every_command() -> None:
    [row] = [line for line in ARCHITECTURE.splitlines() if line.startswith("| `cli/`")]
    commands = [each.name or each.callback.__name__ for each in app.registered_commands if each.callback]

    assert [name for name in commands if not re.search(f"`(laneway )?{name}`", row)] == []


@pytest.mark.parametrize("folder", ["tests", "services/laneway/src/laneway"])
def test_the_architecture_names_every_folder_and_module(folder: str) -> None:
    inside = [
        each for each in (ROOT / folder).iterdir() if not each.name.startswith(("_", ".")) and each.name != "py.typed"
    ]
    named = set(re.findall(r"`([a-z0-9_]+)(?:/|\.py)?`", ARCHITECTURE))

    assert sorted(each.name for each in inside if each.stem not in named and each.name != "conftest.py") == []


@pytest.mark.parametrize("document", ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "docs/roadmap.md"])
def test_a_document_leads_to_files_and_targets_that_are_there(document: str) -> None:
    text = (ROOT / document).read_text()
    linked = [target for target in re.findall(r"\]\(([^)#]+)", text) if not target.startswith("http")]
    typed = r"^make ([a-z0-9-]+)(?=$| +#| ARGS)|`make ([a-z0-9-]+)"  # in a block of code, or quoted
    targets = {block or quoted for block, quoted in re.findall(typed, text, re.MULTILINE)}
    makefile = (ROOT / "Makefile").read_text()

    assert [target for target in linked if not (ROOT / document).parent.joinpath(target).exists()] == []
    assert [target for target in sorted(targets) if not re.search(rf"^{target}:", makefile, re.MULTILINE)] == []


def test_each_row_of_the_failure_modes_names_tests_that_are_there() -> None:
    listed = subprocess.run(["git", "ls-files", "*test_*.py"], cwd=ROOT, capture_output=True, text=True, check=True)
    files = {f"/{name}": (ROOT / name).read_text() for name in listed.stdout.splitlines()}
    wrong, before = [], ""
    for line in (ROOT / "docs/failure-modes.md").read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if not line.startswith("|") or cells[-1].startswith(("test", "---")):
            continue
        references = re.findall(r"`([^`]+)`", cells[-1])
        wrong += [] if references else [line]
        for reference in references:
            path, _, test = reference.removeprefix("…").partition("::")
            named = [name for name in files if name.endswith(f"/{path.lstrip('/') or before}")]
            before = path.lstrip("/") or before
            if not any(not test or f"def {test}(" in files[name] for name in named):
                wrong.append(reference)
    assert wrong == []


def test_the_readme_tells_how_many_lines_a_service_is_and_its_twin_by_hand() -> None:
    told = re.search(
        r"are (\d+) lines, (\d+) with their contract\.[^.]* they are (\d+)\n", (ROOT / "README.md").read_text()
    )
    ours, contract, twin = counted()

    assert told is not None
    assert tuple(map(int, told.groups())) == (ours, ours + contract, twin)
    assert twin >= 10 * ours


def test_a_line_is_one_of_code(tmp_path: Path) -> None:
    python, proto = tmp_path / "a.py", tmp_path / "a.proto"
    python.write_text(
        '"""A page\nof words."""\n\n# why\nx = [\n    1,  # one\n]\n\n\ndef f() -> str:\n    """Words."""\n    return """a\nb"""\n'
    )
    proto.write_text("// Words.\n\nmessage A {\n  // More.\n  string b = 1;  // c\n}\n")

    assert (lines(python), lines(proto)) == (6, 3)
