"""The filter of a list of operations, in the language of AIP-160: what tells operations apart, joined by AND.

`done = false AND method = "shop.orders.v1.Orders.PlaceOrder" AND create_time > "2026-11-24T00:00:00Z"`
"""

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from laneway.errors import InvalidArgument
from laneway.store.operations import Selection, State

_TERM = re.compile(r'\s*(?:metadata\.)?(\w+)\s*(=|<|>)\s*("[^"]*"|[\w.:+-]+)\s*')
_AND = re.compile(r"AND\b")


def selection_of(text: str) -> Selection:
    """What a filter selects; an empty one selects all.

    Raises:
        InvalidArgument: it is not of this language, or says a thing twice.
    """
    said: dict[str, Any] = {}
    at = 0
    while text[at:].strip():
        term = _TERM.match(text, at)
        known = _FIELDS.get((term[1], term[2])) if term else None
        if term is None or known is None or known[0] in said:
            raise _refused(text)
        name, read = known
        try:
            said[name] = read(term[3].strip('"'))
        except (ValueError, KeyError):
            raise _refused(text) from None
        following = _AND.match(text, term.end())
        if following is None and text[term.end() :].strip():
            raise _refused(text)
        at = term.end() if following is None else following.end()
        if following is not None and not text[at:].strip():
            raise _refused(text)
    return Selection(**said)


def _moment(value: str) -> float:
    moment = datetime.fromisoformat(value)
    if moment.tzinfo is None:
        raise ValueError("of no time zone")
    return moment.timestamp()


_FIELDS: Mapping[tuple[str, str], tuple[str, Callable[[str], Any]]] = {
    ("done", "="): ("done", {"true": True, "false": False}.__getitem__),
    ("state", "="): ("state", State.__members__.__getitem__),
    ("method", "="): ("method", str),
    ("create_time", ">"): ("created_after", _moment),
    ("create_time", "<"): ("created_before", _moment),
}


def _refused(text: str) -> InvalidArgument:
    return InvalidArgument(
        f"The filter `{text[:200]}` cannot be read; write, each at most once and joined by AND: done = true, "
        f'state = {" or ".join(State.__members__)}, method = "…", create_time > "…", create_time < "…" (RFC 3339).',
        reason="FILTER_INVALID",
    )
