"""The whole document: the contract's operations beside those of ordinary routers."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from google.protobuf.descriptor import FileDescriptor

from laneway.contract.comments import Comments
from laneway.contract.model import descriptor_of
from laneway.lanes.rest.binding import Binding
from laneway.lanes.rest.openapi.constraints import Schema
from laneway.lanes.rest.openapi.operations import components, operation, queued_calls
from laneway.lanes.rest.openapi.parameters import Names, names_of, path_of
from laneway.lanes.rest.openapi.schemas import Schemas

VERBS = frozenset({"GET", "PUT", "POST", "DELETE", "OPTIONS", "HEAD", "PATCH", "TRACE"})
"""What OpenAPI can tell of; another verb of a `custom` rule is served all the same."""


def document(bindings: Sequence[Binding], routers: Schema, *, lenient: bool) -> Schema:
    """The document of an edge: `routers` is FastAPI's, to which the contract's operations are added."""
    told = [binding for binding in bindings if binding.verb in VERBS]
    schemas = Schemas(Comments(_files(told)), lenient=lenient)
    paths: dict[str, Any] = dict(routers.get("paths", {}))
    number: dict[str, int] = defaultdict(int)
    wildcards: dict[str, Names] = {}
    for binding in told:
        name = f"{binding.method.service_name.rpartition('.')[2]}_{binding.method.name}"
        number[name] += 1
        unique = name if number[name] == 1 else f"{name}_{number[name]}"
        # Two paths that differ in the names of their parameters are one.
        shape = path_of(binding.template, defaultdict(str))
        names = wildcards.setdefault(shape, names_of(binding.template))
        place = paths.setdefault(path_of(binding.template, names), {})
        place.setdefault(binding.verb.lower(), operation(binding, schemas, unique, names))
    queued = sorted({binding.method.owner for binding in told if binding.method.policy.queue is not None})
    if queued:
        paths |= queued_calls(queued)
    own = routers.get("components", {})
    known = {**own.get("schemas", {}), **components(), **dict(sorted(schemas.components.items()))}
    return {**routers, "paths": paths, "components": {**own, "schemas": known}, "tags": _tags(told, schemas.comments)}


def _tags(bindings: Sequence[Binding], comments: Comments) -> list[Schema]:
    """A tag for each service, with what its authors say of it or of its file."""
    tags = {}
    for binding in bindings:
        name = binding.method.service_name
        text = comments.of(name) or comments.of(_file(binding).name)
        tags[name] = {"name": name, "description": text} if text else {"name": name}
    return list(tags.values())


def _file(binding: Binding) -> FileDescriptor:
    """The file of a binding's service."""
    pool = descriptor_of(binding.method.input).file.pool
    file: FileDescriptor = pool.FindServiceByName(binding.method.service_name).file
    return file


def _files(bindings: Sequence[Binding]) -> list[FileDescriptor]:
    """The files that hold the bindings' messages, and all that these import."""
    files: dict[str, FileDescriptor] = {}

    def add(file: FileDescriptor) -> None:
        if file.name not in files:
            files[file.name] = file
            for imported in file.dependencies:
                add(imported)

    for binding in bindings:
        add(descriptor_of(binding.method.input).file)
        add(_file(binding))
    return list(files.values())
