"""The methods that each service answers for itself, besides its contract."""

from dataclasses import dataclass, replace
from typing import Any

from google.longrunning import operations_pb2

from laneway.contract.model import Method, method_of
from laneway.v1 import saga_pb2, system_pb2


@dataclass(frozen=True, slots=True)
class SystemMethod:
    """A method that each service answers for itself."""

    method: Method

    def at(self, owner: str) -> Method:
        """The method as a given service answers it."""
        return replace(self.method, owner=owner)


def _of(file: Any, service: str, name: str) -> SystemMethod:
    return SystemMethod(replace(method_of(file.services_by_name[service].methods_by_name[name]), safe=True, http=()))


START = _of(system_pb2.DESCRIPTOR, "Acceptor", "Start")
UNWANTED = _of(system_pb2.DESCRIPTOR, "Acceptor", "Unwanted")
REGISTER = _of(system_pb2.DESCRIPTOR, "Subscriptions", "Register")
HOLDS = _of(system_pb2.DESCRIPTOR, "Outbox", "Holds")
GET_OPERATION = _of(operations_pb2.DESCRIPTOR, "Operations", "GetOperation")
LIST_OPERATIONS = _of(operations_pb2.DESCRIPTOR, "Operations", "ListOperations")
WAIT_OPERATION = _of(operations_pb2.DESCRIPTOR, "Operations", "WaitOperation")
CANCEL_OPERATION = _of(operations_pb2.DESCRIPTOR, "Operations", "CancelOperation")
DELETE_OPERATION = _of(operations_pb2.DESCRIPTOR, "Operations", "DeleteOperation")
RESUME = _of(saga_pb2.DESCRIPTOR, "Sagas", "Resume")

OF_OPERATIONS = (GET_OPERATION, LIST_OPERATIONS, WAIT_OPERATION, CANCEL_OPERATION, DELETE_OPERATION)

ALL = (START, UNWANTED, REGISTER, HOLDS, *OF_OPERATIONS, RESUME)

EVERYWHERE = frozenset(system.method.service_name for system in (START, REGISTER, HOLDS, GET_OPERATION))
"""The names of the services that every service answers, and that no contract declares calls of."""
