"""JSON bodies, also as Python's clients write them: with NaN and Infinity, which JSON does not have."""

import json
from typing import Any

import orjson

from mlops_kit.errors import InputError


def parse_object(body: bytes) -> dict[str, Any]:
    """Raises InputError for what is no JSON object."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        if b"NaN" not in body and b"Infinity" not in body:
            raise InputError("the body is not valid JSON", str(error)) from error
        document = _parse_python_json(body)
    if type(document) is not dict:
        raise InputError("the body is no JSON object")
    return document


def _parse_python_json(body: bytes) -> Any:
    try:
        document = json.loads(body.decode())
        if b"\\u" in body:
            # Half a surrogate pair passes here, and is no text for anybody else.
            json.dumps(document, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise InputError("the body is not valid JSON") from error
    return document
