"""Models in this process, as a worker has them."""

from pathlib import Path

from mlops_kit.modes.online.limits import Limits
from mlops_kit.modes.online.metrics.counters import ModelMeter, SharedCounters
from mlops_kit.modes.online.metrics.layout import Layout
from mlops_kit.modes.online.models import Models
from mlops_kit.modes.online.traffic import Traffic


def make_models(*names: str, limits: Limits) -> Models:
    """Not loaded yet."""
    counters = SharedCounters(Layout(names), 2)
    slot = counters.slot(0)
    return Models({name: ModelMeter(counters.layout.models[name], slot) for name in names}, limits, Traffic())


async def load(models: Models, name: str, bundle: Path) -> None:
    """Have it answer with a bundle."""
    await models.prepare(name, str(bundle))
    models.switch(name)
