"""What is in force for each method, and who says so: what `laneway policy` shows."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from google.protobuf.descriptor import FieldDescriptor

from laneway.contract.layers import DECLARED, Layer, Origin, Setting, knobs, settings_of
from laneway.contract.model import Method
from laneway.contract.policy import Policy
from laneway.contract.tuning import Layers, is_tunable
from laneway.v1 import call_pb2


@dataclass(frozen=True, slots=True)
class Effective:
    """The value of one knob; None where nobody says anything, and then nobody is named."""

    path: str
    field: FieldDescriptor
    value: Any
    layers: tuple[Layer, ...]
    tunable: bool
    """Whether a deployment may say otherwise."""
    ceiling: float | None = None
    """What no deployment and no call site goes above."""


def effective(method: Method, file: Layers, *, timeout: float | None = None) -> list[Effective]:
    """The knobs of a method, in the vocabulary's order, under a policy file, and of a call that asks for `timeout`.

    Raises:
        ConfigurationError: what comes of the file cannot be obeyed.
    """
    layers = (*method.layers, *file.over(method))
    settings, policy = settings_of(layers), file.of(method)
    if timeout is not None:
        settings["deadline"] = _granted(settings, policy, timeout)
    parts = {path.partition(".")[0] for path in settings}
    shown = [(path, field) for path, field in knobs() if path in settings or _is_had(path, parts)]
    return [_row(path, field, settings.get(path), policy) for path, field in shown]


def _is_had(path: str, parts: set[str]) -> bool:
    """Whether a method that says nothing at a path could: it has the part, or every method has."""
    part = path.partition(".")[0]
    return part in parts or part not in DECLARED


def _row(path: str, field: FieldDescriptor, setting: Setting | None, policy: Policy) -> Effective:
    value, layers = (None, ()) if setting is None else (setting.value, setting.layers)
    ceiling = policy.max_deadline if path == "deadline" else None
    return Effective(path, field, value, layers, is_tunable(path), ceiling)


def _granted(settings: dict[str, Setting], policy: Policy, timeout: float) -> Setting:
    granted = policy.granted(timeout)
    if granted == timeout:
        return Setting(granted, (Layer(Origin.CALL_SITE, f"timeout={timeout:g}", call_pb2.CallPolicy()),))
    return Setting(granted, settings.get("max_deadline", settings["deadline"]).layers)


def chosen(methods: Iterable[Method], named: str | None) -> Iterator[Method]:
    """The methods of a name: in full, a service's, or the last parts of either; without one, all of them."""
    for method in methods:
        if (
            named is None
            or f".{method.full_name}.".endswith(f".{named}.")
            or f".{method.service_name}".endswith(f".{named}")
        ):
            yield method
