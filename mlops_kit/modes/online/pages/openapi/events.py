"""Events of the sources of features."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from mlops_kit.features.definition.feature_set import EventSource
from mlops_kit.modes.online.pages.model_view import ModelView
from mlops_kit.modes.online.pages.openapi.columns import EMPTY, row_schema
from mlops_kit.modes.online.pages.openapi.operations import (
    COUNT,
    STRING,
    Json,
    Protocol,
    json_answer,
    record,
    ref,
)
from mlops_kit.modes.online.protocols.media_types import JSON
from mlops_kit.schema import Column

NDJSON = "application/x-ndjson"
EXPLAINED = (
    "Events of the source `{}`, for the features of every model that takes them: an object, an array of objects, "
    "or one in each line. Good ones are applied; the others are listed with their row, which counts from 0, and "
    "the reason. The answer comes once the store has the events."
)
RECEIVED: Mapping[str, Json] = {
    "source": STRING,
    "events": COUNT,
    "applied": COUNT,
    "repeated": COUNT,
    "refused": {"type": "array", "items": record({"row": COUNT, "reason": STRING})},
    "sequence": {"type": "array", "items": {"type": ["integer", "null"]}},
}
COMPONENTS: dict[str, Json] = {
    "EventsReceived": record(RECEIVED),
    "EventsRefused": record({"error": STRING, **RECEIVED}, optional=RECEIVED),
}
FAILURES = (404, 408, 413, 415, 429)


def event_paths(protocol: Protocol, tag: str, views: Sequence[ModelView]) -> dict[str, Json]:
    """A path for each source that events can be sent of."""
    return {
        f"/v2/events/{quote(name, safe='')}": {"post": _push(protocol, tag, name, number, of)}
        for number, (name, of) in enumerate(_sources(views).items())
    }


def event_schemas(views: Sequence[ModelView]) -> dict[str, Json]:
    """The components that they refer to."""
    sources = _sources(views).values()
    events = {f"Event.{number}": _event_schema([source for _, source in of]) for number, of in enumerate(sources)}
    return COMPONENTS | events if events else {}


def _sources(views: Sequence[ModelView]) -> dict[str, list[tuple[ModelView, EventSource]]]:
    found: dict[str, list[tuple[ModelView, EventSource]]] = {}
    for view in views:
        for source in view.events:
            found.setdefault(source.name, []).append((view, source))
    return found


def _push(
    protocol: Protocol, tag: str, name: str, number: int, of: Sequence[tuple[ModelView, EventSource]]
) -> Json:
    answers: dict[int, Json] = {
        200: json_answer("What became of them, and the sequence number of each.", ref("EventsReceived")),
        400: json_answer("The body is malformed, or none of the events can count.", ref("EventsRefused")),
        503: json_answer("The store does not take events now. Some may be applied.", ref("OipError")),
    }
    event, example = ref(f"Event.{number}"), _example(*of[0])
    body: dict[str, Any] = {
        JSON: {
            "schema": {"anyOf": [event, {"type": "array", "items": event, "minItems": 1}]},
            "examples": {
                "one": {"summary": "One event", "value": example},
                "several": {"summary": "Several", "value": [example]},
            },
        },
        # No schema: a body of several documents is none of JSON's.
        NDJSON: {},
    }
    texts = (f"Send events of {name}", EXPLAINED.format(name))
    return protocol.operation(f"push.{number}", tag, texts, answers, failures=FAILURES, body=body)


def _event_schema(sources: Sequence[EventSource]) -> Json:
    """What any of the models takes that share the source; other properties are ignored."""
    columns: dict[str, Column] = {}
    needed: dict[str, Json] = {}
    for source in sources:
        columns |= {part.column: Column(part.column, part.kind) for part in source.key}
        columns |= {field.name: Column(field.name, field.kind, nullable=True) for field in source.fields}
        needed[source.time] = {
            "type": ["string", "integer"],
            "description": "ISO 8601, or microseconds since 1970.",
        }
        if source.sequence:
            needed[source.sequence] = COUNT
    keys = {part.column for source in sources for part in source.key}
    of_columns = row_schema([*columns.values()], columns.keys() - keys)
    return {
        "type": "object",
        "required": [*dict.fromkeys([*of_columns["required"], *needed])],
        "properties": of_columns["properties"] | needed,
    }


def _example(view: ModelView, source: EventSource) -> Json:
    """Of the key that the golden row has, from when the model was loaded."""
    row = view.golden.row
    keys = {part.column: row.get(part.name, EMPTY.get(part.kind, 0)) for part in source.key}
    fields = {field.name: EMPTY.get(field.kind, 0) for field in source.fields if field.name not in keys}
    at = datetime.fromtimestamp(int(view.loaded_at), UTC).isoformat().replace("+00:00", "Z")
    return keys | fields | {source.time: at} | ({source.sequence: 0} if source.sequence else {})
