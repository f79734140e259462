"""The models of a server: found by name, replaced while requests go on."""

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from mlops_kit.errors import BundleError, ModelNotFoundError, NotReadyError, suggestion
from mlops_kit.loading import load
from mlops_kit.modes.online.limits import Limits
from mlops_kit.modes.online.served_model import ServedModel
from mlops_kit.parity import check_goldens
from mlops_kit.predictor import Predictor

DRAIN_LOOK_S = 0.02


@dataclass(slots=True)
class Slot:
    """A name, where its bundles come from, the model that answers, and why the last one was refused."""

    name: str
    reference: str
    model: ServedModel | None = None
    refusal: str = ""
    reloads: int = 0
    failed_reloads: int = 0


class Models:
    """Every name that is served. Used on one event loop."""

    def __init__(self, references: Mapping[str, str], limits: Limits) -> None:
        self._slots = {name: Slot(name, reference) for name, reference in references.items()}
        self._limits = limits
        self._loading = asyncio.Lock()
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

    def find(self, name: str, version: str = "") -> ServedModel:
        """The model that answers to a name. Raises NotReadyError if it is not loaded yet.

        Raises ModelNotFoundError, also for a version that is not served.
        """
        model = self.slot(name).model
        if model is None:
            raise NotReadyError(name)
        if version not in ("", model.version):
            raise ModelNotFoundError(f"{name}, version {version}")
        return model

    async def load(self, name: str, reference: str = "") -> ServedModel:
        """Load a bundle beside the one that answers, check it, and let it answer from then on.

        Raises BundleError or UsageError if it cannot be, and the model before goes on.
        """
        slot = self.slot(name)
        async with self._loading:
            try:
                predictor = await asyncio.to_thread(_load, reference or slot.reference)
            except Exception as error:
                slot.refusal = str(error)
                slot.failed_reloads += 1
                raise
            before, slot.refusal = slot.model, ""
            if before and before.digest == _digest(predictor):
                return before
            slot.model = ServedModel(name, predictor, self._limits)
            slot.reference = reference or slot.reference
            if before:
                slot.reloads += 1
                drain = asyncio.create_task(_drain(before))
                self._drains.add(drain)
                drain.add_done_callback(self._drains.discard)
            return slot.model

    async def drain(self) -> None:
        """Wait until every request is answered."""
        await asyncio.gather(*(_drain(slot.model) for slot in self if slot.model), *self._drains)


def _load(reference: str) -> Predictor:
    predictor = load(Path(reference) if "://" not in reference and ":/" not in reference else reference)
    bundle = predictor.bundle
    comparison = check_goldens(predictor)
    if bundle and not comparison.is_within(bundle.manifest.parity.tolerance):
        raise BundleError("goldens.parquet", "the model does not give its golden answers on this machine")
    return predictor


def _digest(predictor: Predictor) -> str:
    return predictor.bundle.digest if predictor.bundle else ""


async def _drain(model: ServedModel) -> None:
    while not model.is_idle:
        await asyncio.sleep(DRAIN_LOOK_S)
    model.close()
