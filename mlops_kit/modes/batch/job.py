"""What a batch run is asked to do, what it tells meanwhile, and what it has done."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True)
class BatchJob:
    """A request to score `input` and to publish the predictions at `out`.

    - `input`: a Parquet, CSV or NDJSON file, a folder of them, or a glob; a database's URL; or "-", an Arrow IPC
      stream on stdin. `sql` is a query in that database, or in DuckDB where there is no `input`.
    - `memory_bytes`: what DuckDB may take for sorts and joins before it spills to disk, and features likewise.
    - `out`: a folder, a table's URL, or "-", an Arrow IPC stream on stdout.
    - `keep`: columns of the input to pass through; `key`, some of them, by which predictions are looked up.
    - `time`: the column with the time as of which features are computed; None for the only one of timestamps.
    - `errors`: where the bad rows go; `most_bad` the share of them, from 0 to 1, above which nothing is published.
    - `engine`: "local", with so many `threads`; or "spark", on a Spark `master` or a Spark Connect server.
    - `allow_empty`: whether predictions of no rows at all may take the place of others.
    - `work`: where runs keep their state if `out` is no folder.
    """

    bundle: str | Path
    input: str
    out: str
    keep: tuple[str, ...] = ()
    key: tuple[str, ...] = ()
    where: str | None = None
    sql: str = ""
    memory_bytes: int = 2**29
    time: str | None = None
    errors: Path | None = None
    stops_at_bad_row: bool = False
    most_bad: float = 0.01
    engine: str = "local"
    master: str = "local[*]"
    threads: int | None = None
    fresh: bool = False
    keep_generations: int = 2
    allow_empty: bool = False
    work: Path = Path(".mlkit/batch")
    password: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class BatchReport:
    """What a batch run did. `rows` are those of the generation, `scored_rows` those that this run predicted.

    `is_new` is false where there was nothing to do. `peak_memory` is in bytes. `notes`: what features are computed
    without, and why.
    """

    out: str
    generation: str
    digest: str
    rows: int
    bad_rows: int
    errors: Path | None
    units: int
    units_skipped: int
    is_new: bool
    scored_rows: int = 0
    seconds: float = 0.0
    peak_memory: int = 0
    notes: tuple[str, ...] = ()

    @property
    def rows_per_s(self) -> float:
        """What this run predicted itself, over all the time that it took."""
        return self.scored_rows / self.seconds if self.seconds else 0.0


class Watcher(Protocol):
    """Somebody who watches a run, and may stop it."""

    def stage(self, name: str, total_rows: int | None) -> None:
        """Another part of the work begins; None where nobody knows how much it is."""

    def advance(self, rows: int) -> None:
        """Rows of this stage are done."""

    def should_stop(self) -> bool:
        """Whether the run is to save what is running and to end."""
