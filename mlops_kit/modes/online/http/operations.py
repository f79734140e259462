"""What those who run the server ask of it: metrics, which models there are, load one anew."""

from typing import Any

import orjson

from mlops_kit.errors import InputError
from mlops_kit.modes.online.admin import Admin
from mlops_kit.modes.online.http.messages import Receive, Response, Scope, authorization, header
from mlops_kit.modes.online.http.reading import BodyReader
from mlops_kit.modes.online.keys import Keys
from mlops_kit.modes.online.metrics.counters import SharedCounters
from mlops_kit.modes.online.metrics.exposition import render_metrics
from mlops_kit.modes.online.models import Models
from mlops_kit.modes.online.protocols.json_body import parse_object

MOST_CHARACTERS = 4096
"""Of a path; no system takes more."""


class Operations:
    """The model repository extension, and Prometheus' metrics.

    https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_model_repository.md
    """

    def __init__(
        self, models: Models, counters: SharedCounters, admin: Admin, reader: BodyReader, keys: Keys
    ) -> None:
        self._models = models
        self._keys = keys
        self._counters = counters
        self._admin = admin
        self._reader = reader

    async def metrics(self, scope: Scope, _receive: Receive) -> Response:
        """The numbers of all worker processes."""
        digests = {slot.name: slot.model.digest for slot in self._models if slot.model}
        body, content_type = render_metrics(self._counters, digests, header(scope, b"accept").decode("latin-1"))
        return Response(200, body, content_type.encode())

    async def index(self, _scope: Scope, _receive: Receive) -> Response:
        """Every model and its state."""
        documents = [
            {
                "name": slot.name,
                "version": slot.model.version if slot.model else "",
                "state": "READY" if slot.model else "UNAVAILABLE",
                "reason": slot.refusal,
            }
            for slot in self._models
        ]
        return Response(200, orjson.dumps(documents))

    async def load(self, name: str, scope: Scope, receive: Receive) -> Response:
        """Fetch a model's bundle anew; `{"parameters": {"path": …}}` names another one below the model root.

        With `"force": true`, it may have another signature.
        """
        self._keys.check_admin(authorization(scope))
        self._models.slot(name)
        path, is_forced = _parameters(await self._reader.read(scope, receive))
        digest = await self._admin.load(name, path, is_forced=is_forced)
        return Response(200, orjson.dumps({"name": name, "digest": digest}))


def _parameters(body: bytes) -> tuple[str | None, bool]:
    """Path and force. Nothing is ignored that may have been meant seriously."""
    document: Any = parse_object(body) if body.strip() else {}
    parameters = document.get("parameters", {})
    if set(document) - {"parameters"} or not isinstance(parameters, dict) or set(parameters) - {"path", "force"}:
        fix = 'send {"parameters": {"path": …, "force": …}}, either or both, or no body'
        raise InputError("the body has what loading a bundle does not take", fix=fix)
    path, is_forced = parameters.get("path"), parameters.get("force", False)
    if path is not None and (not isinstance(path, str) or len(path) > MOST_CHARACTERS or "\0" in path):
        raise InputError("the parameter path is no path")
    if not isinstance(is_forced, bool):
        raise InputError("the parameter force is neither true nor false")
    return path, is_forced
