"""Requests that no queue has room for are refused before they are read.

Under overload most requests are: what refusing them costs is lost to those that could be answered.
"""

import asyncio
from collections import Counter
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import quote

from mlops_kit.errors import OverloadedError, UnauthorizedError
from mlops_kit.modes.online.http.messages import STATUS_LINES, Fields, authorization, encode_fields
from mlops_kit.modes.online.http.routes import Route, Routes
from mlops_kit.modes.online.keys import Keys
from mlops_kit.modes.online.models import Models, Slot
from mlops_kit.modes.online.served_model import ServedModel

STATUS = HTTPStatus.TOO_MANY_REQUESTS


@dataclass(frozen=True, slots=True)
class _Entrance:
    """Where one model is asked. `rest` ends a refusal there."""

    slot: Slot
    door: str
    rest: bytes


class Gate:
    """Knows the usual ways to write the paths of predictions; at others, who would answer refuses."""

    def __init__(self, models: Models, routes: Routes, queue: int, keys: Keys | None) -> None:
        self._loop = asyncio.get_running_loop()
        self._queue = queue
        self._keys = keys
        self._passed: Counter[str] = Counter()
        self._defaults: Fields = ()
        self._before = b""
        slots = {slot.meter: slot for slot in models}
        self._entrances = {
            quote(path).encode(): _Entrance(slots[route.meter], route.door, _encode(route, queue))
            for path, route in routes.exact_posts()
            if route.meter in slots
        }

    def has_room(self, url: bytes) -> bool:
        """For one more request for a prediction; True for anything else that may be asked for at this URL."""
        found = self._entrances.get(url)
        return found is None or found.slot.model is None or self._has_room(found.slot.model)

    def refusal(self, url: bytes, headers: Fields, defaults: Fields) -> bytes | None:
        """The whole answer to a POST request where there is no room for it, which is counted.

        None for a caller who may not ask. `defaults` are headers that every answer has.
        """
        if self._keys and not _may_ask(self._keys, headers):
            return None
        if defaults is not self._defaults:
            self._defaults, self._before = defaults, STATUS_LINES[STATUS] + encode_fields(defaults)
        entrance = self._entrances[url]
        entrance.slot.meter.count_request(entrance.door, STATUS)
        return self._before + entrance.rest

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


def _may_ask(keys: Keys, headers: Fields) -> bool:
    try:
        keys.check(authorization({"headers": headers}))
    except UnauthorizedError:
        return False
    return True


def _encode(route: Route, queue: int) -> bytes:
    """What comes after the headers that every answer has."""
    response = route.failure(STATUS, str(OverloadedError(queue)))
    return encode_fields(response.fields) + b"\r\n" + response.body
