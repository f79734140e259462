"""Health and reflection of a running server, with the standard clients."""

import grpc
import numpy as np
import pytest
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from tests.modes.online.server import serving

SERVICE = "inference.GRPCInferenceService"
Status = health_pb2.HealthCheckResponse


@pytest.mark.parametrize("name", ["", SERVICE, "tiny", "echo"])
def test_what_is_ready_is_serving(channel: grpc.Channel, name: str) -> None:
    health = health_pb2_grpc.HealthStub(channel)
    assert health.Check(health_pb2.HealthCheckRequest(service=name)).status == Status.SERVING


def test_what_is_unknown_is_not_found(channel: grpc.Channel) -> None:
    health = health_pb2_grpc.HealthStub(channel)
    unknown = health_pb2.HealthCheckRequest(service="tinny")
    with pytest.raises(grpc.RpcError) as caught:
        health.Check(unknown)
    watching = health.Watch(unknown)
    assert caught.value.code() == grpc.StatusCode.NOT_FOUND
    assert next(watching).status == Status.SERVICE_UNKNOWN
    watching.cancel()


def test_a_client_that_knows_only_reflection_can_ask_for_predictions(channel: grpc.Channel) -> None:
    database = ProtoReflectionDescriptorDatabase(channel)
    assert set(database.get_services()) >= {SERVICE, "grpc.health.v1.Health"}
    pool = DescriptorPool(database)
    method = pool.FindServiceByName(SERVICE).methods_by_name["ModelInfer"]
    Request, Response = GetMessageClass(method.input_type), GetMessageClass(method.output_type)
    call = channel.unary_unary(f"/{SERVICE}/ModelInfer", Request.SerializeToString, Response.FromString)
    inputs = [{"name": "x", "datatype": "FP32", "shape": [1, 80], "contents": {"fp32_contents": np.ones(80)}}]
    answer = call(Request(model_name="tiny", inputs=inputs))
    assert list(answer.outputs[0].contents.fp32_contents) == [sum(range(80))]
    assert pool.FindServiceByName("grpc.health.v1.Health")


def test_sigterm_is_told_to_those_who_watch_and_ends_the_server_with_0(tiny: object) -> None:
    with serving(tiny) as server, grpc.insecure_channel(server.grpc_address) as channel:
        watching = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(service="tiny"))
        assert next(watching).status == Status.SERVING
        code, said = server.stop()
        assert [answer.status for answer in watching] == [Status.NOT_SERVING]
    assert code == 0, said
