"""Keys with very many events in a window that has no hop: each question reads them all."""

from typing import Final

import polars as pl

from mlops_kit.features.definition.feature_set import EventSource, FeatureSet
from mlops_kit.features.history import open_history
from mlops_kit.features.values import times_us

MANY: Final = 100_000


def warn_of_heavy_keys(features: FeatureSet) -> tuple[str, ...]:
    """A sentence for each source whose largest window without a hop has very many events of some key."""
    return tuple(text for source in features.events if source.history for text in _warn(source, features))


def _warn(source: EventSource, features: FeatureSet) -> list[str]:
    mine = [one for one in features.windows if one.source == source.name and not one.hop_us]
    if not mine:
        return []
    largest = max(mine, key=lambda feature: feature.window_us)
    found = _events_in_window(source, largest.window_us)
    if found < MANY:
        return []
    days, hours = divmod(largest.window_us // 3_600_000_000, 24)
    window = f"{days} days" if days else f"{hours} hours"
    return [
        f"{largest.name!r} looks at about {found:,} events of one key of {source.name!r} in its {window}, each "
        "time: give the window a hop, and it looks at a few sums instead"
    ]


def _events_in_window(source: EventSource, window_us: int) -> int:
    """About how many events the busiest key has in a window: as if they were spread evenly."""
    files = [path for path, _ in open_history(source.name, source.history).files]
    time, key = pl.col(source.time), [part.column for part in source.key]
    counted = pl.scan_parquet(files).group_by(key).agg(rows=pl.len(), first=time.min(), last=time.max())
    busiest = counted.sort("rows", descending=True).head(1).collect(engine="streaming")
    if not len(busiest):
        return 0
    first, last = times_us(busiest["first"])[0] or 0, times_us(busiest["last"])[0] or 0
    return int(busiest["rows"][0] * min(1.0, window_us / max(last - first, 1)))
