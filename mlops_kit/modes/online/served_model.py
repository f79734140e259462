"""One model that is being served: the door to it that every protocol takes."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mlops_kit.modes.online.batch import Answer, Feeds
from mlops_kit.modes.online.batcher import Batcher
from mlops_kit.modes.online.limits import Limits
from mlops_kit.modes.online.loaded_model import LoadedModel
from mlops_kit.modes.online.metrics.counters import ModelMeter
from mlops_kit.modes.online.traffic import Traffic
from mlops_kit.schema import Array, Columns


@dataclass(frozen=True, slots=True)
class Request:
    """Assembled rows: the graph's tensors, and how many rows they have."""

    feeds: Feeds
    rows: int


class ServedModel:
    """A predictor with a queue before it. Made and used on one event loop."""

    def __init__(
        self, name: str, loaded: LoadedModel, limits: Limits, meter: ModelMeter, traffic: Traffic
    ) -> None:
        predictor = loaded.predictor
        self.name = name
        self.predictor = predictor
        self.signature = predictor.signature
        self.digest = loaded.digest
        self.version = self.digest.removeprefix("sha256:")[:12]
        """What protocols that have versions call it: the beginning of the digest."""
        self.golden = loaded.golden
        self.loaded_at = time.time()
        self.meter = meter
        self._traffic = traffic
        self._batcher = Batcher(
            predictor.run,
            max_rows=limits.max_batch,
            max_requests=limits.queue,
            max_delay_s=limits.max_delay_s,
            on_run=meter.observe_run,
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
        return Request(self.predictor.assemble_row(row), 1)

    def columns(self, columns: Columns) -> Request:
        """Columns of equal length. Raises MissingColumnsError, ColumnValueError and InputError."""
        feeds = self.predictor.assemble_columns(columns)
        return Request(feeds, len(next(iter(feeds.values()))))

    async def infer(self, request: Request, deadline: float) -> Answer:
        """Raises OverloadedError, DeadlineError, and InputError where the model refuses the rows."""
        if not request.rows:
            return Answer(self.predictor.run(request.feeds, 0), 0.0, 0.0, 0)
        if self._traffic.is_lone and (answer := self._batcher.run_now(request.feeds, request.rows, deadline)):
            return answer
        return await self._batcher.submit(request.feeds, request.rows, deadline)

    def close(self) -> None:
        """Let go of the thread."""
        self._batcher.close()

    def named(self, outputs: Sequence[Array]) -> dict[str, Array]:
        """Outputs by name."""
        return {output.name: values for output, values in zip(self.signature.outputs, outputs, strict=True)}
