"""What an idempotency key may look like, on every lane.

https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header: the header is a structured string
(RFC 8941 §3.3.3), quoted; the bare form, which most clients send, is taken as well.
"""

import re
from collections.abc import Sequence

from google.protobuf.message import Message

from laneway.contract.model import Method, read_path
from laneway.errors import InvalidArgument

LONGEST = 255

_ALLOWED = re.compile(r"[\x21-\x7e]{1,255}")
_QUOTED = re.compile(r'"((?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\])*)"(?:[ ]*;.*)?')
_ESCAPED = re.compile(r"\\(.)")


def checked(key: str) -> str:
    """The key itself.

    Raises:
        InvalidArgument: it is not one.
    """
    if not _ALLOWED.fullmatch(key):
        raise _invalid()
    return key


def parsed(values: Sequence[str]) -> str | None:
    """The key that the lines of an `Idempotency-Key` header hold; None when there is no such header.

    Raises:
        InvalidArgument: there are several lines, or one that holds no key.
    """
    if not values:
        return None
    if len(values) > 1:
        raise _invalid()
    value = values[0].strip(" \t")
    quoted = _QUOTED.fullmatch(value)
    if quoted is not None:  # its parameters, if any, mean nothing
        return checked(_ESCAPED.sub(r"\1", quoted[1]))
    if '"' in value or "," in value:  # a quote that never ends, or a list
        raise _invalid()
    return checked(value)


def agreed(method: Method, request: Message, key: str | None) -> str | None:
    """The key of a call: the one in its request, where the contract has a field for it, or the one beside it.

    Raises:
        InvalidArgument: there are two, and they differ: by one of them, repetitions would be calls of their own.
    """
    policy = method.policy.idempotency
    own = None if policy is None or policy.key is None else read_path(request, policy.key)
    if own and key and own != key:
        raise InvalidArgument(
            f"The idempotency key beside the call of {method.full_name} is not the one in its request; send the same "
            "in both, or one.",
            reason="IDEMPOTENCY_KEYS_DIFFER",
        )
    return own or key


def demand(method: Method, request: Message, key: str | None) -> None:
    """Refuse a call of the public that has no key where the contract requires one: ours would differ each time.

    Raises:
        InvalidArgument: neither the call nor its request has one, or they do not agree.
    """
    policy = method.policy.idempotency
    if policy is not None and policy.required and not agreed(method, request, key):
        raise missing(method)


def missing(method: Method) -> InvalidArgument:
    """The error of a call without the key that its contract requires."""
    return InvalidArgument(
        f"{method.full_name} needs an idempotency key; send one with the call.", reason="IDEMPOTENCY_KEY_MISSING"
    )


def _invalid() -> InvalidArgument:
    return InvalidArgument(
        f"An idempotency key is one value of 1 to {LONGEST} visible ASCII characters; as a header quoted or bare.",
        reason="IDEMPOTENCY_KEY_INVALID",
    )
