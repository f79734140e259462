"""The whole document."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from mlops_kit.modes.online.http.paths import is_open
from mlops_kit.modes.online.pages.model_view import ModelView
from mlops_kit.modes.online.pages.openapi import mlflow, oip
from mlops_kit.modes.online.pages.openapi.columns import output_schema
from mlops_kit.modes.online.pages.openapi.events import event_paths, event_schemas
from mlops_kit.modes.online.pages.openapi.listing import LISTING, listing_paths
from mlops_kit.modes.online.pages.openapi.operating import operating_paths
from mlops_kit.modes.online.pages.openapi.operations import Json, Protocol, record, ref

SERVER_TAG = "Server"
EXPLAINED = (
    "Predictions over MLflow's scoring protocol and the Open Inference Protocol: both ask the same model, and "
    "give the same answer. Bodies may be compressed (`Content-Encoding: gzip` or `deflate`). The same models "
    "answer over gRPC, on a port of its own, as `inference.GRPCInferenceService`, with reflection and the "
    "standard health service."
)
KEY: Json = {"type": "http", "scheme": "bearer", "description": "A key of the server's file of keys."}


def describe_api(views: Sequence[ModelView], version: str, *, needs_key: bool) -> dict[str, Any]:
    """Every operation, with the columns of these models."""
    slugs = dict(zip(_slugs(views), views, strict=True))
    paths = _paths(slugs, needs_key=needs_key)
    document: dict[str, Any] = {
        "openapi": "3.1.1",
        "info": {"title": "mlkit serve", "version": version, "description": EXPLAINED},
        "servers": [{"url": "/"}],
        "tags": [
            *(_tag(view, slug) for slug, view in slugs.items()),
            {"name": SERVER_TAG, "description": "The server as a whole."},
        ],
        "paths": paths,
        "components": {"schemas": _schemas(slugs)},
    }
    if needs_key:
        _open(paths)
        document["components"]["securitySchemes"] = {"key": KEY}
        document["security"] = [{"key": []}]
    return document


def _paths(slugs: Mapping[str, ModelView], *, needs_key: bool) -> dict[str, Json]:
    mlflow_, oip_ = Protocol("MlflowError", needs_key), Protocol("OipError", needs_key)
    paths: dict[str, Json] = {}
    for slug, view in slugs.items():
        paths |= mlflow.model_paths(mlflow_, view, slug, is_alone=len(slugs) == 1)
        paths |= oip.model_paths(oip_, view, slug)
    paths |= oip.server_paths(oip_, SERVER_TAG)
    paths |= mlflow.server_paths(mlflow_, SERVER_TAG)
    paths |= event_paths(oip_, SERVER_TAG, [*slugs.values()])
    paths |= listing_paths(mlflow_, SERVER_TAG)
    return paths | operating_paths(oip_, SERVER_TAG, [view.name for view in slugs.values()])


def _schemas(slugs: Mapping[str, ModelView]) -> dict[str, Json]:
    schemas: dict[str, Json] = {"MlflowError": mlflow.ERROR, "OipError": oip.ERROR, "ListedModel": LISTING}
    schemas |= oip.COMPONENTS | event_schemas([*slugs.values()])
    for slug, view in slugs.items():
        schemas |= mlflow.schemas(view, slug)
        schemas[f"{slug}.Answer"] = record({o.name: output_schema(o) for o in view.signature.outputs})
    return schemas


def _open(paths: Mapping[str, Json]) -> None:
    """Say which operations need no key."""
    for path, operations in paths.items():
        for operation in operations.values() if is_open(path) else ():
            operation["security"] = []
            del operation["responses"]["401"]


def _tag(view: ModelView, slug: str) -> Mapping[str, Any]:
    """The documentation shows the model's columns where the tag says."""
    return {
        "name": view.name,
        "description": f"Version `{view.version}`, `{view.digest}`.",
        "x-inputs": ref(f"{slug}.Row"),
        "x-outputs": ref(f"{slug}.Answer"),
    }


def _slugs(views: Sequence[ModelView]) -> list[str]:
    """Names of components, which have letters, digits and a little more: one for each model."""
    slugs: list[str] = []
    for view in views:
        slug = re.sub(r"[^A-Za-z0-9-]", "_", view.name)
        while slug in slugs:
            slug += "_"
        slugs.append(slug)
    return slugs
