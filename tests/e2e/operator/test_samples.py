"""The samples are taken by the API server as they are, and the page that leads from KEDA leads from an autoscaler."""

import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.charts.test_how_to import commands
from tests.e2e.operator.kubectl import ROOT, Namespace, run, until
from tests.e2e.operator.plain_celery import IMAGE, Producer

SAMPLES = [*sorted((ROOT / "k8s/samples").glob("*/pool*.yaml")), ROOT / "k8s/samples/plain-celery/workers.yaml"]


@pytest.mark.core
@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: f"{sample.parent.name}/{sample.name}")
def test_a_sample_is_taken(namespace: Namespace, sample: Path) -> None:
    namespace.kubectl("apply", "--dry-run=server", "--filename", str(sample))


PAGE = ROOT / "docs/how-to/move-from-keda.md"


def typed(there: Namespace, *words: str) -> str:
    """Type the one command of the page that begins so."""
    [command] = [each for each in commands(PAGE) if each[: len(words)] == list(words)]
    program = f"{sys.prefix}/bin/laneway" if command[0] == "laneway" else command[0]
    return run(program, *command[1:], "--namespace", there.name)


def thumbnails() -> list[dict[str, Any]]:
    """The sample's application and workers, in the image that has Celery, and an autoscaler as KEDA makes one."""
    source = (ROOT / "k8s/samples/plain-celery/app.py").read_text()
    app = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "thumbnails"}, "data": {"app.py": source}}
    [workers] = yaml.safe_load_all((ROOT / "k8s/samples/plain-celery/workers.yaml").read_text())
    pod = workers["spec"]["template"]["spec"]
    pod["volumes"] = [{"name": "app", "configMap": {"name": "thumbnails"}}]
    [container] = pod["containers"]
    container |= {"image": IMAGE, "workingDir": "/src", "volumeMounts": [{"name": "app", "mountPath": "/src"}]}
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "thumbnails"}
    usage = {
        "type": "Resource",
        "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}},
    }
    keda = {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "keda-hpa-thumbnails"},
        "spec": {"scaleTargetRef": target, "minReplicas": 1, "maxReplicas": 2, "metrics": [usage]},
    }
    return [app, workers, keda]


def test_the_page_leads_from_an_autoscaler_to_a_pool(celery_namespace: Namespace, producer: Producer) -> None:
    there = celery_namespace
    there.apply(*thumbnails())
    there.kubectl("delete", "secret", "broker")
    typed(there, "kubectl", "create", "secret")
    typed(there, "kubectl", "apply")

    def condition(type: str) -> tuple[str, str]:
        found = there.condition("thumbnails", type)
        return found["status"], found["reason"]

    until(lambda: condition("MetricsAvailable") == ("True", "Reporting"), 60, "its workers report")
    assert condition("ScalingActive") == ("False", "ConflictingAutoscaler")
    table = typed(there, "laneway", "pools")
    assert "DryRun" in table
    assert "keda-hpa-thumbnails" in table
    assert "keda-hpa-thumbnails" in typed(there, "kubectl", "describe")

    there.kubectl("delete", "hpa", "keda-hpa-thumbnails")
    typed(there, "kubectl", "patch")
    until(lambda: condition("ScalingActive") == ("True", "Active"), 20, "the pool scales")
    producer.start("app.thumbnail", "cat.png")
    until(lambda: producer.held() == 0, 60, "the sample's task is done")
    there.kubectl("delete", "workerpool/thumbnails", "deployment/thumbnails")
