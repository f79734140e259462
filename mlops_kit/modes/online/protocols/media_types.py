"""What requests say that their bodies are."""

from collections.abc import Sequence

from mlops_kit.errors import UnsupportedMediaTypeError

JSON = "application/json"


def media_type(content_type: str, readable: Sequence[str]) -> str:
    """It alone, in lower case. Raises UnsupportedMediaTypeError for what is not `readable`, or not UTF-8."""
    if content_type == JSON:
        return JSON
    found, _, parameters = content_type.partition(";")
    found = found.strip().lower()
    if found not in readable or not all(map(_is_utf8, filter(str.strip, parameters.split(";")))):
        raise UnsupportedMediaTypeError(content_type, readable)
    return found


def _is_utf8(parameter: str) -> bool:
    name, _, value = parameter.partition("=")
    return name.strip().lower() == "charset" and value.strip('" ').lower() == "utf-8"
