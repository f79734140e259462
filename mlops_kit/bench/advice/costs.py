"""What the three strategies cost between two refreshes, and where they cost the same.

N entities, of which a share s shows up and asks k times each. A machine costs p per second. The unit costs:

- b, the machine's time for one precomputed and stored row: p / (rows/s of the batch job into the store)
- w, what the store charges for a row written
- g, keeping one row until the next refresh: bytes * price of a byte-second * refresh
- l, one look-up: p / (look-ups/s of a machine * its utilisation)
- o, one prediction when asked: p / (requests/s of a server * its utilisation)

Per entity, the strategies cost:

- batch   B = b + w + 2g + s·k·l. Everybody is predicted and stored; the generation before is kept, too, so that
  one can go back; every request looks up.
- online  O = s·k·o. Nothing is stored, every request predicts.
- cache   C = s·k·l + s·(o + l + w + g). Every request looks up; the first of each active entity finds nothing,
  predicts, and stores the answer, which takes the store about what a look-up takes.

Batch is as cheap as online where B = O, thus at the coverage s = (b + w + 2g) / (k·(o - l)). It is as cheap as the
cache where B = C, thus at s = (b + w + 2g) / (o + l + w + g), however often each asks. Above the larger of both,
batch is the cheapest: there is one number to compare the coverage with. If l ≥ o, looking up costs more than
predicting, and nothing that is stored ever pays.

The cache is as cheap as online where C = O, thus at k = (o + l + w + g) / (o - l) requests for each active
entity, however many of them there are.
"""

from dataclasses import dataclass

from mlops_kit.bench.advice.workload import Workload

GENERATIONS = 2
"""The one that is read, and the one before."""


@dataclass(frozen=True, slots=True)
class UnitCosts:
    """b, w, g, l and o, as above."""

    precompute: float
    write: float
    keep: float
    lookup: float
    online: float

    @property
    def stored_ahead(self) -> float:
        """What an entity costs that is precomputed, whether or not it shows up: b + w + 2g."""
        return self.precompute + self.write + GENERATIONS * self.keep

    @property
    def first_use(self) -> float:
        """What an active entity costs a cache beyond its look-ups: o + l + w + g."""
        return self.online + self.lookup + self.write + self.keep


def batch_cost(workload: Workload, unit: UnitCosts) -> float:
    """N · B."""
    return workload.entities * unit.stored_ahead + workload.requests * unit.lookup


def online_cost(workload: Workload, unit: UnitCosts) -> float:
    """N · O."""
    return workload.requests * unit.online


def cache_cost(workload: Workload, unit: UnitCosts) -> float:
    """N · C."""
    return workload.requests * unit.lookup + workload.active * unit.first_use


def break_even_coverage(unit: UnitCosts, requests_per_active: float, *, with_cache: bool = True) -> float | None:
    """The share of entities from which on precomputing for everybody is the cheapest; None if it never is.

    max(B = O, B = C) = (b + w + 2g) / min(k·(o - l), o + l + w + g); where a cache is out of the question, B = O.

    >>> unit = UnitCosts(precompute=1, write=0, keep=0, lookup=1, online=6)
    >>> break_even_coverage(unit, requests_per_active=1), break_even_coverage(unit, requests_per_active=10)
    (0.2, 0.14285714285714285)
    """
    saved = requests_per_active * (unit.online - unit.lookup)
    if with_cache:
        saved = min(saved, unit.first_use)
    if saved <= 0 or unit.stored_ahead > saved:
        return None
    return unit.stored_ahead / saved


def break_even_requests(unit: UnitCosts) -> float | None:
    """How often an active entity must ask until keeping its answer pays; None if that never does.

    (o + l + w + g) / (o - l)

    >>> break_even_requests(UnitCosts(precompute=1, write=0, keep=0, lookup=1, online=6))
    1.4
    """
    saved = unit.online - unit.lookup
    return unit.first_use / saved if saved > 0 else None
