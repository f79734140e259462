"""What the operations of every protocol have in common: the form of an OpenAPI operation, and how it fails."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Json = Mapping[str, Any]
ErrorForm = Literal["MlflowError", "OipError"]

RETRY_AFTER = {"Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer"}}}
FAILURES = {
    400: "The request is malformed, or its rows do not fit the model. The message names the column.",
    401: "No key, or a wrong one.",
    403: "The key is not an administrator's, or the server was started without such keys.",
    404: "There is no such model, or not in this version.",
    408: "The body did not come in time.",
    413: "The body is too large, as it is or decompressed.",
    415: "The body's type or coding is not read.",
    429: "Too many requests wait already.",
    503: "Not ready: the models are being loaded, or the server is about to stop.",
    504: "The deadline came before the answer. Work that had not begun is not done.",
}
PREDICTING = (400, 404, 408, 413, 415, 429, 503, 504)
"""How a request for a prediction fails."""

TIMEOUT: Json = {
    "name": "x-timeout-ms",
    "in": "header",
    "description": "An earlier deadline than the server's, in milliseconds.",
    "schema": {"type": "integer", "minimum": 1, "maximum": 10**9},
    "example": 500,
}


@dataclass(frozen=True, slots=True)
class Protocol:
    """How a protocol's operations fail, and whether they need a key."""

    error: ErrorForm
    needs_key: bool

    def operation(
        self,
        id_: str,
        tag: str,
        texts: tuple[str, str],
        answers: Mapping[int, Json],
        *,
        failures: Iterable[int] = (),
        parameters: Sequence[Json] = (),
        body: Json | None = None,
    ) -> dict[str, Any]:
        """`texts` are its summary and its description."""
        failing = (*failures, 401) if self.needs_key else tuple(failures)
        responses = {status: self._failure(status) for status in failing} | dict(answers)
        document: dict[str, Any] = {
            "operationId": id_,
            "tags": [tag],
            "summary": texts[0],
            "description": texts[1],
            "responses": {str(status): responses[status] for status in sorted(responses)},
        }
        if parameters:
            document["parameters"] = list(parameters)
        if body:
            document["requestBody"] = {"required": True, "content": body}
        return document

    def prediction(
        self,
        id_: str,
        tag: str,
        texts: tuple[str, str],
        answer: Json,
        body: Json,
        *,
        parameters: Sequence[Json] = (),
    ) -> dict[str, Any]:
        """An operation that predicts."""
        asked = [*parameters, TIMEOUT]
        return self.operation(id_, tag, texts, {200: answer}, failures=PREDICTING, parameters=asked, body=body)

    def _failure(self, status: int) -> Json:
        answer = json_answer(FAILURES[status], ref(self.error))
        return {**answer, "headers": RETRY_AFTER} if status in (429, 503) else answer


def json_answer(description: str, schema: Json, example: Any = None) -> dict[str, Any]:
    """A JSON document."""
    content = {"schema": schema} if example is None else {"schema": schema, "example": example}
    return {"description": description, "content": {"application/json": content}}


def ref(name: str) -> dict[str, str]:
    """A schema of the components."""
    return {"$ref": f"#/components/schemas/{name}"}


def record(properties: Mapping[str, Json], optional: Iterable[str] = ()) -> dict[str, Any]:
    """An object whose properties are all there, but for the optional ones."""
    required = [name for name in properties if name not in optional]
    return {"type": "object", "required": required, "properties": dict(properties)}


STRING: Json = {"type": "string"}
COUNT: Json = {"type": "integer", "minimum": 0}
FLAG: Json = {"type": "boolean"}
