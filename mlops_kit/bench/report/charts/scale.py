"""From values to places, and round numbers for the axis."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

FEW, MORE, MANY = (1.0,), (1.0, 2.0, 5.0), (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0)
MOST_TICKS = 7


@dataclass(frozen=True, slots=True)
class LogScale:
    """Powers of ten have equal distances; `start` and `end` are where `low` and `high` are drawn."""

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        """The place of a value, at the border for one beyond it."""
        share = (math.log(max(value, self.low)) - math.log(self.low)) / (math.log(self.high) - math.log(self.low))
        return self.start + min(1.0, share) * (self.end - self.start)

    def ticks(self) -> list[float]:
        """Round numbers, and not too many of them.

        >>> LogScale(1100, 2700, 0, 1).ticks()
        [1500, 2000]
        >>> LogScale(0.5, 30, 0, 1).ticks()
        [0.5, 1, 2, 5, 10, 20]
        >>> LogScale(0.001, 10_000, 0, 1).ticks()
        [0.01, 1, 100, 10000]
        """
        first, last = math.floor(math.log10(self.low)), math.ceil(math.log10(self.high))
        for steps, every in ((MANY, 1), (MORE, 1), (FEW, 1), (FEW, 2), (FEW, 3)):
            powers = range(first - first % every, last + 1, every)
            found = [step * 10.0**power for power in powers for step in steps]
            inside = [_clean(tick) for tick in found if self.low <= tick * 1.0001 and tick <= self.high * 1.0001]
            if len(inside) <= MOST_TICKS:
                return inside
        return inside


def log_scale(values: Sequence[float], start: float, end: float) -> LogScale:
    """Around all of the values, with some space at both sides."""
    low, high = min(values), max(values)
    room = max(1.15, (high / low) ** 0.06)
    return LogScale(low / room, high * room, start, end)


def _clean(tick: float) -> float:
    rounded = float(f"{tick:.2g}")
    return int(rounded) if rounded >= 1 else rounded
