"""OpenAPI 3.1 of a contract: what an edge answers, in the words of those who write HTTP clients."""

from laneway.lanes.rest.openapi.document import document

__all__ = ["document"]
