"""Requests for predictions over gRPC: alone, or in a stream."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Any, TypeAlias

import grpc

from mlops_kit.errors import MlkitError
from mlops_kit.modes.online.grpc.failures import BUG, details_of
from mlops_kit.modes.online.grpc.health import Readiness
from mlops_kit.modes.online.grpc.inference import format_answer, parse_inference
from mlops_kit.modes.online.grpc.parsing import parse
from mlops_kit.modes.online.grpc.proto.messages import (
    ModelInferRequest,
    ModelInferResponse,
    ModelStreamInferResponse,
)
from mlops_kit.modes.online.limits import Limits
from mlops_kit.modes.online.metrics.counters import ModelMeter
from mlops_kit.modes.online.models import Models
from mlops_kit.modes.online.prediction_log.log import PredictionLog
from mlops_kit.modes.online.statuses import GONE, status_of

log = logging.getLogger("mlkit.serve")

STOPPING = "the server stops"

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"


class Predictions:
    """`unnamed` counts requests that nobody can read."""

    def __init__(
        self,
        models: Models,
        limits: Limits,
        readiness: Readiness,
        unnamed: ModelMeter,
        predictions: PredictionLog | None,
    ) -> None:
        self._models = models
        self._timeout_s = limits.timeout_s
        self._readiness = readiness
        self._unnamed = unnamed
        self._log = predictions

    async def infer(self, data: bytes, context: Context) -> ModelInferResponse:
        """Answer one request. Raises MlkitError."""
        return await self._infer(self._parse(data), context)

    async def stream(self, requests: AsyncIterator[bytes], context: Context) -> AsyncIterator[bytes]:
        """Answers in the order of the requests. One that fails does not end the stream, a stopping server does."""
        async for data in requests:
            response = await self._answer_in_stream(data, context)
            yield response.SerializeToString()
        if self._readiness.is_stopping:
            await context.abort(grpc.StatusCode.UNAVAILABLE, STOPPING)

    async def _answer_in_stream(self, data: bytes, context: Context) -> ModelStreamInferResponse:
        asked = ModelInferRequest()
        try:
            asked = self._parse(data)
            return ModelStreamInferResponse(infer_response=await self._infer(asked, context))
        except MlkitError as error:
            details = details_of(error)
        except Exception:
            log.exception("ModelStreamInfer failed")
            details = BUG
        failed = ModelInferResponse(id=asked.id, model_name=asked.model_name)
        return ModelStreamInferResponse(error_message=details, infer_response=failed)

    def _parse(self, data: bytes) -> ModelInferRequest:
        try:
            return parse(ModelInferRequest, data)
        except MlkitError as error:
            self._unnamed.count_failure("grpc", status_of(error), 0.0)
            raise

    async def _infer(self, asked: ModelInferRequest, context: Context) -> ModelInferResponse:
        """Predict, and count how it went."""
        started, at_us = time.perf_counter(), time.time_ns() // 1000
        meter = self._models.meter(asked.model_name)
        try:
            response = await self._predict(asked, context, started, at_us)
        except (Exception, asyncio.CancelledError) as error:
            if meter:
                meter.count_failure("grpc", _status(error), time.perf_counter() - started)
            raise
        if meter:
            meter.count_request("grpc", HTTPStatus.OK)
        return response

    async def _predict(
        self, asked: ModelInferRequest, context: Context, started: float, at_us: int
    ) -> ModelInferResponse:
        model = self._models.find(asked.model_name, asked.model_version)
        model.admit()
        inference = parse_inference(model, asked)
        assembled_s = time.perf_counter() - started
        deadline = started + self._timeout_s
        for timeout_s in (inference.timeout_s, context.time_remaining()):
            if timeout_s is not None:
                deadline = min(deadline, started + timeout_s)
        answer = await model.infer(inference.request, deadline, at_us)
        if self._log:
            self._log.add(model, inference.request, answer, started, inference.id)
        response = format_answer(model, inference, answer.outputs)
        total_s = time.perf_counter() - started
        model.meter.observe(inference.request.rows, (answer.queue_s, assembled_s, answer.model_s, total_s))
        return response


def _status(error: BaseException) -> int:
    if isinstance(error, asyncio.CancelledError):
        return GONE
    return status_of(error) if isinstance(error, MlkitError) else HTTPStatus.INTERNAL_SERVER_ERROR
