"""The elements of a `.proto` file: where each stands in it, and what it is called."""

from collections.abc import Iterator

from google.protobuf.descriptor_pb2 import DescriptorProto, EnumDescriptorProto, FileDescriptorProto

_MESSAGE, _ENUM, _SERVICE = 4, 5, 6  # fields of FileDescriptorProto
_FIELD, _NESTED, _INNER_ENUM = 2, 3, 4  # of DescriptorProto
_VALUE = _METHOD = 2  # of EnumDescriptorProto and of ServiceDescriptorProto

Steps = tuple[int, ...]
"""The way to an element through the file's descriptor: see `SourceCodeInfo.Location.path`."""


def elements(file: FileDescriptorProto) -> Iterator[tuple[Steps, str]]:
    """Each element's path in the file (see SourceCodeInfo.Location) and its full name, an enum's values under it."""
    prefix = f"{file.package}." if file.package else ""
    for at, message in enumerate(file.message_type):
        yield from _of_message(message, (_MESSAGE, at), prefix)
    for at, enum in enumerate(file.enum_type):
        yield from _of_enum(enum, (_ENUM, at), prefix)
    for at, service in enumerate(file.service):
        yield (_SERVICE, at), prefix + service.name
        for number, method in enumerate(service.method):
            yield (_SERVICE, at, _METHOD, number), f"{prefix}{service.name}.{method.name}"


def _of_message(message: DescriptorProto, path: Steps, prefix: str) -> Iterator[tuple[Steps, str]]:
    name = prefix + message.name
    yield path, name
    for at, field in enumerate(message.field):
        yield (*path, _FIELD, at), f"{name}.{field.name}"
    for at, nested in enumerate(message.nested_type):
        yield from _of_message(nested, (*path, _NESTED, at), f"{name}.")
    for at, enum in enumerate(message.enum_type):
        yield from _of_enum(enum, (*path, _INNER_ENUM, at), f"{name}.")


def _of_enum(enum: EnumDescriptorProto, path: Steps, prefix: str) -> Iterator[tuple[Steps, str]]:
    yield path, prefix + enum.name
    for at, value in enumerate(enum.value):
        yield (*path, _VALUE, at), f"{prefix}{enum.name}.{value.name}"
