"""From an error to a gRPC status."""

from grpc import StatusCode

from mlops_kit.errors import MlkitError
from mlops_kit.modes.online.statuses import status_of

CODES = {
    400: StatusCode.INVALID_ARGUMENT,
    401: StatusCode.UNAUTHENTICATED,
    403: StatusCode.PERMISSION_DENIED,
    404: StatusCode.NOT_FOUND,
    408: StatusCode.DEADLINE_EXCEEDED,
    413: StatusCode.RESOURCE_EXHAUSTED,
    415: StatusCode.UNIMPLEMENTED,
    429: StatusCode.RESOURCE_EXHAUSTED,
    503: StatusCode.UNAVAILABLE,
    504: StatusCode.DEADLINE_EXCEEDED,
}
"""HTTP's status → gRPC's: https://grpc.io/docs/guides/status-codes/"""

BUG = "the server failed; its log says why"
"""What the client is told of a bug."""

MOST_DETAILS = 500
"""Characters of a status's details: they are a header, and clients take 8 kB of headers."""


def code_of(error: MlkitError) -> StatusCode:
    """INTERNAL for what is not the caller's to mend."""
    return CODES.get(status_of(error), StatusCode.INTERNAL)


def details_of(error: MlkitError) -> str:
    """What the client is told."""
    text = str(error)
    return text if len(text) <= MOST_DETAILS else text[:MOST_DETAILS] + "…"
