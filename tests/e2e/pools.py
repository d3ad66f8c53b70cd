"""The WorkerPools of the sample, as the tests use them."""

from typing import Any

import yaml

from tests.e2e.kube import ROOT

SAMPLES = ROOT / "k8s/samples/shop"


def pools() -> list[dict[str, Any]]:
    """The sample's, which look back for a shorter time, of workers that do one thing at a time."""
    found = list(yaml.safe_load_all((SAMPLES / "pools.yaml").read_text()))
    for each in found:
        each["spec"]["scaleDown"] = {"lookback": "5s"}
        each["spec"]["initial"] |= {"slotsPerPod": 1, "serviceTime": "500ms"}
    return found
