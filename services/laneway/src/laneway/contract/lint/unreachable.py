"""What is declared and can never take effect."""

from collections.abc import Iterator

from google.protobuf.descriptor import FileDescriptor, ServiceDescriptor

from laneway.contract.findings import Finding, Rule
from laneway.contract.layers import DECLARED, stated
from laneway.contract.model import Method
from laneway.contract.sources import Source
from laneway.v1 import call_pb2

FALLBACK_UNREACHABLE = Rule("FALLBACK_UNREACHABLE", "A fallback stands behind a call that nobody awaits.")
RETRY_UNREACHABLE = Rule("RETRY_UNREACHABLE", "A retry of calls stands on a method that nobody awaits.")
DEFAULT_UNREACHABLE = Rule("DEFAULT_UNREACHABLE", "A default is for a part of the policy that no method declares.")
RULES = (FALLBACK_UNREACHABLE, RETRY_UNREACHABLE, DEFAULT_UNREACHABLE)


def check(source: Source) -> Iterator[Finding]:
    """Applies the rules to every method, and to the defaults of services and files."""
    for method in source.methods.values():
        yield from _of_method(method)
    for file in source.files:
        services = list(file.services_by_name.values())
        for service in services:
            yield from _of_defaults(service, call_pb2.service_defaults, _methods([service], source))
        if services:
            yield from _of_defaults(file, call_pb2.file_defaults, _methods(services, source))


def _of_method(method: Method) -> Iterator[Finding]:
    if method.policy.fallback is not None and not method.awaitable:
        yield FALLBACK_UNREACHABLE.at(
            method.full_name, "it can only be started, and what is only started needs no answer", "remove `fallback`"
        )
    if method.declares("retry") and (method.streaming or not method.awaitable):
        lane = "a stream is not tried again" if method.streaming else "its attempts are the queue's (`max_attempts`)"
        yield RETRY_UNREACHABLE.at(method.full_name, lane, "remove `retry`")


def _of_defaults(
    holder: ServiceDescriptor | FileDescriptor, option: object, methods: list[Method]
) -> Iterator[Finding]:
    name = holder.name if isinstance(holder, FileDescriptor) else holder.full_name
    for field, given in stated(holder, option).ListFields():
        if field.name in DECLARED and not given.ListFields():
            yield DEFAULT_UNREACHABLE.at(
                name,
                f"`{field.name} {{}}` gives no value, and a default declares nothing: only a method itself does",
                f"write `{field.name} {{}}` on the methods that shall have it",
            )
        elif field.name in DECLARED and not any(method.declares(field.name) for method in methods):
            yield DEFAULT_UNREACHABLE.at(
                name,
                f"`{field.name}` gives values to a part that only a method itself can declare, and none does",
                f"write `{field.name} {{}}` on the methods that shall have it, or remove the default",
            )


def _methods(services: list[ServiceDescriptor], source: Source) -> list[Method]:
    return [source.methods[method.full_name] for service in services for method in service.methods]
