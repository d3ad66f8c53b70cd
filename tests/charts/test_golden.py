"""A change of the charts is read as a change of what they render."""

import pytest

from tests.charts.golden import FOLDER, golden_texts
from tests.charts.rendering import Charts


def test_the_renders_are_those_in_the_repository(charts: Charts) -> None:
    texts = golden_texts(charts)
    assert sorted(texts) == sorted(path.name for path in FOLDER.iterdir()), "run `make golden`"
    changed = [name for name, text in texts.items() if text != (FOLDER / name).read_text()]
    assert not changed, "run `make golden`, and read what `git diff tests/charts/golden` says"


@pytest.mark.parametrize("name", ["default", "edge"])
def test_what_is_random_is_masked(charts: Charts, name: str) -> None:
    again = Charts(charts.folder.parent / name)
    assert again.configured(name).text != charts.configured(name).text, "passwords are made anew without a cluster"
    assert again.configured(name).masked == charts.configured(name).masked
