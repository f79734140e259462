"""Models in this process, as a worker has them."""

from pathlib import Path

from mlops_kit.modes.online.limits import Limits
from mlops_kit.modes.online.metrics.counters import ModelMeter, SharedCounters
from mlops_kit.modes.online.models import Models
from mlops_kit.modes.online.traffic import Traffic


def make_models(counters: SharedCounters, limits: Limits) -> Models:
    """Not loaded yet."""
    slot = counters.slot(0)
    meters = {name: ModelMeter(layout, slot) for name, layout in counters.layout.models.items()}
    return Models(meters, limits, Traffic(), ModelMeter(counters.layout.unnamed, slot))


async def load(models: Models, name: str, bundle: Path) -> None:
    """Have it answer with a bundle."""
    await models.prepare(name, str(bundle))
    models.switch(name)
