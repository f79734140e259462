"""The gRPC door: inference, health and reflection on one port, which several processes may share."""

from collections.abc import Sequence
from typing import Any

import grpc
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from mlops_kit.errors import UsageError
from mlops_kit.modes.online.grpc.health import Health, Readiness
from mlops_kit.modes.online.grpc.proto import messages
from mlops_kit.modes.online.grpc.service import SERVICE, Authorize, Metadata, Service
from mlops_kit.modes.online.job import ServeJob
from mlops_kit.modes.online.keys import Keys
from mlops_kit.modes.online.limits import Limits
from mlops_kit.modes.online.models import Models
from mlops_kit.modes.online.prediction_log.log import PredictionLog
from mlops_kit.modes.online.statistics import Statistics

OPEN = ("ServerLive", "ServerReady", "ModelReady")
"""Calls that need no key, as health needs none."""

KEEPALIVE_S = 60
"""A client from which nothing has come for so long is asked whether it is there."""

CLIENT_KEEPALIVE_S = 5
"""Clients may ask as often as that; gRPC's own limit is five minutes, and it cuts those who ask more often."""


class GrpcDoor:
    """Opens and closes. Made and used on one event loop."""

    def __init__(
        self,
        models: Models,
        job: ServeJob,
        statistics: Statistics,
        predictions: PredictionLog | None = None,
    ) -> None:
        self._job = job
        self._readiness = Readiness(models, SERVICE)
        authorize = _authorizer(job.keys) if job.keys.are_needed else None
        self._service = Service(models, job, self._readiness, statistics, authorize, predictions)
        self._server: grpc.aio.Server | None = None

    @property
    def is_draining(self) -> bool:
        """Whether health says that nothing is ready. What comes is answered all the same, until `stop`."""
        return self._readiness.is_draining

    @is_draining.setter
    def is_draining(self, value: bool) -> None:
        self._readiness.is_draining = value

    async def start(self) -> None:
        """Take connections from now on. Raises UsageError if the port cannot be had."""
        server = grpc.aio.server(options=_options(self._job.limits))
        server.add_generic_rpc_handlers((self._service.handlers(),))
        health_pb2_grpc.add_HealthServicer_to_server(Health(self._readiness), server)
        _add_reflection(server)
        host, port = self._job.grpc_address
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        try:
            if self._job.tls:
                server.add_secure_port(address, self._job.tls.grpc_credentials())
            else:
                server.add_insecure_port(address)
        except RuntimeError as error:
            raise UsageError(f"cannot listen on {address}", str(error), "choose another --grpc-port") from error
        await server.start()
        self._server = server

    async def stop(self, grace_s: float) -> None:
        """Tell clients to go elsewhere, and wait until what has begun is answered, for so long at most."""
        self._readiness.is_draining = True
        self._readiness.stopping.set()
        if self._server:
            await self._server.stop(grace_s)


def _authorizer(keys: Keys) -> Authorize:
    def authorize(call: str, metadata: Metadata) -> None:
        if call in OPEN:
            return
        given = dict(metadata)
        key = given.get("x-api-key")
        keys.check(b"Bearer " + _encoded(key) if key else _encoded(given.get("authorization", "")))

    return authorize


def _encoded(value: str | bytes) -> bytes:
    return value.encode() if isinstance(value, str) else value


def _options(limits: Limits) -> Sequence[tuple[str, Any]]:
    """https://grpc.github.io/grpc/core/group__grpc__arg__keys.html says what each of them is."""
    return (
        ("grpc.so_reuseport", 1),
        ("grpc.max_receive_message_length", limits.body_bytes),
        ("grpc.keepalive_time_ms", KEEPALIVE_S * 1000),
        ("grpc.keepalive_timeout_ms", round(limits.read_timeout_s * 1000)),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", CLIENT_KEEPALIVE_S * 1000),
    )


def _add_reflection(server: grpc.aio.Server) -> None:
    """The messages are in a pool of their own, and those of health come to it."""
    pool = DescriptorPool()
    for described in (messages.DESCRIPTOR, health_pb2.DESCRIPTOR):
        proto = FileDescriptorProto()
        described.CopyToProto(proto)
        pool.Add(proto)
    health = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name
    reflection.enable_server_reflection((SERVICE, health, reflection.SERVICE_NAME), server, pool)
