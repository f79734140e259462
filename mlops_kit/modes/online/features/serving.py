"""The features of all models of a process: one store, and how it is asked."""

import asyncio
import logging
from collections.abc import Sequence
from typing import Final

import numpy as np

from mlops_kit.errors import StoreError
from mlops_kit.features.definition.feature_set import FeatureSet
from mlops_kit.features.online.vectors import FeatureReader
from mlops_kit.features.parity.log import VectorLog
from mlops_kit.modes.online.features.columns import RequestColumns
from mlops_kit.modes.online.features.events import Received, Target, find_targets, receive_events
from mlops_kit.modes.online.features.guard import StoreGuard
from mlops_kit.modes.online.features.lookup import Lookup
from mlops_kit.modes.online.features.options import StoreFailure, StoreOptions
from mlops_kit.modes.online.metrics.events import EventCounts
from mlops_kit.predictor import Predictor
from mlops_kit.stores.interface import Reads, Store
from mlops_kit.stores.resolve import open_reads, open_store

log = logging.getLogger("mlkit.serve")

PAUSE_S: Final = 1.0
PROBE: Final = ("checkpoint", b"")
"""An address that may as well be empty: what counts is that the store answers."""


class FeatureServing:
    """`store` is there once `open` has returned, which is before any model is loaded."""

    def __init__(self, options: StoreOptions, events: EventCounts, *, is_telling: bool = True) -> None:
        """One of the processes of a server `is_telling` what the store lacks."""
        self.events = events
        """Counts those that clients send."""
        self._options = options
        self._is_telling = is_telling
        self._guard = StoreGuard(options.timeout_s)
        self.store: Store
        self.reads: Reads

    async def open(self) -> None:
        """Wait until the store answers. Raises UsageError and MissingExtraError for an address of none."""
        said = ""
        while True:
            try:
                self.store = await asyncio.to_thread(self._open)
            except StoreError as error:
                if self._is_telling and str(error) != said:
                    log.warning("not ready, because the store of the features does not answer: %s", error)
                said = str(error)
            else:
                self.reads = open_reads(self.store, self._options.uri, self._options.password)
                return
            await asyncio.sleep(PAUSE_S)

    def lookup(self, name: str, features: FeatureSet, predictor: Predictor) -> Lookup:
        """For a model, warmed up: the kernel is compiled when it is called first."""
        reader = FeatureReader(features, self.store, serves_absent=True)
        if self._is_telling:
            self._warn_of_absent(name, reader)
        columns = RequestColumns(features, predictor.signature)
        nothing = [(None,) for _ in reader.sources]
        own = {name: np.full(1, None, object) for name in columns.asked}
        reader.make(nothing, [{} for _ in reader.sources], own, np.zeros(1, np.int64))
        return Lookup(
            predictor,
            columns,
            reader,
            lambda keys: self._guard.call(lambda: reader.fetch_on_loop(keys, self.reads)),
            VectorLog(features),
            is_refusing=self._options.failure == StoreFailure.refuse,
            takes_request_time=self._options.takes_request_time,
        )

    @staticmethod
    def find_targets(source: str, features: Sequence[FeatureSet]) -> list[Target]:
        """Every state that the events of a source go into."""
        return find_targets(source, features)

    def receive(self, body: bytes, targets: Sequence[Target]) -> Received:
        """Apply the events of a body. Raises InputError and StoreError."""
        return receive_events(body, targets, self.store)

    def _open(self) -> Store:
        store = open_store(self._options.uri, self._options.password)
        store.read([PROBE])
        return store

    def _warn_of_absent(self, name: str, reader: FeatureReader) -> None:
        try:
            absent = reader.absent()
        except StoreError as error:
            log.warning("%s: it is not known what the store has of its features: %s", name, error)
            return
        if absent:
            log.warning(
                "%s: the store has nothing of %s, whose keys are all missing: mlkit features materialize fills it",
                name,
                ", ".join(absent),
            )
