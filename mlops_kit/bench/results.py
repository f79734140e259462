"""What a bench found, as data: the document that --json writes, the report shows and `compare` reads.

Latencies are seconds, rates are rows or requests per second, money is in whatever --price-per-hour was given in.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

SCHEMA: Final = 1


@dataclass(frozen=True, slots=True)
class Machine:
    """Where it was measured. `limits` are those of the process: of memory, of CPU (cgroups), of open files.
    `load_average` is that of the minute before: other work on the same cores makes every number worse.
    """

    cpu: str
    cores: int
    memory_bytes: int
    system: str
    limits: Mapping[str, str]
    versions: Mapping[str, str]
    load_average: float | None = None


@dataclass(frozen=True, slots=True)
class Estimate:
    """The median of the repetitions, and a 95 % confidence interval by bootstrap. `samples` has each repetition's
    value, in the order of measuring.
    """

    value: float
    low: float
    high: float
    samples: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Distribution:
    """Latencies of answered requests, in seconds, counted from when each was scheduled.

    - `percentiles`: name ("p50", "p90", …) → estimate; only those that enough requests support.
    - `counts` and `edges_s`: a histogram; counts[i] requests took between edges_s[i] and edges_s[i + 1].
    """

    requests: int
    percentiles: Mapping[str, Estimate]
    edges_s: tuple[float, ...]
    counts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Point:
    """One offered rate of an open-loop search: what was offered and, soon enough, answered per second, and how
    late. A request that failed is later than any other: percentiles are None where they fall among those.
    """

    offered: float
    goodput: float
    p50_s: float | None
    p99_s: float | None
    errors: int
    is_within_slo: bool


@dataclass(frozen=True, slots=True)
class Measurement:
    """One scenario of one mode.

    - `mode`: "batch", "lookup", "online-rest", "online-grpc", …; `scenario`: "single-stream", "multi-stream",
      "server" or "offline".
    - `rate`: rows per second (offline), requests per second answered in time else; for "server" the largest that
      meets the objective.
    - `stages_s`: mean seconds per request by stage, which together are the mean latency. "send" is from when a
      request was due until the client sent it; queue, assemble and model are as the mode itself reports them;
      "rest" is what is left of the time until the answer: protocols, network, both sides' event loops.
    - `errors`: requests that failed or timed out, by what happened.
    - `client_cpu`: the load client's own use of its core, 0 to 1; `client_limit`: requests/s that the same client
      reaches against a server that does nothing. `notes`: what limits what may be claimed.
    - `peak_memory_bytes`: the most that the mode's processes took; `peak_memory_samples`: of each run of a
      command, or the one of a server that all repetitions have asked.
    - `stored_bytes_per_row`: for offline into a store, what it takes there. `start_s`: for offline, what starting
      the command takes, which no rate counts.
    """

    mode: str
    scenario: str
    rate: Estimate
    latency: Distribution | None
    points: tuple[Point, ...]
    stages_s: Mapping[str, float]
    errors: Mapping[str, int]
    peak_memory_bytes: int | None
    client_cpu: float | None
    client_limit: float | None
    notes: tuple[str, ...] = ()
    stored_bytes_per_row: float | None = None
    start_s: float | None = None
    peak_memory_samples: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Parity:
    """Whether all modes gave the same answers. `mismatches`: mode → rows that differ, bit for bit; `first`
    describes the first of them.
    """

    rows: int
    modes: tuple[str, ...]
    mismatches: Mapping[str, int]
    first: str


@dataclass(frozen=True, slots=True)
class BenchResult:
    """The whole document. `is_quick`: a first picture, from which little may be claimed. `notes`: what limits all
    of it.
    """

    bundle: str
    digest: str
    machine: Machine
    started_at: str
    seconds: float
    slo_s: float
    price_per_hour: float
    is_quick: bool
    measurements: tuple[Measurement, ...]
    parity: Parity
    schema: int = SCHEMA
    notes: tuple[str, ...] = ()
