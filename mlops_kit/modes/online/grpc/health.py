"""Whether models answer, and the standard health service that says so.

https://github.com/grpc/grpc/blob/master/doc/health-checking.md
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
from grpc_health.v1 import health_pb2

from mlops_kit.modes.online.metrics.counters import SharedCounters
from mlops_kit.modes.online.models import Models

LOOK_S = 0.1
"""How often it is looked whether something has changed, once for all who watch: other workers tell nobody."""

Status = health_pb2.HealthCheckResponse


class Readiness:
    """Of the server and of each model, as HTTP tells it."""

    def __init__(self, models: Models, counters: SharedCounters, service: str) -> None:
        self._models = models
        self._counters = counters
        self._names = ("", service, *(slot.name for slot in models))
        self._servers = frozenset(("", service))
        self._change = asyncio.Event()
        self.is_draining = self.is_stopping = False
        self.seen: dict[str, bool] = {}
        """By name, when it was last looked."""

    @property
    def is_ready(self) -> bool:
        """Whether every model answers in every worker, and goes on."""
        return self._models.is_ready and self._counters.are_workers_ready() and not self.is_draining

    def of(self, name: str) -> bool | None:
        """Of a model; of the server, if the name is empty or the service's. None for one that is not there."""
        if name in self._servers:
            return self.is_ready
        if name not in self._names:
            return None
        return self._models.slot(name).model is not None and not self.is_draining

    def stop(self) -> None:
        """Tell those who watch that nothing is ready any more, and that they hear no more."""
        self.is_draining = self.is_stopping = True
        self.look()
        self._wake()

    def look(self) -> None:
        """Wake those who watch if something has changed."""
        now = {name: bool(self.of(name)) for name in self._names}
        if now != self.seen:
            self.seen = now
            self._wake()

    async def look_out(self) -> None:
        """Run for ever."""
        while True:
            self.look()
            await asyncio.sleep(LOOK_S)

    def next_change(self) -> asyncio.Event:
        """Is set once `seen` is another, or nothing more will be."""
        return self._change

    def _wake(self) -> None:
        self._change.set()
        self._change = asyncio.Event()


class Health:
    """Looks when it is asked, so that what it says is true."""

    def __init__(self, readiness: Readiness) -> None:
        self._readiness = readiness

    async def Check(  # noqa: N802 - the service's name for it
        self, request: health_pb2.HealthCheckRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> health_pb2.HealthCheckResponse:
        """Of the server, or of a model."""
        status = _status(self._readiness.of(request.service))
        if status == Status.SERVICE_UNKNOWN:
            await context.abort(grpc.StatusCode.NOT_FOUND, "there is no model or service of this name")
        return Status(status=status)

    async def List(  # noqa: N802 - the service's name for it
        self, _request: Any, _context: grpc.aio.ServicerContext[Any, Any]
    ) -> Any:
        """Of the server and of every model. Newer versions of the protocol's package have it, and ask for it."""
        self._readiness.look()
        statuses = {name: Status(status=_status(is_ready)) for name, is_ready in self._readiness.seen.items()}
        return health_pb2.HealthListResponse(statuses=statuses)

    async def Watch(  # noqa: N802 - the service's name for it
        self, request: health_pb2.HealthCheckRequest, _context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[health_pb2.HealthCheckResponse]:
        """Each time that it changes, until the server stops."""
        self._readiness.look()
        said, is_last = None, False
        while not is_last:
            is_last, change = self._readiness.is_stopping, self._readiness.next_change()
            status = _status(self._readiness.seen.get(request.service))
            if status != said:
                yield Status(status=status)
                said = status
            if not is_last:
                await change.wait()


def _status(is_ready: bool | None) -> int:
    known: int = Status.SERVING if is_ready else Status.NOT_SERVING
    return Status.SERVICE_UNKNOWN if is_ready is None else known
