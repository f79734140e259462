"""What is counted of a look-up."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from mlops_kit.schema import Array


@dataclass(frozen=True, slots=True)
class Lookups:
    """Those of one run: `requests` were looked up in `seconds`. `is_missing` and `age_us` are by source, of shape
    (rows,). `degraded`: requests that got defaults because the store did not answer; `failed`: look-ups that it
    did not answer.
    """

    seconds: float = 0.0
    requests: int = 0
    is_missing: Mapping[str, Array] = field(default_factory=dict)
    age_us: Mapping[str, Array] = field(default_factory=dict)
    degraded: int = 0
    failed: int = 0
