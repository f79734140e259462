"""What those who run the server ask of it: metrics, and the model repository extension."""

from collections.abc import Sequence
from urllib.parse import quote

from mlops_kit.modes.online.pages.openapi.operations import STRING, Json, Protocol, json_answer, record

INDEX = {
    "type": "array",
    "items": record(
        {"name": STRING, "version": STRING, "state": {"enum": ["READY", "UNAVAILABLE"]}, "reason": STRING}
    ),
}
LOAD = (
    "Fetches the bundle anew, checks it beside the one that answers, and lets it answer in all workers. It needs "
    "a key of `--admin-key-file`. With `parameters.path`, a bundle below `--model-root` takes its place. A bundle "
    "with another signature is refused, because clients would have to change, unless `parameters.force` is true. "
    "The body may be empty."
)


def operating_paths(protocol: Protocol, tag: str, names: Sequence[str]) -> dict[str, Json]:
    """By path."""
    metrics = {"description": "Of all worker processes.", "content": {"text/plain": {"schema": STRING}}}
    index = json_answer("One entry for each model.", INDEX)
    paths: dict[str, Json] = {
        "/metrics": {"get": protocol.operation("metrics", tag, ("Metrics for Prometheus", ""), {200: metrics})},
        "/v2/repository/index": {"post": protocol.operation("index", tag, ("Every model", ""), {200: index})},
    }
    for number, name in enumerate(names):
        loaded = json_answer("It answers from now on.", record({"name": STRING, "digest": STRING}))
        paths[f"/v2/repository/models/{quote(name, safe='')}/load"] = {
            "post": protocol.operation(
                f"load.{number}", name, ("Load anew", LOAD), {200: loaded}, failures=[400, 401, 403, 408, 413, 415]
            )
        }
    return paths
