"""The calls of `inference.GRPCInferenceService`."""

import logging
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import grpc
from google.protobuf.json_format import ParseDict
from google.protobuf.message import Message

from mlops_kit.errors import MlkitError
from mlops_kit.modes.online.grpc.doorkeeper import SERVICE
from mlops_kit.modes.online.grpc.failures import BUG, code_of, details_of
from mlops_kit.modes.online.grpc.health import Readiness
from mlops_kit.modes.online.grpc.parsing import Asked, parse
from mlops_kit.modes.online.grpc.predictions import Context, Predictions
from mlops_kit.modes.online.grpc.proto import messages
from mlops_kit.modes.online.models import Models
from mlops_kit.modes.online.protocols import oip_rest
from mlops_kit.modes.online.statistics import Statistics

log = logging.getLogger("mlkit.serve")

Answerer: TypeAlias = Callable[[bytes, Context], Awaitable[Message]]


class Service:
    """Answers calls. Used on one event loop."""

    def __init__(
        self,
        models: Models,
        version: str,
        readiness: Readiness,
        statistics: Statistics,
        predictions: Predictions,
    ) -> None:
        self._models = models
        self._version = version
        self._readiness = readiness
        self._statistics = statistics
        self._predictions = predictions

    def handlers(self) -> grpc.GenericRpcHandler:
        """What gRPC calls."""
        calls: dict[str, Answerer] = {
            "ServerLive": _reading(messages.ServerLiveRequest, self._server_live),
            "ServerReady": _reading(messages.ServerReadyRequest, self._server_ready),
            "ModelReady": _reading(messages.ModelReadyRequest, self._model_ready),
            "ServerMetadata": _reading(messages.ServerMetadataRequest, self._server_metadata),
            "ModelMetadata": _reading(messages.ModelMetadataRequest, self._model_metadata),
            "ModelInfer": self._predictions.infer,
            "ModelStatistics": _reading(messages.ModelStatisticsRequest, self._model_statistics),
            "RepositoryIndex": _reading(messages.RepositoryIndexRequest, self._repository_index),
        }
        handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
            name: grpc.unary_unary_rpc_method_handler(_guarded(name, call)) for name, call in calls.items()
        }
        handlers["ModelStreamInfer"] = grpc.stream_stream_rpc_method_handler(self._predictions.stream)
        return grpc.method_handlers_generic_handler(SERVICE, handlers)

    def _server_live(self, _asked: messages.ServerLiveRequest) -> Message:
        return messages.ServerLiveResponse(live=True)

    def _server_ready(self, _asked: messages.ServerReadyRequest) -> Message:
        return messages.ServerReadyResponse(ready=self._readiness.is_ready)

    def _model_ready(self, asked: messages.ModelReadyRequest) -> Message:
        if self._models.slot(asked.name).model:
            self._models.find(asked.name, asked.version)
        return messages.ModelReadyResponse(ready=self._readiness.of(asked.name) or False)

    def _server_metadata(self, _asked: messages.ServerMetadataRequest) -> Message:
        return messages.ServerMetadataResponse(name="mlkit", version=self._version, extensions=["statistics"])

    def _model_metadata(self, asked: messages.ModelMetadataRequest) -> Message:
        document = oip_rest.describe(self._models.find(asked.name, asked.version))
        if refusal := self._models.slot(asked.name).refusal:
            document["parameters"]["refused"] = refusal
        return ParseDict(document, messages.ModelMetadataResponse())

    def _model_statistics(self, asked: messages.ModelStatisticsRequest) -> Message:
        document = self._statistics.describe(asked.name, asked.version)
        return ParseDict(document, messages.ModelStatisticsResponse(), ignore_unknown_fields=True)

    def _repository_index(self, asked: messages.RepositoryIndexRequest) -> Message:
        response = messages.RepositoryIndexResponse()
        for slot in self._models:
            if slot.model:
                version = slot.model.version
                response.models.add(name=slot.name, version=version, state="READY", reason=slot.refusal)
            elif not asked.ready:
                response.models.add(name=slot.name, state="UNAVAILABLE", reason=slot.refusal)
        return response


def _reading(kind: type[Asked], call: Callable[[Asked], Message]) -> Answerer:
    """What reads a call's message."""

    async def answer(data: bytes, _context: Context) -> Message:
        return call(parse(kind, data))

    return answer


def _guarded(name: str, call: Answerer) -> Callable[[bytes, Context], Awaitable[bytes]]:
    """The edge around a call: bytes in and out, and a status for what is raised."""

    async def answer(data: bytes, context: Context) -> bytes:
        try:
            response = await call(data, context)
            sent: bytes = response.SerializeToString()
        except MlkitError as error:
            status, details = code_of(error), details_of(error)
        except Exception:
            log.exception("%s failed", name)
            status, details = grpc.StatusCode.INTERNAL, BUG
        else:
            return sent
        return await context.abort(status, details)

    return answer
