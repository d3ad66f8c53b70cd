"""The golden renders: the default whole, every other configuration as what it changes. `make golden` writes them anew."""

import difflib
import shutil
import tempfile
from pathlib import Path

from tests.charts import tuning_schema
from tests.charts.rendering import Charts, configurations

FOLDER = Path(__file__).parent / "golden"


def golden_texts(charts: Charts) -> dict[str, str]:
    """What the files should hold, by their names."""
    default = charts.configured("default").masked
    texts = {"default.yaml": default}
    for name, configuration in configurations().items():
        text = charts.configured(name).masked
        if configuration.chart != "shop":
            texts[f"{name}.yaml"] = text
        elif name != "default":
            texts[f"{name}.diff"] = _changes(default, text)
    return texts


def _changes(default: str, text: str) -> str:
    """A diff without line numbers, which would change with every line above."""
    lines = difflib.unified_diff(default.splitlines(), text.splitlines(), n=2, lineterm="")
    return "".join(f"{'@@' if line.startswith('@@') else line}\n" for line in list(lines)[2:])


def main() -> None:
    """Write the files, and the part of a schema that is made."""
    tuning_schema.FILE.write_text(tuning_schema.written(tuning_schema.FILE.read_text()))
    with tempfile.TemporaryDirectory() as folder:
        texts = golden_texts(Charts(Path(folder)))
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir()
    for name, text in texts.items():
        (FOLDER / name).write_text(text)


if __name__ == "__main__":
    main()
