"""Requests for predictions over HTTP, in both protocols."""

import time
from collections.abc import Mapping
from urllib.parse import quote

from mlops_kit.errors import InputError
from mlops_kit.modes.online.batch import Answer
from mlops_kit.modes.online.http.messages import Headers, Receive, Response, Scope, header, whole_number
from mlops_kit.modes.online.http.reading import BodyReader
from mlops_kit.modes.online.limits import Limits
from mlops_kit.modes.online.models import Models
from mlops_kit.modes.online.prediction_log.log import PredictionLog
from mlops_kit.modes.online.protocols import mlflow, oip_rest
from mlops_kit.modes.online.served_model import Request, ServedModel

TIMEOUT_HEADER = b"x-timeout-ms"
DEGRADED_HEADER = b"x-mlkit-degraded"
AGES_HEADER = b"x-mlkit-feature-ages"
"""Of a request that wants to know, and of its answer: those of its first row, in seconds."""

REQUEST_ID_HEADER = b"x-request-id"
LONGEST_ID = 200
JSON_BYTES_HEADER = b"inference-header-content-length"


class Predictions:
    """Reads a request, has it predicted, and writes the answer."""

    def __init__(
        self, models: Models, limits: Limits, reader: BodyReader, predictions: PredictionLog | None
    ) -> None:
        self._models = models
        self._log = predictions
        self._limits = limits
        self._reader = reader

    async def invoke(self, name: str, scope: Scope, receive: Receive) -> Response:
        """MLflow's /invocations."""
        started, at_us = time.perf_counter(), time.time_ns() // 1000
        asked_s = _asked_timeout(scope)
        self._models.find(name).admit()
        body = await self._reader.read(scope, receive)
        # Another one may answer by now, and the one before may be closed.
        model = self._models.find(name)
        read = time.perf_counter()
        deadline = self._deadline(started, read, asked_s)
        request = mlflow.parse_body(model, _content_type(scope), body, self._limits.body_bytes)
        assembled_s = time.perf_counter() - read
        answer = await model.infer(request, deadline, at_us)
        headers = self._logged(scope, model, request, answer, started)
        response = Response(200, mlflow.format_answer(model, answer.outputs), headers=headers)
        total_s = time.perf_counter() - started
        model.meter.observe(request.rows, (answer.queue_s, assembled_s, answer.model_s, total_s))
        return response

    async def infer(self, name: str, version: str, scope: Scope, receive: Receive) -> Response:
        """The Open Inference Protocol's /infer."""
        started, at_us = time.perf_counter(), time.time_ns() // 1000
        asked_s = _asked_timeout(scope)
        self._models.find(name, version).admit()
        oip_rest.check_type(_content_type(scope))
        body = await self._reader.read(scope, receive)
        model = self._models.find(name, version)
        read = time.perf_counter()
        inference = oip_rest.parse_inference(model, body, whole_number(scope, JSON_BYTES_HEADER, "bytes"))
        assembled_s = time.perf_counter() - read
        deadline = self._deadline(started, read, asked_s, inference.timeout_s)
        answer = await model.infer(inference.request, deadline, at_us)
        headers = self._logged(scope, model, inference.request, answer, started, inference.id)
        response = _response(oip_rest.format_answer(model, inference, answer.outputs), headers)
        total_s = time.perf_counter() - started
        model.meter.observe(inference.request.rows, (answer.queue_s, assembled_s, answer.model_s, total_s))
        return response

    def _logged(
        self, scope: Scope, model: ServedModel, request: Request, answer: Answer, started: float, name: str = ""
    ) -> Headers:
        """Headers that say how the request is called in the log, if there is one, and for which sources the store
        did not answer.
        """
        marks: Headers = ()
        if request.degraded:
            marks = ((DEGRADED_HEADER, ",".join(request.degraded).encode()),)
        if request.asked and request.rows and header(scope, AGES_HEADER):
            marks = (*marks, (AGES_HEADER, _told(request.asked.ages_s())))
        if self._log is None:
            return marks
        name = name or header(scope, REQUEST_ID_HEADER).decode("latin-1")
        name = self._log.add(model, request, answer, started, name)
        # Others are told in the body: only the Open Inference Protocol takes them.
        is_fit = len(name) <= LONGEST_ID and name.isascii() and name.isprintable()
        return ((REQUEST_ID_HEADER, name.encode()), *marks) if is_fit else marks

    def _deadline(self, started: float, read: float, *asked_s: float | None) -> float:
        """The server's, from when it has read the request; or an earlier one of the client, from when it began."""
        deadline = read + self._limits.timeout_s
        for timeout_s in asked_s:
            if timeout_s is not None:
                deadline = min(deadline, started + timeout_s)
        return deadline


def _asked_timeout(scope: Scope) -> float | None:
    timeout_ms = whole_number(scope, TIMEOUT_HEADER, "milliseconds")
    if timeout_ms == 0:
        raise InputError("x-timeout-ms is no number of milliseconds")
    return None if timeout_ms is None else timeout_ms / 1000


def _told(ages_s: Mapping[str, float | None]) -> bytes:
    told = (f"{quote(source)}={'' if age is None else f'{age:.6f}'}" for source, age in ages_s.items())
    return ",".join(told).encode()


def _content_type(scope: Scope) -> str:
    return header(scope, b"content-type").decode("latin-1")


def _response(body: oip_rest.Body, headers: Headers) -> Response:
    if body.json_bytes is None:
        return Response(200, body.data, headers=headers)
    length = (JSON_BYTES_HEADER, b"%d" % body.json_bytes)
    return Response(200, body.data, oip_rest.BINARY.encode(), (length, *headers))
