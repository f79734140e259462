"""The models of a server: found by name, replaced while requests go on."""

import asyncio
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from mlops_kit.errors import ModelNotFoundError, NotReadyError, UsageError, suggestion
from mlops_kit.modes.online.compatibility import explain_change
from mlops_kit.modes.online.limits import Limits
from mlops_kit.modes.online.loaded_model import LoadedModel, load_model
from mlops_kit.modes.online.metrics.counters import ModelMeter
from mlops_kit.modes.online.served_model import ServedModel
from mlops_kit.modes.online.traffic import Traffic

if TYPE_CHECKING:
    from mlops_kit.modes.online.features.serving import FeatureServing

DRAIN_LOOK_S = 0.02

log = logging.getLogger("mlkit.serve")


@dataclass(slots=True)
class Slot:
    """A name, the model that answers to it, the one that may be next, and why the last one was refused."""

    name: str
    meter: ModelMeter
    model: ServedModel | None = None
    prepared: LoadedModel | None = None
    refusal: str = ""


class Models:
    """Every name that is served. Used on one event loop."""

    def __init__(
        self,
        meters: Mapping[str, ModelMeter],
        limits: Limits,
        traffic: Traffic,
        unnamed: ModelMeter,
        features: "FeatureServing | None" = None,
    ) -> None:
        self.features = features
        self.unnamed = unnamed
        """Counts requests for none of them."""
        self._traffic = traffic
        self._slots = {name: Slot(name, meter) for name, meter in meters.items()}
        self._limits = limits
        self._drains: set[asyncio.Task[None]] = set()

    def __iter__(self) -> Iterator[Slot]:
        return iter(self._slots.values())

    @property
    def is_ready(self) -> bool:
        """Whether every model has given its golden answers."""
        return all(slot.model for slot in self)

    def slot(self, name: str) -> Slot:
        """Raises ModelNotFoundError."""
        if name not in self._slots:
            raise ModelNotFoundError(name, suggestion([name], list(self._slots)))
        return self._slots[name]

    def meter(self, name: str) -> ModelMeter | None:
        """Where a model's requests are counted, if there is such a model."""
        slot = self._slots.get(name)
        return slot.meter if slot else None

    def find(self, name: str, version: str = "") -> ServedModel:
        """The model that answers to a name. Raises NotReadyError if it is not loaded yet.

        Raises ModelNotFoundError, also for a version that is not served.
        """
        model = self.slot(name).model
        if model is None:
            raise NotReadyError(name)
        if version not in ("", model.version):
            raise ModelNotFoundError(name, f"it is served in version {model.version}", version)
        return model

    async def prepare(self, name: str, path: str, *, is_forced: bool = False) -> str:
        """Load a bundle beside the one that answers, and check it; returns its digest.

        Raises BundleError or UsageError, also where its clients would have to change, unless that is forced.
        """
        loaded, slot = await asyncio.to_thread(self._load, name, path), self.slot(name)
        if slot.model and not is_forced:
            _check_signature(slot.model, loaded)
        slot.prepared = loaded
        return loaded.digest

    def switch(self, name: str) -> ServedModel:
        """Let what was prepared answer from now on. The one before answers what it has begun."""
        slot = self.slot(name)
        loaded, before = slot.prepared, slot.model
        if loaded is None:
            raise ValueError(f"nothing is prepared for {name}")
        slot.prepared, slot.refusal = None, ""
        if before and before.digest == loaded.digest:
            return before
        slot.model = ServedModel(name, loaded, self._limits, slot.meter, self._traffic)
        if before:
            drain = asyncio.create_task(_drain(before))
            self._drains.add(drain)
            drain.add_done_callback(self._drains.discard)
        return slot.model

    def refuse(self, name: str, refusal: str) -> None:
        """Forget what was prepared; the model before goes on, and its metadata says why."""
        slot = self.slot(name)
        slot.prepared, slot.refusal = None, refusal

    def _load(self, name: str, path: str) -> LoadedModel:
        loaded = load_model(path)
        if loaded.features is None:
            return loaded
        if self.features is None:
            log.warning("%s has features, and no --store to look them up in: requests must bring them", name)
            return loaded
        return replace(loaded, lookup=self.features.lookup(name, loaded.features, loaded.predictor))

    async def drain(self) -> None:
        """Wait until every request is answered."""
        await asyncio.gather(*(_drain(slot.model) for slot in self if slot.model), *self._drains)


def _check_signature(model: ServedModel, loaded: LoadedModel) -> None:
    if change := explain_change(model.signature, loaded.signature, model.optional, loaded.optional):
        raise UsageError(
            "the new bundle has another signature, so that clients would have to change",
            change,
            "start the server anew with it, give it a name of its own, or load it with the parameter force",
        )


async def _drain(model: ServedModel) -> None:
    while not model.is_idle:
        await asyncio.sleep(DRAIN_LOOK_S)
    model.close()
