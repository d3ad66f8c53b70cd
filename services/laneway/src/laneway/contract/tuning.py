"""The deployment's tuning: a policy file in a mounted folder, over what the contract says, reloaded while running.

```yaml
defaults: {deadline: 3s}                       # every method
services:
  shop.inventory.v1.Inventory: {retry: {max_attempts: 2}}
methods:
  shop.inventory.v1.Inventory.CheckStock: {deadline: 0.5s, breaker: {open_time: 5s}}
logs: {laneway.lanes.queue: DEBUG}             # levels of single modules
```

Values are those of `laneway.v1.CallPolicy` in ProtoJSON. What a call means (its key, its queue, its errors) is the
contract's alone and cannot be tuned.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from google.protobuf import json_format

from laneway.contract.layers import BUILT_IN, QUEUED_AND_SUBSCRIBED, Layer, Origin, is_part, policy_of
from laneway.contract.model import Method
from laneway.contract.policy import Policy
from laneway.errors import ConfigurationError
from laneway.v1 import call_pb2

log = logging.getLogger(__name__)

FILE = "policy.yaml"
LOOK_AGAIN = 1.0
"""Seconds between looks at the folder. Kubernetes swaps a link in it, which no watch of the file itself would see."""

_WORK = {"run_timeout", "max_attempts", "initial_backoff", "max_backoff"}
_TUNABLE: Mapping[str, set[str] | None] = {
    "deadline": None, "attempt_timeout": None, "idle_timeout": None, "retry": None, "breaker": None, "limit": None,
    "fallback": {"last_good", "reserve"}, "queue": _WORK, "subscribe": _WORK,
}  # fmt: skip
"""What may be tuned: a field of the policy, whole or some of its own fields."""


_SECTIONS = {"defaults", "services", "methods", "logs"}
_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


def is_tunable(path: str) -> bool:
    """Whether a deployment may set what is at this path of the policy."""
    part, _, field = path.partition(".")
    own = _TUNABLE.get(part, set())
    return own is None or field in own


class _Loader(yaml.SafeLoader):
    """Refuses a name that is given twice, of which YAML's readers keep the last: a section would be lost unseen."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        names: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in names:
                raise yaml.constructor.ConstructorError(None, None, f"`{key.value}` is given twice", key.start_mark)
            names.add(str(key.value))
        return super().construct_mapping(node, deep)


class Layers:
    """One version of the policy file.

    Raises:
        ConfigurationError: it is not valid.
    """

    def __init__(self, text: str = "") -> None:
        try:
            content = yaml.load(text, _Loader) or {}  # noqa: S506 a safe loader
        except (yaml.YAMLError, RecursionError) as error:
            raise ConfigurationError(f"{FILE} is not YAML: {' '.join(str(error).split())}.") from None
        if not isinstance(content, dict) or (unknown := set(content) - _SECTIONS):
            what = f"unknown: {', '.join(sorted(map(str, unknown)))}" if isinstance(content, dict) else "a list"
            raise ConfigurationError(f"{FILE} holds `defaults`, `services`, `methods` and `logs` ({what}).")
        self._defaults = _parsed("defaults", content.get("defaults"))
        self._services = _each("services", content.get("services"))
        self._methods = _each("methods", content.get("methods"))
        self.logs = _levels(content.get("logs"))
        """Levels of loggers, by their names."""
        self._refuse_problems()

    def over(self, method: Method) -> Iterator[Layer]:
        """What this file says of a method, the general before the particular."""
        for layer in (self._defaults, self._services.get(method.service_name), self._methods.get(method.full_name)):
            if layer is not None and layer.says.ListFields():
                yield layer

    def of(self, method: Method) -> Policy:
        """The method's policy with this file over it.

        Raises:
            ConfigurationError: what comes of it cannot be obeyed.
        """
        over = tuple(self.over(method))
        if not over:
            return method.policy
        policy = policy_of((*method.layers, *over))
        for problem in policy.problems():
            raise ConfigurationError(f"{FILE}: {method.full_name}: {problem}")
        asked = self.deadline_of(method)
        if asked is not None and asked > policy.deadline:
            log.warning("deadline above its ceiling", extra={"method": method.full_name, "ceiling": policy.deadline})
        return policy

    def deadline_of(self, method: Method) -> float | None:
        """The seconds that this file asks for, whatever the owner's ceiling; None where it says nothing."""
        said = [layer.says.deadline for layer in self.over(method) if layer.says.HasField("deadline")]
        return said[-1].ToNanoseconds() / 1e9 if said else None

    def unknown(self, methods: Iterable[Method]) -> list[str]:
        """The names in this file that none of these methods, nor their services, have."""
        known = {name for method in methods for name in (method.full_name, method.service_name)}
        return sorted({*self._services, *self._methods} - known)

    def _refuse_problems(self) -> None:
        # Over the built-in policy: what they say of no method that is here is wrong all the same.
        for name, layer in {"defaults": self._defaults, **self._services, **self._methods}.items():
            for problem in policy_of((BUILT_IN, QUEUED_AND_SUBSCRIBED, layer)).problems():
                raise ConfigurationError(f"{FILE}: {name}: {problem}")


class Tuning:
    """The policy in force of each method of a process.

    `refused` hears after each look at a new file whether it was refused: what lies there is not in force then. `levels`
    hears of the levels of logs that a file sets, at the start and with each that is taken over.

    Raises:
        ConfigurationError: the file that is there at the start is not valid.
    """

    def __init__(
        self,
        folder: Path | None = None,
        *,
        refused: Callable[[bool], None] = lambda _: None,
        levels: Callable[[Mapping[str, str]], None] = lambda _: None,
    ) -> None:
        self._file = None if folder is None else folder / FILE
        self._refused = refused
        self._levels = levels
        self._seen: tuple[int, int] | None = None
        self._layers = Layers()
        self._policies: dict[str, Policy] = {}
        self._met: dict[str, Method] = {}
        if self._file is not None and self._file.exists():
            self._seen = _identity(self._file)
            try:
                self._layers = Layers(self._file.read_text())
            except (OSError, UnicodeDecodeError) as error:
                raise ConfigurationError(
                    f"{self._file} cannot be read ({error}); correct it, or LANEWAY_POLICY_FOLDER."
                ) from None
            self._levels(self._layers.logs)

    def of(self, method: Method) -> Policy:
        """What the deployment makes of a method's policy.

        Raises:
            ConfigurationError: met for the first time, the method cannot be obeyed under the file. Methods are met at
                the start; a later file that does not suit one of them is refused.
        """
        known = self._policies.get(method.full_name)
        if known is None:
            known = self._policies[method.full_name] = self._layers.of(method)
            self._met[method.full_name] = method
        return known

    def look(self) -> bool:
        """Take over the file if it has changed; whether it has. One that is not valid is refused as a whole.

        It is not valid either if what comes of it cannot be obeyed for any method of the process.
        """
        if self._file is None or (seen := _identity(self._file)) == self._seen:
            return False
        self._seen = seen
        try:
            layers = Layers(self._file.read_text() if seen is not None else "")
            policies = {name: layers.of(method) for name, method in self._met.items()}
        except (ConfigurationError, OSError, UnicodeDecodeError) as error:
            log.error("policy file refused; the last good one stays in force", extra={"cause": str(error)})
            self._refused(True)
            return False
        self._layers, self._policies = layers, policies
        self._refused(False)
        self._levels(layers.logs)
        log.info("policy file taken over", extra={"file": str(self._file)})
        return True

    async def keep(self) -> None:
        """Look again and again, until cancelled."""
        while self._file is not None:
            await asyncio.sleep(LOOK_AGAIN)
            self.look()


def _identity(file: Path) -> tuple[int, int] | None:
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_ino


def _each(section: str, content: Any) -> dict[str, Layer]:
    if content is not None and not isinstance(content, dict):
        raise ConfigurationError(f"{FILE}: `{section}` maps full names to policies.")
    return {str(name): _parsed(str(name), value) for name, value in (content or {}).items()}


def _levels(content: Any) -> dict[str, str]:
    if content is not None and not isinstance(content, dict):
        raise ConfigurationError(f"{FILE}: `logs` maps names of modules to levels.")
    for name, level in (content or {}).items():
        if not isinstance(name, str) or level not in _LEVELS:
            raise ConfigurationError(f"{FILE}: `logs` has the level {level!r} for {name}; write {', '.join(_LEVELS)}.")
    return dict(content or {})


def _parsed(name: str, content: Any) -> Layer:
    says = call_pb2.CallPolicy()
    try:
        json_format.ParseDict(content or {}, says)
    except (json_format.ParseError, AttributeError, TypeError) as error:
        raise ConfigurationError(f"{FILE}: {name} cannot be read ({error}).") from None
    for part, value in says.ListFields():
        own = [f"{part.name}.{field.name}" for field, _ in value.ListFields()] if is_part(part) else []
        fixed = [path for path in own if not is_tunable(path)] if part.name in _TUNABLE else [part.name]
        if fixed:
            raise ConfigurationError(f"{FILE}: `{fixed[0]}` of {name} is the contract's; remove it from the file.")
    return Layer(Origin.DEPLOYMENT, f"{FILE}: {name}", says)
