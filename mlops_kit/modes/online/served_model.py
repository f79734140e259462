"""One model that is being served: the door to it that every protocol takes."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlops_kit.modes.online.batch import Answer, Feeds
from mlops_kit.modes.online.batcher import Batcher
from mlops_kit.modes.online.features.as_of import NAME, parse_as_of
from mlops_kit.modes.online.limits import Limits
from mlops_kit.modes.online.loaded_model import LoadedModel
from mlops_kit.modes.online.metrics.counters import ModelMeter
from mlops_kit.modes.online.traffic import Traffic
from mlops_kit.schema import Array, Columns

if TYPE_CHECKING:
    from mlops_kit.modes.online.features.asked import Asked
    from mlops_kit.modes.online.features.lookup import Lookup


@dataclass(frozen=True, slots=True)
class Request:
    """Assembled rows: the graph's tensors, and how many rows they have; or what is `asked` of a model whose
    features are yet to be looked up.
    """

    feeds: Feeds
    rows: int
    asked: "Asked | None" = None

    @property
    def degraded(self) -> Sequence[str]:
        """The sources whose features have defaults, because the store did not answer."""
        return self.asked.degraded if self.asked else ()

    @property
    def tensors(self) -> Feeds:
        """What the model got, once it has answered."""
        return self.asked.tensors() if self.asked else self.feeds


class ServedModel:
    """A predictor with a queue before it. Made and used on one event loop."""

    def __init__(
        self, name: str, loaded: LoadedModel, limits: Limits, meter: ModelMeter, traffic: Traffic
    ) -> None:
        predictor = loaded.predictor
        self.name = name
        self.predictor = predictor
        self.lookup = lookup = loaded.lookup
        self.signature = loaded.signature
        self.optional = loaded.optional
        self.needed = [column for column in self.signature.columns if column.name not in self.optional]
        self.needed_names = [column.name for column in self.needed]
        self.digest = loaded.digest
        self.version = self.digest.removeprefix("sha256:")[:12]
        """What protocols that have versions call it: the beginning of the digest."""
        self.golden = lookup.columns.example(loaded.golden) if lookup else loaded.golden
        self.loaded_at = time.time()
        self.meter = meter
        self._traffic = traffic
        self._batcher = Batcher(
            lookup.run if lookup else predictor.run,
            max_rows=limits.max_batch,
            max_requests=limits.queue,
            max_delay_s=limits.max_delay_s,
            prepare=lookup.prepare if lookup else None,
            on_run=self._note_run,
        )

    @property
    def queued(self) -> int:
        """Requests that wait."""
        return self._batcher.queued

    @property
    def is_idle(self) -> bool:
        """Whether no request waits or runs."""
        return self._batcher.is_idle

    def admit(self) -> None:
        """Raises OverloadedError while too many requests wait."""
        self._batcher.admit()

    def row(self, row: Mapping[str, Any]) -> Request:
        """One row of Python values. Raises MissingColumnsError and ColumnValueError."""
        if self.lookup:
            return _asking(self.lookup, self.lookup.requests.row(row))
        return Request(self.predictor.assemble_row(row), 1)

    def columns(self, columns: Columns) -> Request:
        """Columns of equal length. Raises MissingColumnsError, ColumnValueError and InputError."""
        if self.lookup:
            return _asking(self.lookup, self.lookup.requests.columns(columns))
        feeds = self.predictor.assemble_columns(columns)
        return Request(feeds, len(next(iter(feeds.values()))))

    def set_time(self, request: Request, parameters: Mapping[str, Any]) -> None:
        """As of when a request is asked, if its parameters say so. Raises InputError. Other models ignore it."""
        if self.lookup and request.asked and (value := parameters.get(NAME)) is not None:
            request.asked.as_of_us = parse_as_of(value, is_taken=self.lookup.takes_request_time)
            request.asked.is_timed = True

    async def infer(self, request: Request, deadline: float, at_us: int) -> Answer:
        """`at_us` is when the request began, in microseconds since 1970.

        Raises OverloadedError, DeadlineError, FeaturesUnavailableError, and InputError where the model refuses the
        rows.
        """
        if not request.rows:
            return Answer(self.predictor.run(request.feeds, 0), 0.0, 0.0, 0)
        if (asked := request.asked) is not None:
            if not asked.is_timed:
                asked.as_of_us = at_us
            looked_up = await self._batcher.submit(request.feeds, request.rows, deadline)
            looked_up.model_s -= asked.made_s
            return looked_up
        if self._traffic.is_lone and (answer := self._batcher.run_now(request.feeds, request.rows, deadline)):
            return answer
        return await self._batcher.submit(request.feeds, request.rows, deadline)

    def close(self) -> None:
        """Let go of the thread."""
        self._batcher.close()

    def named(self, outputs: Sequence[Array]) -> dict[str, Array]:
        """Outputs by name."""
        return {output.name: values for output, values in zip(self.signature.outputs, outputs, strict=True)}

    def _note_run(self, rows: int, seconds: float) -> None:
        self.meter.observe_run(rows, seconds)
        while self.lookup and self.lookup.done:
            self.meter.sources.observe(self.lookup.done.popleft())


def _asking(lookup: "Lookup", asked: "Asked") -> Request:
    return Request(lookup.feeds(asked), asked.rows, asked)
