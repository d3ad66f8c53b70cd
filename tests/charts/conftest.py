"""Charts are rendered once for all tests. Without helm these tests are skipped, but not where CI says that it is one."""

import os
import shutil

import pytest

from tests.charts.rendering import Charts, Rendered, configurations


@pytest.fixture(scope="session")
def charts(tmp_path_factory: pytest.TempPathFactory) -> Charts:
    if shutil.which("helm") is None:
        reason = "helm is not on the PATH; the charts are not tested"
        if os.environ.get("CI", "") not in ("", "0", "false"):
            pytest.fail(reason)
        pytest.skip(reason)
    return Charts(tmp_path_factory.mktemp("charts"))


@pytest.fixture(params=configurations())
def rendered(charts: Charts, request: pytest.FixtureRequest) -> Rendered:
    """Each of the main configurations in turn."""
    return charts.configured(request.param)
