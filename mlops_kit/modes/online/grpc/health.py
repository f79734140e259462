"""Whether models answer, and the standard health service that says so.

https://github.com/grpc/grpc/blob/master/doc/health-checking.md
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import grpc
from grpc_health.v1 import health_pb2

from mlops_kit.modes.online.models import Models

LOOK_S = 0.1
"""How often those who watch are looked after."""

Status = health_pb2.HealthCheckResponse


class Readiness:
    """Of the server and of each model."""

    def __init__(self, models: Models, service: str) -> None:
        self._models = models
        self._service = service
        self.is_draining = False
        self.stopping = asyncio.Event()

    @property
    def is_ready(self) -> bool:
        """Whether everything is loaded, and goes on."""
        return self._models.is_ready and not self.is_draining

    def of(self, name: str) -> bool | None:
        """Of a model; of the server, if the name is empty or the service's. None for one that is not there."""
        if name in ("", self._service):
            return self.is_ready
        known = {slot.name: slot.model is not None for slot in self._models}
        return known[name] and not self.is_draining if name in known else None


class Health:
    """Looks when it is asked, so that what it says is true."""

    def __init__(self, readiness: Readiness) -> None:
        self._readiness = readiness

    async def Check(  # noqa: N802 - the service's name for it
        self, request: health_pb2.HealthCheckRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> health_pb2.HealthCheckResponse:
        """Of the server, or of a model."""
        status = self._status(request.service)
        if status == Status.SERVICE_UNKNOWN:
            await context.abort(grpc.StatusCode.NOT_FOUND, "there is no model or service of this name")
        return Status(status=status)

    async def Watch(  # noqa: N802 - the service's name for it
        self, request: health_pb2.HealthCheckRequest, _context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[health_pb2.HealthCheckResponse]:
        """Each time that it changes, until the server stops."""
        said = None
        stopping = self._readiness.stopping
        while True:
            is_last = stopping.is_set()
            status = self._status(request.service)
            if status != said:
                yield Status(status=status)
                said = status
            if is_last:
                return
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), LOOK_S)

    def _status(self, name: str) -> int:
        is_ready = self._readiness.of(name)
        known: int = Status.SERVING if is_ready else Status.NOT_SERVING
        return Status.SERVICE_UNKNOWN if is_ready is None else known
