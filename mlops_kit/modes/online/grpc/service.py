"""The calls of `inference.GRPCInferenceService`.

Messages are parsed here rather than by gRPC, so that one that cannot be parsed is the caller's mistake.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from http import HTTPStatus
from typing import Any, TypeAlias, TypeVar

import grpc
from google.protobuf.json_format import ParseDict
from google.protobuf.message import DecodeError, Message

from mlops_kit.errors import InputError, MlkitError
from mlops_kit.modes.online.grpc.failures import BUG, code_of, details_of
from mlops_kit.modes.online.grpc.health import Readiness
from mlops_kit.modes.online.grpc.inference import format_answer, parse_inference
from mlops_kit.modes.online.grpc.proto import messages
from mlops_kit.modes.online.job import ServeJob
from mlops_kit.modes.online.models import Models
from mlops_kit.modes.online.prediction_log.log import PredictionLog
from mlops_kit.modes.online.protocols import oip_rest
from mlops_kit.modes.online.statistics import Statistics
from mlops_kit.modes.online.statuses import status_of

log = logging.getLogger("mlkit.serve")

SERVICE = "inference.GRPCInferenceService"
STOPPING = "the server stops"

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
Metadata = Sequence[tuple[str, str | bytes]]
Authorize = Callable[[str, Metadata], None]
"""The call's name and the client's metadata. Raises UnauthorizedError."""

Asked = TypeVar("Asked", bound=Message)


class Service:
    """Answers calls. Used on one event loop."""

    def __init__(
        self,
        models: Models,
        job: ServeJob,
        readiness: Readiness,
        statistics: Statistics,
        authorize: Authorize | None,
        predictions: PredictionLog | None,
    ) -> None:
        self._models = models
        self._log = predictions
        self._timeout_s = job.limits.timeout_s
        self._version = job.version
        self._readiness = readiness
        self._authorize = authorize
        self._statistics = statistics

    def handlers(self) -> grpc.GenericRpcHandler:
        """What gRPC calls."""
        calls: dict[str, tuple[type[Message], Callable[[Any, Context], Awaitable[Message]]]] = {
            "ServerLive": (messages.ServerLiveRequest, self._server_live),
            "ServerReady": (messages.ServerReadyRequest, self._server_ready),
            "ModelReady": (messages.ModelReadyRequest, self._model_ready),
            "ServerMetadata": (messages.ServerMetadataRequest, self._server_metadata),
            "ModelMetadata": (messages.ModelMetadataRequest, self._model_metadata),
            "ModelInfer": (messages.ModelInferRequest, self._infer),
            "ModelStatistics": (messages.ModelStatisticsRequest, self._model_statistics),
            "RepositoryIndex": (messages.RepositoryIndexRequest, self._repository_index),
        }
        handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
            name: grpc.unary_unary_rpc_method_handler(self._answerer(name, *call)) for name, call in calls.items()
        }
        handlers["ModelStreamInfer"] = grpc.stream_stream_rpc_method_handler(self._stream)
        return grpc.method_handlers_generic_handler(SERVICE, handlers)

    def _answerer(
        self, name: str, kind: type[Asked], call: Callable[[Asked, Context], Awaitable[Message]]
    ) -> Callable[[bytes, Context], Awaitable[bytes]]:
        """The edge around a call: bytes in and out, and a status for what is raised."""

        async def answer(data: bytes, context: Context) -> bytes:
            try:
                self._check_key(name, context)
                response = await call(_parse(kind, data), context)
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

    def _check_key(self, name: str, context: Context) -> None:
        if self._authorize:
            self._authorize(name, tuple(context.invocation_metadata() or ()))

    async def _server_live(self, _asked: messages.ServerLiveRequest, _context: Context) -> Message:
        return messages.ServerLiveResponse(live=True)

    async def _server_ready(self, _asked: messages.ServerReadyRequest, _context: Context) -> Message:
        return messages.ServerReadyResponse(ready=self._readiness.is_ready)

    async def _model_ready(self, asked: messages.ModelReadyRequest, _context: Context) -> Message:
        if self._models.slot(asked.name).model:
            self._models.find(asked.name, asked.version)
        return messages.ModelReadyResponse(ready=self._readiness.of(asked.name) or False)

    async def _server_metadata(self, _asked: messages.ServerMetadataRequest, _context: Context) -> Message:
        return messages.ServerMetadataResponse(name="mlkit", version=self._version, extensions=["statistics"])

    async def _model_metadata(self, asked: messages.ModelMetadataRequest, _context: Context) -> Message:
        document = oip_rest.describe(self._models.find(asked.name, asked.version))
        return ParseDict(document, messages.ModelMetadataResponse(), ignore_unknown_fields=True)

    async def _model_statistics(self, asked: messages.ModelStatisticsRequest, _context: Context) -> Message:
        document = self._statistics.describe(asked.name, asked.version)
        return ParseDict(document, messages.ModelStatisticsResponse(), ignore_unknown_fields=True)

    async def _repository_index(self, asked: messages.RepositoryIndexRequest, _context: Context) -> Message:
        response = messages.RepositoryIndexResponse()
        for slot in self._models:
            if slot.model:
                version = slot.model.version
                response.models.add(name=slot.name, version=version, state="READY", reason=slot.refusal)
            elif not asked.ready:
                response.models.add(name=slot.name, state="UNAVAILABLE", reason=slot.refusal)
        return response

    async def _infer(self, asked: messages.ModelInferRequest, context: Context) -> messages.ModelInferResponse:
        """Predict, and count how it went."""
        started = time.perf_counter()
        meter = self._models.meter(asked.model_name)
        try:
            response = await self._predict(asked, context, started)
        except Exception as error:
            if meter:
                status = status_of(error) if isinstance(error, MlkitError) else HTTPStatus.INTERNAL_SERVER_ERROR
                meter.count_failure("grpc", status, time.perf_counter() - started)
            raise
        if meter:
            meter.count_request("grpc", HTTPStatus.OK)
        return response

    async def _predict(
        self, asked: messages.ModelInferRequest, context: Context, started: float
    ) -> messages.ModelInferResponse:
        model = self._models.find(asked.model_name, asked.model_version)
        model.admit()
        inference = parse_inference(model, asked)
        assembled_s = time.perf_counter() - started
        deadline = started + self._timeout_s
        for timeout_s in (inference.timeout_s, context.time_remaining()):
            if timeout_s is not None:
                deadline = min(deadline, started + timeout_s)
        answer = await model.infer(inference.request, deadline)
        if self._log:
            self._log.add(model, inference.request, answer, started, inference.id)
        response = format_answer(model, inference, answer.outputs)
        total_s = time.perf_counter() - started
        model.meter.observe(inference.request.rows, (answer.queue_s, assembled_s, answer.model_s, total_s))
        return response

    async def _stream(self, _requests: AsyncIterator[bytes], context: Context) -> AsyncIterator[bytes]:
        """Answers in the order of the requests. One that fails does not end the stream, a stopping server does."""
        stopping = asyncio.create_task(self._readiness.stopping.wait())
        try:
            self._check_key("ModelStreamInfer", context)
            while (data := await _read(context, stopping)) is not None:
                response = await self._answer_in_stream(data, context)
                yield response.SerializeToString()
        except MlkitError as error:
            await context.abort(code_of(error), details_of(error))
        finally:
            stopping.cancel()
        if self._readiness.stopping.is_set():
            await context.abort(grpc.StatusCode.UNAVAILABLE, STOPPING)

    async def _answer_in_stream(self, data: bytes, context: Context) -> messages.ModelStreamInferResponse:
        asked = messages.ModelInferRequest()
        try:
            asked = _parse(messages.ModelInferRequest, data)
            return messages.ModelStreamInferResponse(infer_response=await self._infer(asked, context))
        except MlkitError as error:
            details = details_of(error)
        except Exception:
            log.exception("ModelStreamInfer failed")
            details = BUG
        failed = messages.ModelInferResponse(id=asked.id, model_name=asked.model_name)
        return messages.ModelStreamInferResponse(error_message=details, infer_response=failed)


def _parse(kind: type[Asked], data: bytes) -> Asked:
    try:
        message: Asked = kind.FromString(data)
    except DecodeError as error:
        raise InputError(f"the message is no {kind.DESCRIPTOR.full_name}") from error
    return message


async def _read(context: Context, stopping: "asyncio.Task[bool]") -> bytes | None:
    """The next message; None after the last one, or when the server stops first."""
    reading = asyncio.ensure_future(context.read())
    await asyncio.wait((reading, stopping), return_when=asyncio.FIRST_COMPLETED)
    if not reading.done():
        reading.cancel()
        return None
    data = reading.result()
    return None if data is grpc.aio.EOF else data
