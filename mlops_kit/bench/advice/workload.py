"""Who asks, how often, and what they need: what a bench cannot measure."""

import math
from dataclasses import dataclass

from mlops_kit.errors import UsageError


@dataclass(frozen=True, slots=True)
class Workload:
    """- `entities`: for how many predictions may be asked.
    - `active_share`: how many of them show up between two refreshes, above 0 to 1.
    - `requests_per_active`: how often each of those asks in that time, at least once.
    - `refresh_s`: how long until predictions are computed anew; `freshness_s`: how old they may get. 0 is a
      prediction out of what the request itself says.
    - `latency_s`: the 99th percentile that callers can live with.
    - `utilisation`: how much of a server's capacity is used on average. Servers stand by for the peak, whether
      they predict or look up; a batch job uses the whole of its machine, and then gives it back.
    - `storage_price`: of a gigabyte for a month; `write_price`: what a store charges for a million rows, beyond
      the machine's time.

    Raises UsageError for what cannot be.
    """

    entities: int
    active_share: float
    requests_per_active: float
    refresh_s: float
    freshness_s: float
    latency_s: float
    utilisation: float = 0.5
    storage_price: float = 0.1
    write_price: float = 0.0

    def __post_init__(self) -> None:
        limits = {
            "entities": (1, math.inf),
            "active_share": (1e-12, 1),
            "requests_per_active": (1, math.inf),
            "refresh_s": (1e-3, math.inf),
            "freshness_s": (0, math.inf),
            "latency_s": (1e-9, math.inf),
            "utilisation": (1e-6, 1),
            "storage_price": (0, math.inf),
            "write_price": (0, math.inf),
        }
        for name, (least, most) in limits.items():
            value = getattr(self, name)
            if not least <= value <= most or math.isinf(value):
                raise UsageError(f"{name} cannot be {value:g}", f"it is from {least:g} to {most:g}")

    @property
    def active(self) -> float:
        """Entities that show up between two refreshes."""
        return self.entities * self.active_share

    @property
    def requests(self) -> float:
        """Between two refreshes."""
        return self.active * self.requests_per_active
