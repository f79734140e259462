"""From an error to a gRPC status."""

from grpc import StatusCode

from mlops_kit.errors import (
    DeadlineError,
    InputError,
    MlkitError,
    ModelNotFoundError,
    NotReadyError,
    OverloadedError,
    TooLargeError,
    UnauthorizedError,
    UsageError,
)

STATUSES: tuple[tuple[type[MlkitError], StatusCode], ...] = (
    (OverloadedError, StatusCode.RESOURCE_EXHAUSTED),
    (DeadlineError, StatusCode.DEADLINE_EXCEEDED),
    (ModelNotFoundError, StatusCode.NOT_FOUND),
    (NotReadyError, StatusCode.UNAVAILABLE),
    (TooLargeError, StatusCode.RESOURCE_EXHAUSTED),
    (UnauthorizedError, StatusCode.UNAUTHENTICATED),
    (InputError, StatusCode.INVALID_ARGUMENT),
    (UsageError, StatusCode.INVALID_ARGUMENT),
)

MOST_DETAILS = 500
"""Characters of a status's details: they are a header, and clients take 8 kB of headers."""


def status_of(error: MlkitError) -> StatusCode:
    """INTERNAL for what is not the caller's to mend."""
    return next((status for kind, status in STATUSES if isinstance(error, kind)), StatusCode.INTERNAL)


def details_of(error: MlkitError) -> str:
    """What the client is told."""
    text = str(error)
    return text if len(text) <= MOST_DETAILS else text[:MOST_DETAILS] + "…"
