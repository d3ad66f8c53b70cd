"""What can be called, and with what: buf's rules of services, and the promise that a call may be repeated."""

from collections.abc import Iterator

from laneway.contract.breaking.pairs import gone, kept
from laneway.contract.findings import Finding, Rule
from laneway.contract.model import Method
from laneway.contract.sources import Source

SERVICE_NO_DELETE = Rule("SERVICE_NO_DELETE", "A service is gone.")
RPC_NO_DELETE = Rule("RPC_NO_DELETE", "A method is gone.")
REQUEST_TYPE = Rule("RPC_SAME_REQUEST_TYPE", "A method takes another request.")
RESPONSE_TYPE = Rule("RPC_SAME_RESPONSE_TYPE", "A method gives another reply.")
CLIENT_STREAMING = Rule("RPC_SAME_CLIENT_STREAMING", "A method takes a stream now, or one no more.")
SERVER_STREAMING = Rule("RPC_SAME_SERVER_STREAMING", "A method gives a stream now, or one no more.")
LEVEL_WEAKENED = Rule("IDEMPOTENCY_LEVEL_WEAKENED", "A method promises less of what a repeated call does.")
RULES = (
    SERVICE_NO_DELETE, RPC_NO_DELETE, REQUEST_TYPE, RESPONSE_TYPE, CLIENT_STREAMING, SERVER_STREAMING, LEVEL_WEAKENED,
)  # fmt: skip


def check(before: Source, after: Source) -> Iterator[Finding]:
    """Applies the rules to every service and method."""
    for name in gone(before.services, after.services):
        yield SERVICE_NO_DELETE.at(name, "it was there", "bring it back; to retire it, mark it deprecated")
    for name in gone(before.methods, after.methods):
        if name.rpartition(".")[0] in after.services:
            yield RPC_NO_DELETE.at(name, "it was there", "bring it back; to retire it, mark it deprecated")
    for was, now in kept(before.methods, after.methods):
        yield from _of_method(was, now)


def _of_method(was: Method, now: Method) -> Iterator[Finding]:
    name = now.full_name
    for rule, old, new in (
        (REQUEST_TYPE, was.input.DESCRIPTOR.full_name, now.input.DESCRIPTOR.full_name),
        (RESPONSE_TYPE, was.output.DESCRIPTOR.full_name, now.output.DESCRIPTOR.full_name),
    ):
        if old != new:
            yield rule.at(name, f"it was {old} and is {new}", "add a method beside it")
    for rule, streamed, streams in (
        (CLIENT_STREAMING, was.client_streaming, now.client_streaming),
        (SERVER_STREAMING, was.server_streaming, now.server_streaming),
    ):
        if streamed != streams:
            what = "a stream and is one message" if streamed else "one message and is a stream"
            yield rule.at(name, f"it was {what}", "add a method beside it")
    if (was.safe, was.reads) > (now.safe, now.reads):
        yield LEVEL_WEAKENED.at(
            name,
            f"it was {_level(was)} and is {_level(now)}: who repeats a call, or keeps its answer, relies on it",
            "keep its idempotency_level",
        )


def _level(method: Method) -> str:
    if method.reads:
        return "NO_SIDE_EFFECTS"
    return "IDEMPOTENT" if method.safe else "of unknown idempotency"
