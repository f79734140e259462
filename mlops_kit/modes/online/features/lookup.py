"""A run of a model with features: look up, override, assemble, predict."""

import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from mlops_kit.errors import FeaturesUnavailableError, StoreError
from mlops_kit.features.online.sources import Keys
from mlops_kit.features.online.vectors import FeatureReader, Found, Vectors
from mlops_kit.features.parity.log import VectorLog
from mlops_kit.modes.online.batch import Feeds
from mlops_kit.modes.online.features.asked import Asked, Looked, as_objects
from mlops_kit.modes.online.features.columns import RequestColumns
from mlops_kit.modes.online.features.measures import Lookups
from mlops_kit.modes.online.features.reading import RequestReader
from mlops_kit.predictor import Predictor
from mlops_kit.schema import Array

log = logging.getLogger("mlkit.serve")

ASKED = "asked"
"""The one feed of such a model: its requests, one after the other, each of which may have many rows."""


class Lookup:
    """One model's. `run` may be called in its batcher's thread, everything else is on the event loop."""

    def __init__(
        self,
        predictor: Predictor,
        columns: RequestColumns,
        reader: FeatureReader,
        read: Callable[[Sequence[Keys]], Awaitable[Found]],
        vector_log: VectorLog,
        *,
        is_refusing: bool,
        takes_request_time: bool,
    ) -> None:
        self.columns = columns
        self.features = columns.definition
        self.requests = RequestReader(columns, reader)
        self.vector_log = vector_log
        self.takes_request_time = takes_request_time
        self.done: deque[Lookups] = deque()
        """What was looked up and is not counted yet."""
        self._predictor = predictor
        self._reader = reader
        self._read = read
        self._is_refusing = is_refusing
        self._told: dict[str, StoreError] = {}
        self._nothing: list[Mapping[bytes, bytes]] = [{} for _ in reader.sources]

    @staticmethod
    def feeds(asked: Asked) -> Feeds:
        """What the batcher passes on."""
        return {ASKED: as_objects((asked,))}

    async def prepare(self, feeds: Sequence[Feeds]) -> None:
        """Ask the store for what the requests of a run need."""
        asked: list[Asked] = [one for each in feeds for one in each[ASKED].tolist()]
        started = time.perf_counter()
        try:
            found = await self._read(self._keys(asked))
        except StoreError as error:
            log.debug("features are not looked up: %s", error)
            self._do_without(asked)
        else:
            for one in asked:
                one.found = found
        seconds = time.perf_counter() - started
        for one in asked:
            one.fetch_s = seconds

    def run(self, feeds: Feeds, rows: int) -> Sequence[Array]:
        """The outputs for the rows of all requests, which are prepared. A batch that raises is run again, request
        by request.
        """
        asked: list[Asked] = feeds[ASKED].tolist()
        started = time.perf_counter()
        if asked[0].found is None:
            raise FeaturesUnavailableError
        vectors = self._vectors(asked)
        seconds = time.perf_counter() - started
        values = {**vectors.values, **_overridden(vectors, asked, rows)}
        columns = {name: _gather(asked, name, name in self.columns.shaped) for name in self.columns.needed}
        tensors = self._predictor.assemble_columns({**columns, **values})
        outputs = self._predictor.run(tensors, rows)
        self._settle(asked, Looked(vectors, values, tensors, seconds))
        return outputs

    def _keys(self, asked: Sequence[Asked]) -> list[Keys]:
        return [[key for one in asked for key in one.keys[place]] for place in range(len(self._nothing))]

    def _vectors(self, asked: Sequence[Asked]) -> Vectors:
        """Defaults for what the store cannot tell. Raises InputError where that is due to a client's own T."""
        keys = self._keys(asked)
        try:
            vectors = self._make(asked, keys)
            if len(asked) > 1 or asked[0].is_timed:
                vectors.refuse_too_old()
            if not vectors.is_too_old.any():
                return vectors
        except StoreError:
            if len(asked) > 1:
                raise
        self._leave_out_unusable(asked[0], keys)
        vectors = self._make(asked, keys)
        vectors.refuse_too_old()
        return vectors

    def _make(self, asked: Sequence[Asked], keys: Sequence[Keys]) -> Vectors:
        own = {name: _gather(asked, name) for name in self.columns.asked}
        return self._reader.make(keys, asked[0].found or self._nothing, own, _times(asked), asked[0].degraded)

    def _leave_out_unusable(self, asked: Asked, keys: Sequence[Keys]) -> None:
        unusable = self._reader.unusable(keys, asked.found or self._nothing, _times((asked,)))
        for source, error in unusable.items():
            self._tell(source, error)
            if self._is_refusing:
                self.done.append(Lookups(failed=1))
                raise FeaturesUnavailableError from error
        asked.degraded = [*unusable]

    def _tell(self, source: str, error: StoreError) -> None:
        """What is wrong with a source, and not with a key of it, comes with each request: it is said once."""
        if error is not self._told.get(source):
            log.warning("what the store has of %s cannot be used: %s", source, error)
        self._told[source] = error

    def _do_without(self, asked: Sequence[Asked]) -> None:
        """Defaults, where they are allowed."""
        if self._is_refusing:
            self.done.append(Lookups(failed=len(asked)))
            return
        for one in asked:
            one.found, one.degraded = self._nothing, self._reader.sources

    def _settle(self, asked: Sequence[Asked], looked: Looked) -> None:
        first, vectors, degraded = 0, looked.vectors, asked[0].degraded
        for one in asked:
            one.looked, one.first, one.found = looked, first, None
            first += one.rows
        is_missing = {name: rows for name, rows in vectors.is_missing.items() if name not in degraded}
        counted = Lookups(asked[0].lookup_s, len(asked), is_missing, vectors.age_us)
        self.done.append(replace(counted, degraded=len(asked), failed=1) if degraded else counted)


def _times(asked: Sequence[Asked]) -> Array:
    """T of each row."""
    ts = np.array([one.as_of_us for one in asked], np.int64)
    return ts if all(one.rows == 1 for one in asked) else np.repeat(ts, [one.rows for one in asked])


def _gather(asked: Sequence[Asked], name: str, is_shaped: bool = False) -> Array:
    if is_shaped:
        return np.concatenate([np.asarray(one.columns[name]) for one in asked])
    return as_objects([value for one in asked for value in one.columns[name]])


def _overridden(vectors: Vectors, asked: Sequence[Asked], rows: int) -> dict[str, Array]:
    """The features that requests bring themselves, where they have a value."""
    if not any(one.given for one in asked):
        return {}
    values: dict[str, Array] = {}
    first = 0
    for one in asked:
        for name, given in one.given.items():
            column = values.setdefault(name, vectors.values[name].astype(object))
            for row, value in enumerate(given, first):
                if value is not None:
                    column[row] = value
        first += one.rows
    if first != rows:
        raise ValueError("a batch has other rows than its requests")
    return values
