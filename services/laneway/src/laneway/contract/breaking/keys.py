"""What a repeated call may rely on: its key, how long that is kept, and how much of a reply."""

from collections.abc import Iterator

from laneway.contract.breaking.pairs import kept
from laneway.contract.findings import Finding, Rule
from laneway.contract.policy import Idempotency
from laneway.contract.sources import Source

IDEMPOTENCY_REMOVED = Rule("IDEMPOTENCY_REMOVED", "A method has no keys any more.")
KEY_FIELD_REMOVED = Rule("KEY_FIELD_REMOVED", "The request's field does not hold the key any more.")
KEY_FIELD_MOVED = Rule("KEY_FIELD_MOVED", "Another field of the request holds the key.")
KEY_REQUIRED = Rule("KEY_REQUIRED", "A call without a key is refused now.")
KEEP_SHORTENED = Rule("KEEP_SHORTENED", "Replies are kept for a shorter time.")
EXCLUSIVE_ADDED = Rule("EXCLUSIVE_ADDED", "A second call under one key is turned away now.")
EXCLUSIVE_REMOVED = Rule("EXCLUSIVE_REMOVED", "Two copies of one call may run at a time now.")
REPLY_LOWERED = Rule("REPLY_LOWERED", "Replies must be smaller.")
RULES = (
    IDEMPOTENCY_REMOVED, KEY_FIELD_REMOVED, KEY_FIELD_MOVED, KEY_REQUIRED, KEEP_SHORTENED, EXCLUSIVE_ADDED,
    EXCLUSIVE_REMOVED, REPLY_LOWERED,
)  # fmt: skip


def check(before: Source, after: Source) -> Iterator[Finding]:
    """Applies the rules to every method that had keys, and to those that got them."""
    for was, now in kept(before.methods, after.methods):
        old, new, name = was.policy.idempotency, now.policy.idempotency, now.full_name
        if new is None:
            if old is not None and not now.safe:
                yield IDEMPOTENCY_REMOVED.at(name, "a repeated call has a second effect", "declare `idempotency` again")
            continue
        if new.required and (old is None or not old.required):
            yield KEY_REQUIRED.at(name, "who calls without a key today is refused", "leave `required` out")
        if new.exclusive and (old is None or not old.exclusive):
            yield EXCLUSIVE_ADDED.at(
                name, "who repeats a call while it runs gets ABORTED (409) now", "see that its callers try again"
            )
        if old is not None:
            yield from _of_key(name, old, new)


def _of_key(name: str, old: Idempotency, new: Idempotency) -> Iterator[Finding]:
    if old.key and not new.key:
        yield KEY_FIELD_REMOVED.at(
            name, f"`{old.key}` was the key: a call that is repeated with it has a second effect", "keep `key`"
        )
    elif old.key and old.key != new.key:
        yield KEY_FIELD_MOVED.at(name, f"the key was in `{old.key}` and is in `{new.key}`", "keep `key`")
    if new.keep < old.keep:
        yield KEEP_SHORTENED.at(
            name,
            f"a reply was kept for {old.keep:g} s and is for {new.keep:g} s: a later repetition is a new call",
            "keep it",
        )
    if old.exclusive and not new.exclusive:
        yield EXCLUSIVE_REMOVED.at(
            name, "what it does outside of its database may happen twice at a time", "keep `exclusive`"
        )
    if new.max_reply_bytes < old.max_reply_bytes:
        yield REPLY_LOWERED.at(
            name,
            f"a reply had at most {old.max_reply_bytes} bytes and has {new.max_reply_bytes}: larger ones fail now",
            "keep `max_reply_bytes`",
        )
