"""From an error to a status, and to what each protocol says with it."""

import orjson

from mlops_kit.errors import (
    DeadlineError,
    InputError,
    MlkitError,
    ModelNotFoundError,
    NotReadyError,
    OverloadedError,
    ReadTimeoutError,
    TooLargeError,
    UnauthorizedError,
    UnsupportedMediaTypeError,
    UsageError,
)
from mlops_kit.modes.online.http.messages import Response

STATUSES: tuple[tuple[type[MlkitError], int], ...] = (
    (OverloadedError, 429),
    (DeadlineError, 504),
    (ModelNotFoundError, 404),
    (NotReadyError, 503),
    (TooLargeError, 413),
    (UnsupportedMediaTypeError, 415),
    (UnauthorizedError, 401),
    (ReadTimeoutError, 408),
    (InputError, 400),
    (UsageError, 400),
)
CODES = {
    400: "BAD_REQUEST",
    401: "UNAUTHENTICATED",
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
    return Response(status, body, headers=(RETRY_AFTER,) if status in (429, 503) else ())
