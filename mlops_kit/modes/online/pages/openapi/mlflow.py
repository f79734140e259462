"""MLflow's scoring protocol: rows in one of four JSON forms, CSV or Parquet."""

import csv
import io
from typing import Any
from urllib.parse import quote

from mlops_kit.modes.online.pages.model_view import ModelView
from mlops_kit.modes.online.pages.openapi.columns import Json, row_schema
from mlops_kit.modes.online.pages.openapi.operations import (
    STRING,
    Protocol,
    json_answer,
    record,
    ref,
)
from mlops_kit.modes.online.protocols.media_types import JSON
from mlops_kit.modes.online.protocols.mlflow import CSV, FORMS, PARQUET

ERROR = record({"error_code": STRING, "message": STRING})
VALUE: Json = {"type": ["number", "string", "boolean", "null", "array"]}
TIME: Json = {"type": ["object", "null"], "properties": {"as_of": {"type": ["string", "integer"]}}}
ANYTHING_EMPTY: Json = {"type": ["object", "null"], "maxProperties": 0}
EXPLAINED = (
    "MLflow's scoring protocol: exactly one of `dataframe_split`, `dataframe_records`, `instances` and `inputs`, "
    "or a frame as CSV or Parquet. The answer has a record for each row, in their order."
)


def model_paths(protocol: Protocol, view: ModelView, slug: str, *, is_alone: bool) -> dict[str, Json]:
    """The paths of one model; one that is alone has a short one, too."""
    path = f"/models/{quote(view.name, safe='')}/invocations"
    paths: dict[str, Json] = {path: {"post": _invoke(protocol, view, slug, "invoke")}}
    if is_alone:
        paths["/invocations"] = {"post": _invoke(protocol, view, slug, "invoke-alone")}
    return paths


def server_paths(protocol: Protocol, tag: str) -> dict[str, Json]:
    """What is asked of the server as a whole."""
    ready = {200: {"description": "Every model has given its golden answers.", "content": {JSON: {}}}}
    version = {200: {"description": "mlkit's version.", "content": {"text/plain": {"schema": STRING}}}}
    asked = "As MLflow's servers are asked. The body is an empty line."
    return {
        "/ping": {"get": protocol.operation("ping", tag, ("Readiness at /ping", asked), ready, failures=[503])},
        "/health": {
            "get": protocol.operation("health", tag, ("Readiness at /health", asked), ready, failures=[503])
        },
        "/version": {"get": protocol.operation("version", tag, ("Version", ""), version)},
    }


def schemas(view: ModelView, slug: str) -> dict[str, Json]:
    """The components of one model."""
    row, width = ref(f"{slug}.Row"), len(view.signature.columns) - len(view.optional)
    rows = {"type": "array", "items": row, "minItems": 1}
    return {
        f"{slug}.Row": row_schema(view.signature.columns, view.optional),
        f"{slug}.Rows": {
            "type": "object",
            "minProperties": 1,
            "properties": {
                "dataframe_split": _split_schema(view, width),
                "dataframe_records": rows,
                "instances": rows,
                "inputs": row,
                "params": TIME if view.optional else ANYTHING_EMPTY,
            },
            "oneOf": [{"required": [form]} for form in FORMS],
        },
    }


def _split_schema(view: ModelView, width: int) -> Json:
    names = [column.name for column in view.signature.columns if column.name not in view.optional]
    fixed = {"minItems": width, "maxItems": width}
    return record(
        {
            "columns": {"type": "array", "items": {"enum": names}, "uniqueItems": True, **fixed},
            "data": {"type": "array", "items": {"type": "array", "items": VALUE, **fixed}, "minItems": 1},
        }
    )


def _invoke(protocol: Protocol, view: ModelView, slug: str, verb: str) -> Json:
    predictions = record({"predictions": {"type": "array", "items": ref(f"{slug}.Answer")}})
    answer = json_answer("The predictions.", predictions, {"predictions": [view.golden.answer]})
    texts = ("Predict", EXPLAINED)
    return protocol.prediction(f"{verb}.{slug}", view.name, texts, answer, _bodies(view, slug))


def _bodies(view: ModelView, slug: str) -> Json:
    row = dict(view.golden.row)
    split = {"columns": list(row), "data": [list(row.values())]}
    bodies: dict[str, Any] = {
        JSON: {
            "schema": ref(f"{slug}.Rows"),
            "examples": {
                "inputs": {"summary": "One row", "value": {"inputs": row}},
                "records": {"summary": "Rows as records", "value": {"dataframe_records": [row]}},
                "split": {"summary": "Rows as lists", "value": {"dataframe_split": split}},
            },
        },
    }
    if not any(column.shape for column in view.signature.columns):
        example = {"summary": "CSV", "value": _csv(row)}
        bodies[CSV] = {"schema": STRING, "examples": {"csv": example}}
    # No schema: JSON Schema has no word for bytes.
    bodies[PARQUET] = {}
    return bodies


def _csv(row: Json) -> str:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows([row.keys(), row.values()])
    return text.getvalue().removesuffix("\n")
