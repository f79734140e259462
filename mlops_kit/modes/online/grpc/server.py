"""The gRPC door: inference, health and reflection on one port, which several processes may share."""

from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2_grpc

from mlops_kit.errors import UsageError
from mlops_kit.modes.online.grpc.health import Health, Readiness
from mlops_kit.modes.online.grpc.http2.server import Http2Server
from mlops_kit.modes.online.grpc.proto import messages
from mlops_kit.modes.online.grpc.service import SERVICE, Authorize, Metadata, Service
from mlops_kit.modes.online.job import ServeJob
from mlops_kit.modes.online.keys import Keys
from mlops_kit.modes.online.models import Models
from mlops_kit.modes.online.prediction_log.log import PredictionLog
from mlops_kit.modes.online.statistics import Statistics

OPEN = ("ServerLive", "ServerReady", "ModelReady")
"""Calls that need no key, as health needs none."""


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
        self._server = Http2Server(job.limits.body_bytes, job.limits.read_timeout_s)

    @property
    def is_draining(self) -> bool:
        """Whether health says that nothing is ready. What comes is answered all the same, until `stop`."""
        return self._readiness.is_draining

    @is_draining.setter
    def is_draining(self, value: bool) -> None:
        self._readiness.is_draining = value

    async def start(self) -> None:
        """Take connections from now on. Raises UsageError if the port cannot be had."""
        self._server.add_generic_rpc_handlers((self._service.handlers(),))
        health_pb2_grpc.add_HealthServicer_to_server(Health(self._readiness), self._server)
        _add_reflection(self._server)
        host, port = self._job.grpc_address
        try:
            await self._server.listen(host, port, self._job.tls.context("h2") if self._job.tls else None)
        except OSError as error:
            why = error.strerror or str(error)
            raise UsageError(f"cannot listen on {host}:{port}", why, "choose another --grpc-port") from error

    async def stop(self, grace_s: float) -> None:
        """Tell clients to go elsewhere, and wait until what has begun is answered, for so long at most."""
        self._readiness.is_draining = True
        self._readiness.stopping.set()
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


def _add_reflection(server: Http2Server) -> None:
    """The messages are in a pool of their own, and those of health come to it."""
    pool = DescriptorPool()
    for described in (messages.DESCRIPTOR, health_pb2.DESCRIPTOR):
        proto = FileDescriptorProto()
        described.CopyToProto(proto)
        pool.Add(proto)
    health = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name
    servicer = reflection.aio.ReflectionServicer((SERVICE, health, reflection.SERVICE_NAME), pool)
    reflection_pb2_grpc.add_ServerReflectionServicer_to_server(servicer, server)
