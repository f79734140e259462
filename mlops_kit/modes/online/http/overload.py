"""Requests that no queue has room for are refused before they are read.

Under overload most requests are: what refusing them costs is lost to those that could be answered.
"""

import asyncio
from collections import Counter
from http import HTTPStatus
from urllib.parse import quote

from mlops_kit.errors import OverloadedError, UnauthorizedError
from mlops_kit.modes.online.http.messages import STATUS_LINES, Fields, authorization, encode_fields
from mlops_kit.modes.online.http.routes import Route, Routes
from mlops_kit.modes.online.keys import Keys
from mlops_kit.modes.online.models import Models
from mlops_kit.modes.online.served_model import ServedModel

STATUS = HTTPStatus.TOO_MANY_REQUESTS


class Gate:
    """Knows the usual ways to write the paths of predictions; at others, who would answer refuses."""

    def __init__(self, models: Models, routes: Routes, queue: int, keys: Keys | None) -> None:
        self._loop = asyncio.get_running_loop()
        self._queue = queue
        self._keys = keys
        self._passed: Counter[str] = Counter()
        slots = {slot.meter: slot for slot in models}
        self._entrances = {
            quote(path).encode(): (slots[route.meter], route, _encode(route, queue))
            for path, route in routes.exact_posts()
            if route.meter in slots
        }

    def has_room(self, url: bytes) -> bool:
        """For one more request for a prediction; True for anything else that may be asked for at this URL."""
        found = self._entrances.get(url)
        return found is None or found[0].model is None or self._has_room(found[0].model)

    def refusal(self, url: bytes, headers: Fields, defaults: Fields) -> bytes | None:
        """The whole answer to a POST request where there is no room for it, which is counted.

        None for a caller who may not ask. `defaults` are headers that every answer has.
        """
        if not self._may_ask(headers):
            return None
        _, route, (before, after) = self._entrances[url]
        route.count(STATUS, 0.0)
        return before + encode_fields(defaults) + after

    def _has_room(self, model: ServedModel) -> bool:
        """Also for those that came in this turn of the event loop before it, and are in no queue yet."""
        queued = model.queued
        if queued < self._queue // 2:
            return True
        if queued + self._passed[model.name] >= self._queue:
            return False
        if not self._passed:
            self._loop.call_soon(self._passed.clear)
        self._passed[model.name] += 1
        return True

    def _may_ask(self, headers: Fields) -> bool:
        try:
            if self._keys:
                self._keys.check(authorization({"headers": headers}))
        except UnauthorizedError:
            return False
        return True


def _encode(route: Route, queue: int) -> tuple[bytes, bytes]:
    """What comes before and after the headers that every answer has."""
    response = route.failure(STATUS, str(OverloadedError(queue)))
    return STATUS_LINES[STATUS], encode_fields(response.fields) + b"\r\n" + response.body
