"""The statistics of models, as both doors of the Open Inference Protocol tell them."""

from typing import Any

from mlops_kit.modes.online.metrics.counters import SharedCounters
from mlops_kit.modes.online.metrics.counts import count_model
from mlops_kit.modes.online.models import Models
from mlops_kit.modes.online.protocols.oip_statistics import render_statistics


class Statistics:
    """Those of all worker processes."""

    def __init__(self, models: Models, counters: SharedCounters) -> None:
        self._models = models
        self._counters = counters

    def describe(self, name: str = "", version: str = "") -> dict[str, Any]:
        """Of a model, or of all that are loaded, if the name is empty. Raises ModelNotFoundError."""
        found = [self._models.find(name, version)] if name else [slot.model for slot in self._models if slot.model]
        return {
            "model_stats": [
                render_statistics(model.name, model.version, count_model(self._counters, model.name))
                for model in found
            ]
        }
