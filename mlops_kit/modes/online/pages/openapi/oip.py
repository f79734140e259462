"""The Open Inference Protocol over HTTP, with Triton's extensions for binary tensors and statistics."""

from collections.abc import Mapping
from urllib.parse import quote

from mlops_kit.modes.online.pages.model_view import ModelView
from mlops_kit.modes.online.pages.openapi.columns import Json, tensor_example
from mlops_kit.modes.online.pages.openapi.operations import (
    COUNT,
    FLAG,
    STRING,
    Protocol,
    json_answer,
    record,
    ref,
)
from mlops_kit.modes.online.protocols.oip_tensors import DATATYPES

DURATION = record({"count": COUNT, "ns": COUNT})
SHAPE = {"type": "array", "items": {"type": "integer", "minimum": -1}}
METADATA = {"type": "array", "items": record({"name": STRING, "datatype": STRING, "shape": SHAPE})}
DATATYPE: Json = {"enum": list(DATATYPES)}
DATA = {"type": "array", "items": {"type": ["number", "string", "boolean", "array"]}}
PARAMETERS: Json = {"type": ["object", "null"]}
ERROR = record({"error": STRING})
COMPONENTS: dict[str, Json] = {
    "InputTensor": record(
        {
            "name": STRING,
            "datatype": DATATYPE,
            "shape": {"type": "array", "items": COUNT, "minItems": 1, "maxItems": 16},
            "data": DATA,
            "parameters": PARAMETERS,
        },
        optional=("data", "parameters"),
    ),
    "OutputTensor": record(
        {
            "name": STRING,
            "datatype": DATATYPE,
            "shape": {"type": "array", "items": COUNT},
            "data": {"type": "array", "items": {"type": ["number", "string", "boolean", "null"]}},
            "parameters": {"type": "object"},
        },
        optional=("data", "parameters"),
    ),
    "ModelMetadata": record(
        {
            "name": STRING,
            "versions": {"type": "array", "items": STRING},
            "platform": STRING,
            "inputs": METADATA,
            "outputs": METADATA,
            "parameters": {"type": "object"},
        }
    ),
    "Statistics": record(
        {
            "model_stats": {
                "type": "array",
                "items": record(
                    {
                        "name": STRING,
                        "version": STRING,
                        "last_inference": COUNT,
                        "inference_count": COUNT,
                        "execution_count": COUNT,
                        "inference_stats": {"type": "object", "additionalProperties": DURATION},
                        "batch_stats": {
                            "type": "array",
                            "items": {
                                **record({"batch_size": COUNT}),
                                "additionalProperties": DURATION,
                            },
                        },
                    }
                ),
            }
        }
    ),
}
EXPLAINED = (
    "The Open Inference Protocol: a tensor for each column, with the rows as its first dimension, or one matrix "
    "of all columns in their order. Tensors may follow the JSON in binary, whose length is then in the header "
    "`Inference-Header-Content-Length`; the answer's tensors are binary if `binary_data` is asked for."
)
JSON_LENGTH: Json = {
    "name": "Inference-Header-Content-Length",
    "in": "header",
    "description": "How many bytes of the body are its JSON, where tensors follow it in binary.",
    "schema": COUNT,
}
STATISTICS = (
    "Since the server was started: requests that were answered and that failed, how long they waited and how long "
    "the model took for them, and its runs by their number of rows."
)


def server_paths(protocol: Protocol, tag: str) -> dict[str, Json]:
    """What is asked of the server as a whole."""
    described = record({"name": STRING, "version": STRING, "extensions": {"type": "array", "items": STRING}})
    ready = json_answer("", record({"ready": FLAG, "live": FLAG}))
    answers = {
        "/v2": ("server", ("Name and extensions", ""), {200: json_answer("Its extensions, too.", described)}),
        "/v2/health/live": (
            "live", ("Liveness", ""), {200: json_answer("It does.", record({"live": FLAG}))},
        ),
        "/v2/health/ready": (
            "ready",
            ("Readiness", ""),
            {
                200: ready | {"description": "Every model has given its golden answers."},
                503: ready | {"description": "The models are being loaded, or the server is about to stop."},
            },
        ),
        "/v2/models/stats": (
            "statistics", ("Statistics of every model", STATISTICS), {200: json_answer("", ref("Statistics"))},
        ),
    }  # fmt: skip
    return {
        path: {"get": protocol.operation(id_, tag, texts, found)} for path, (id_, texts, found) in answers.items()
    }


def model_paths(protocol: Protocol, view: ModelView, slug: str) -> dict[str, Json]:
    """The paths of one model, of whatever version, and of the one that it has."""
    name = quote(view.name, safe="")
    return _paths(protocol, view, slug, f"/v2/models/{name}", is_versioned=False) | _paths(
        protocol, view, f"{slug}.version", f"/v2/models/{name}/versions/{{version}}", is_versioned=True
    )


def _paths(protocol: Protocol, view: ModelView, slug: str, path: str, *, is_versioned: bool) -> dict[str, Json]:
    version = {"name": "version", "in": "path", "required": True, "schema": {"enum": [view.version]}}
    parameters: list[Json] = [version] if is_versioned else []

    def ask(verb: str, summary: str, description: str, answers: Mapping[int, Json]) -> Json:
        texts = (summary, description)
        return {
            "get": protocol.operation(
                f"{verb}.{slug}", view.name, texts, answers, failures=[404, 503], parameters=parameters
            )
        }

    ready = record({"name": STRING, "ready": FLAG})
    readiness = {200: json_answer("It is.", ready), 503: json_answer("The server is about to stop.", ready)}
    metadata = {200: json_answer("Names, datatypes and shapes.", ref("ModelMetadata"))}
    statistics = {200: json_answer("One entry of `model_stats`.", ref("Statistics"))}
    return {
        f"{path}/infer": {"post": _infer(protocol, view, slug, parameters)},
        path: ask("metadata", "Inputs and outputs", "The model's digest is among its parameters.", metadata),
        f"{path}/ready": ask("ready", "Readiness", "", readiness),
        f"{path}/stats": ask("statistics", "Statistics", STATISTICS, statistics),
    }


def _infer(protocol: Protocol, view: ModelView, slug: str, parameters: list[Json]) -> Json:
    answered = record(
        {
            "model_name": STRING,
            "model_version": STRING,
            "id": STRING,
            "outputs": {"type": "array", "items": ref("OutputTensor")},
            "parameters": {"type": "object"},
        },
        optional=["id", "parameters"],
    )
    answer = json_answer("The outputs that were asked for, or all.", answered, _answer_example(view))
    answer["content"]["application/octet-stream"] = {}
    answer["headers"] = {"Inference-Header-Content-Length": {"schema": COUNT}}
    body = {
        "schema": _request_schema(view),
        "examples": {"tensors": {"summary": "A tensor for each column", "value": _request_example(view)}},
    }
    return protocol.prediction(
        f"infer.{slug}",
        view.name,
        ("Predict, with tensors", EXPLAINED),
        answer,
        {"application/json": body, "application/octet-stream": {}},
        parameters=[*parameters, JSON_LENGTH],
    )


def _request_schema(view: ModelView) -> Json:
    names = [output.name for output in view.signature.outputs]
    wanted = record({"name": {"enum": names}, "parameters": PARAMETERS}, optional=["parameters"])
    return record(
        {
            "id": STRING,
            "parameters": PARAMETERS,
            "inputs": {"type": "array", "items": ref("InputTensor"), "minItems": 1},
            "outputs": {"type": "array", "items": wanted},
        },
        optional=["id", "parameters", "outputs"],
    )


def _request_example(view: ModelView) -> Json:
    row = view.golden.row
    return {
        "inputs": [
            tensor_example(row[column.name], column) for column in view.signature.columns if column.name in row
        ]
    }


def _answer_example(view: ModelView) -> Json:
    answer = view.golden.answer
    tensors = [tensor_example(answer[output.name], output) for output in view.signature.outputs]
    return {"model_name": view.name, "model_version": view.version, "outputs": tensors}
