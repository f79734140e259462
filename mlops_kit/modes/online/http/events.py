"""POST /v2/events/SOURCE: events over HTTP."""

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

import orjson

from mlops_kit.errors import FeaturesUnavailableError, OverloadedError, SourceNotFoundError, StoreError
from mlops_kit.modes.online.http.messages import Receive, Response, Scope, header
from mlops_kit.modes.online.http.reading import BodyReader
from mlops_kit.modes.online.models import Models
from mlops_kit.modes.online.protocols.media_types import JSON, media_type

if TYPE_CHECKING:
    from mlops_kit.modes.online.features.events import Received, Target

log = logging.getLogger("mlkit.serve")

TYPES: Final = (JSON, "application/x-ndjson", "application/ndjson", "application/jsonl")
MOST_REQUESTS: Final = 64
"""Of those whose events are being written, or wait to be; more are answered with 429."""

THREADS: Final = 4


class EventDoor:
    """Used on one event loop."""

    def __init__(self, models: Models, reader: BodyReader) -> None:
        self._models = models
        self._reader = reader
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="events")
        self._requests = 0

    async def push(self, source: str, scope: Scope, receive: Receive) -> Response:
        """Answers once the store has the events; 400 if none of them is one."""
        targets = self._targets(source)
        if self._requests >= MOST_REQUESTS:
            raise OverloadedError(MOST_REQUESTS)
        content_type = header(scope, b"content-type").decode("latin-1")
        if content_type:
            media_type(content_type, TYPES)
        self._requests += 1
        try:
            body = await self._reader.read(scope, receive)
            found = await asyncio.get_running_loop().run_in_executor(self._pool, self._receive, body, targets)
        finally:
            self._requests -= 1
        if self._models.features:
            self._models.features.events.observe(source, (found.applied, found.repeated, len(found.refused)))
        document = found.to_json(source)
        if len(found.refused) < len(found.numbers):
            return Response(200, orjson.dumps(document))
        return Response(400, orjson.dumps({"error": "none of the events can count", **document}))

    def _targets(self, source: str) -> "list[Target]":
        """Raises SourceNotFoundError."""
        lookups = [slot.model.lookup for slot in self._models if slot.model and slot.model.lookup]
        features = [lookup.features for lookup in lookups]
        targets = self._models.features.find_targets(source, features) if self._models.features else []
        if not targets:
            raise SourceNotFoundError(source, sorted({events.name for one in features for events in one.events}))
        return targets

    def _receive(self, body: bytes, targets: "list[Target]") -> "Received":
        if self._models.features is None:
            raise FeaturesUnavailableError
        try:
            return self._models.features.receive(body, targets)
        except StoreError as error:
            log.warning("events cannot be written: %s", error)
            raise FeaturesUnavailableError from error
