"""The samples are taken by the API server as they are."""

from pathlib import Path

import pytest

from tests.e2e.operator.kubectl import ROOT, Namespace

SAMPLES = [*sorted((ROOT / "k8s/samples").glob("*/pool*.yaml")), ROOT / "k8s/samples/plain-celery/workers.yaml"]


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: f"{sample.parent.name}/{sample.name}")
def test_a_sample_is_taken(namespace: Namespace, sample: Path) -> None:
    namespace.kubectl("apply", "--dry-run=server", "--filename", str(sample))
