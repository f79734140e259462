"""The gRPC door: inference, health and reflection on one port, which several processes may share."""

import socket
import ssl

from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2_grpc

from mlops_kit.errors import UsageError
from mlops_kit.modes.online.grpc.health import Health, Readiness
from mlops_kit.modes.online.grpc.http2.server import Http2Server
from mlops_kit.modes.online.grpc.proto import messages
from mlops_kit.modes.online.grpc.service import SERVICE, Authorize, Service, Statistics
from mlops_kit.modes.online.limits import Limits
from mlops_kit.modes.online.models import Models


class GrpcDoor:
    """Opens and closes. Made and used on one event loop."""

    def __init__(
        self,
        models: Models,
        limits: Limits,
        version: str,
        authorize: Authorize | None = None,
        statistics: Statistics | None = None,
    ) -> None:
        self._limits = limits
        self._readiness = Readiness(models, SERVICE)
        self._service = Service(models, limits, version, self._readiness, authorize, statistics)
        self._server = Http2Server(limits.body_bytes, limits.read_timeout_s)

    @property
    def is_draining(self) -> bool:
        """Whether health says that nothing is ready. What comes is answered all the same, until `stop`."""
        return self._readiness.is_draining

    @is_draining.setter
    def is_draining(self, value: bool) -> None:
        self._readiness.is_draining = value

    async def start(self, host: str, port: int, tls: ssl.SSLContext | None = None) -> int:
        """Take connections from now on; returns the port. Raises UsageError if it cannot be had."""
        self._server.add_generic_rpc_handlers((self._service.handlers(),))
        health_pb2_grpc.add_HealthServicer_to_server(Health(self._readiness), self._server)
        _add_reflection(self._server)
        try:
            return await self._server.listen(host, port, tls)
        except OSError as error:
            why = error.strerror or str(error)
            raise UsageError(f"cannot listen on {host}:{port}", why, "choose another --grpc-port") from error

    async def stop(self, grace_s: float) -> None:
        """Tell clients to go elsewhere, and wait until what has begun is answered, for so long at most."""
        self._readiness.is_draining = True
        self._readiness.stopping.set()
        await self._server.stop(grace_s)


def reserve(host: str, port: int) -> socket.socket:
    """Hold a port for the processes that will listen on it; port 0 is any that is free.

    Raises UsageError if somebody else has it: sharing a port needs no consent of those who have it already.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
        held = socket.socket(family, kind, protocol)
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        held.bind(address)
    except OSError as error:
        why = error.strerror or str(error)
        raise UsageError(f"cannot listen on {host}:{port}", why, "choose another --grpc-port") from error
    return held


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
