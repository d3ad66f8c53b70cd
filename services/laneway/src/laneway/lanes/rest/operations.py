"""The operations of queued calls over REST, below `/v1/operations/<service>`, as AIP-151 maps them.

A caller asks about his own calls, as everywhere; what names nobody is not listed, for it would list everybody's.
"""

import re
from collections.abc import Awaitable, Callable
from typing import cast
from urllib.parse import parse_qsl

from google.longrunning import operations_pb2
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import Message

from laneway.call import ANONYMOUS, Identity
from laneway.errors import InvalidArgument, Unauthenticated
from laneway.lanes.rest.errors import public
from laneway.lanes.rest.incoming import Incoming
from laneway.lanes.started import Calls, Operations

PATH = re.compile(r"/v1/operations/([\w-]+)(?:/([\w:.-]+?)(?::(cancel|wait))?)?")

Who = Callable[[Incoming], Awaitable[Identity]]


class OperationRoutes:
    """Answers for the operations of some services: `owners`, for the public must not choose where we connect to."""

    def __init__(self, calls: Calls, owners: set[str], who: Who) -> None:
        self._calls = calls
        self._owners = owners
        self._who = who

    def allowed(self, path: str) -> list[str]:
        """The verbs that a path has."""
        match = PATH.fullmatch(path)
        if match is None or match[1] not in self._owners:
            return []
        if match[3]:
            return ["POST"]
        return ["DELETE", "GET"] if match[2] else ["GET"]

    async def answer(self, request: Incoming) -> Message:
        """The answer to a request that is allowed.

        Raises:
            LanewayError: the owner's answer in the negative.
        """
        match = PATH.fullmatch(request.path)
        owner, id, custom = match.groups() if match else ("", None, None)
        who = await self._who(request)
        operations, name = Operations(self._calls, who), f"operations/{owner}/{id}"
        if id is None:
            return await self._list(operations, owner, who, request)
        if request.verb == "DELETE":
            await operations.delete(name)
            return Empty()
        if custom == "cancel":
            # What was accepted over REST is known to its owner; nothing else is worth a row of wishes.
            await operations.get(name)
            await operations.cancel(name)
            return Empty()
        if custom == "wait":
            return _shown(await operations.wait(name, request.timeout))
        return _shown(await operations.get(name))

    async def _list(self, operations: Operations, owner: str, who: Identity, request: Incoming) -> Message:
        if who == ANONYMOUS:
            raise Unauthenticated("Operations are listed for who started them; say who you are.", reason="WHO_ASKS")
        said = {_QUERY.get(name, name): value for name, value in parse_qsl(request.query)}
        if unknown := sorted(said.keys() - set(_QUERY.values()) - {"filter"}):
            raise InvalidArgument(f"There is no parameter {', '.join(unknown)}; there are filter, {', '.join(_QUERY)}.")
        size = said.get("page_size", "0")
        if not (size.isascii() and size.isdecimal() and len(size) < 6):
            raise InvalidArgument(f"pageSize is `{size[:20]}`; it is a number.")
        token = said.get("page_token", "")
        listed = await operations.list(owner, said.get("filter", ""), page_size=int(size), page_token=token)
        for each in listed.operations:
            _shown(each)
        return cast(Message, listed)  # the stubs of these messages know no base


def _shown(operation: operations_pb2.Operation) -> Message:
    """As the public may see it: what a queued call failed of may name an address."""
    if operation.HasField("error"):
        operation.error.CopyFrom(public(operation.error))
    return cast(Message, operation)


_QUERY = {"pageSize": "page_size", "pageToken": "page_token"}
