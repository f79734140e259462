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
        """Fetch a model's bundle anew; `{"parameters": {"path": …}}` names another one below the model root."""
        self._keys.check_admin(authorization(scope))
        self._models.slot(name)
        digest = await self._admin.load(name, _path(await self._reader.read(scope, receive)))
        return Response(200, orjson.dumps({"name": name, "digest": digest}))


def _path(body: bytes) -> str | None:
    if not body.strip():
        return None
    try:
        document: Any = orjson.loads(body)
        path = document.get("parameters", {}).get("path")
    except (orjson.JSONDecodeError, AttributeError) as error:
        raise InputError("the body is no JSON object with parameters", fix="send none, or a path") from error
    if path is not None and (not isinstance(path, str) or len(path) > MOST_CHARACTERS or "\0" in path):
        raise InputError("the parameter path is no path")
    return path
