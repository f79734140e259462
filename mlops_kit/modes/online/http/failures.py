"""How each protocol tells a failure."""

from collections.abc import Callable

import orjson

from mlops_kit.modes.online.http.messages import Response

Failure = Callable[[int, str], Response]
"""A status and a message, in a protocol's form."""

CODES = {
    400: "BAD_REQUEST",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "RESOURCE_DOES_NOT_EXIST",
    405: "BAD_REQUEST",
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


def mlflow_error(status: int, message: str) -> Response:
    """MLflow's form."""
    code = CODES.get(status, "INTERNAL_ERROR")
    return _response(status, orjson.dumps({"error_code": code, "message": message}))


def oip_error(status: int, message: str) -> Response:
    """The Open Inference Protocol's form."""
    return _response(status, orjson.dumps({"error": message}))


def _response(status: int, body: bytes) -> Response:
    return Response(status, body, headers=(HEADERS[status],) if status in HEADERS else ())
