"""The gRPC door: inference, health and reflection on one port, which several processes may share."""

import asyncio

from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2_grpc

from mlops_kit.errors import UsageError
from mlops_kit.modes.online.grpc.doorkeeper import SERVICE, Doorkeeper
from mlops_kit.modes.online.grpc.health import Health, Readiness
from mlops_kit.modes.online.grpc.http2.server import Http2Server
from mlops_kit.modes.online.grpc.predictions import Predictions
from mlops_kit.modes.online.grpc.proto import messages
from mlops_kit.modes.online.grpc.service import Service
from mlops_kit.modes.online.job import ServeJob
from mlops_kit.modes.online.metrics.counters import ModelMeter, SharedCounters
from mlops_kit.modes.online.models import Models
from mlops_kit.modes.online.prediction_log.log import PredictionLog
from mlops_kit.modes.online.statistics import Statistics


class GrpcDoor:
    """Opens and closes. Made and used on one event loop."""

    def __init__(
        self,
        models: Models,
        job: ServeJob,
        counters: SharedCounters,
        unnamed: ModelMeter,
        predictions: PredictionLog | None = None,
    ) -> None:
        """`unnamed` counts requests of which nobody knows for which model they are, unless there is only one."""
        self._job = job
        meters = [slot.meter for slot in models]
        meter = meters[0] if len(meters) == 1 else unnamed
        self._readiness = Readiness(models, counters, SERVICE)
        predicting = Predictions(models, job.limits, self._readiness, meter, predictions)
        statistics = Statistics(models, counters)
        self._service = Service(models, job.version, self._readiness, statistics, predicting)
        doorkeeper = Doorkeeper(job.keys, meter)
        self._server = Http2Server(job.limits.body_bytes, job.limits.read_timeout_s, doorkeeper)
        self._looking: asyncio.Task[None] | None = None

    @property
    def is_draining(self) -> bool:
        """Whether health says that nothing is ready. What comes is answered all the same, until `stop`."""
        return self._readiness.is_draining

    @is_draining.setter
    def is_draining(self, value: bool) -> None:
        self._readiness.is_draining = value
        self._readiness.look()

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
        self._looking = asyncio.create_task(self._readiness.look_out())

    async def stop(self, grace_s: float) -> None:
        """Tell clients to go elsewhere, and wait until what has begun is answered, for so long at most."""
        if self._looking:
            self._looking.cancel()
        self._readiness.stop()
        await self._server.stop(grace_s)


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
