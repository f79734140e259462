"""From an error to a status, and to what each protocol says with it."""

from collections.abc import Callable

import orjson

from mlops_kit.errors import (
    BundleError,
    DeadlineError,
    ForbiddenError,
    InputError,
    MlkitError,
    ModelNotFoundError,
    OverloadedError,
    ReadTimeoutError,
    TooLargeError,
    UnauthorizedError,
    UnsupportedMediaTypeError,
    UsageError,
)
from mlops_kit.modes.online.http.messages import Response

Failure = Callable[[int, str], Response]
"""A status and a message, in a protocol's form."""

STATUSES: tuple[tuple[type[MlkitError], int], ...] = (
    (OverloadedError, 429),
    (DeadlineError, 504),
    (ModelNotFoundError, 404),
    (TooLargeError, 413),
    (UnsupportedMediaTypeError, 415),
    (UnauthorizedError, 401),
    (ForbiddenError, 403),
    (ReadTimeoutError, 408),
    (InputError, 400),
    (UsageError, 400),
    (BundleError, 400),
)
CODES = {
    400: "BAD_REQUEST",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "RESOURCE_DOES_NOT_EXIST",
    408: "REQUEST_LIMIT_EXCEEDED",
    413: "BAD_REQUEST",
    415: "BAD_REQUEST",
    429: "RESOURCE_EXHAUSTED",
    503: "TEMPORARILY_UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
"""Status → the code of MLflow's error form."""

RETRY_AFTER = (b"retry-after", b"1")
HEADERS = {401: (b"www-authenticate", b"Bearer"), 429: RETRY_AFTER, 503: RETRY_AFTER}
"""Status → the header that tells the client what to do."""


def status_of(error: MlkitError) -> int:
    """500 for what is not the caller's to mend."""
    return next((status for kind, status in STATUSES if isinstance(error, kind)), 500)


def mlflow_error(status: int, message: str) -> Response:
    """MLflow's form."""
    code = CODES.get(status, "INTERNAL_ERROR")
    return _response(status, orjson.dumps({"error_code": code, "message": message}))


def oip_error(status: int, message: str) -> Response:
    """The Open Inference Protocol's form."""
    return _response(status, orjson.dumps({"error": message}))


def _response(status: int, body: bytes) -> Response:
    return Response(status, body, headers=(HEADERS[status],) if status in HEADERS else ())
