"""The HTTP door: from a path to the protocol that it belongs to."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial

import orjson

from mlops_kit.errors import InputError, MlkitError, ReadTimeoutError
from mlops_kit.modes.online.batcher import Answer
from mlops_kit.modes.online.http.compression import WORTH_BYTES, compressed
from mlops_kit.modes.online.http.failures import mlflow_error, oip_error, status_of
from mlops_kit.modes.online.http.messages import (
    DisconnectedError,
    Receive,
    Response,
    Scope,
    Send,
    authorization,
    header,
    number,
    read_body,
)
from mlops_kit.modes.online.http.paths import is_open
from mlops_kit.modes.online.keys import Keys
from mlops_kit.modes.online.limits import Limits
from mlops_kit.modes.online.models import Models
from mlops_kit.modes.online.prediction_log.log import PredictionLog
from mlops_kit.modes.online.protocols import mlflow, oip_rest
from mlops_kit.modes.online.served_model import Request, ServedModel

Handler = Callable[[Scope, Receive], Awaitable[Response]]
Headers = tuple[tuple[bytes, bytes], ...]
Failure = Callable[[int, str], Response]

LOOK_S = 0.25
"""How often slow clients are looked for."""

TIMEOUT_HEADER = b"x-timeout-ms"
REQUEST_ID_HEADER = b"x-request-id"
LONGEST_ID = 200
JSON_BYTES_HEADER = b"inference-header-content-length"


class App:
    """An ASGI application over some models."""

    def __init__(
        self,
        models: Models,
        limits: Limits,
        version: str,
        keys: Keys | None = None,
        log: PredictionLog | None = None,
    ) -> None:
        self._models = models
        self._limits = limits
        self._version = version
        self._keys = keys or Keys()
        self._log = log
        self._needs_keys = self._keys.are_needed
        self._reading: dict[asyncio.Task[None], float] = {}
        self.is_draining = False
        self._routes = self._build_routes()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        method, path = scope["method"], scope["path"]
        route = self._routes.get((method, path)) or self._find_route(method, path)
        handler, failure = route
        try:
            if self._needs_keys and not is_open(path):
                self._keys.check(authorization(scope))
            response = await handler(scope, receive)
        except MlkitError as error:
            response = failure(status_of(error), str(error))
        except DisconnectedError:
            return
        if len(response.body) >= WORTH_BYTES:
            response = await compressed(response, scope)
        await response.send(send)

    async def cut_slow_clients(self) -> None:
        """Run for ever: requests whose body does not come are given up."""
        while True:
            await asyncio.sleep(LOOK_S)
            limit = time.perf_counter() - self._limits.read_timeout_s
            for task, since in list(self._reading.items()):
                if since < limit:
                    self._reading.pop(task, None)
                    task.cancel()

    def _build_routes(self) -> dict[tuple[str, str], tuple[Handler, Failure]]:
        routes: dict[tuple[str, str], tuple[Handler, Failure]] = {
            ("GET", "/ping"): (self._ready_for_mlflow, mlflow_error),
            ("GET", "/health"): (self._ready_for_mlflow, mlflow_error),
            ("GET", "/version"): (self._tell_version, mlflow_error),
            ("GET", "/v2"): (self._describe_server, oip_error),
            ("GET", "/v2/health/live"): (self._live, oip_error),
            ("GET", "/v2/health/ready"): (self._ready, oip_error),
        }
        names = [slot.name for slot in self._models]
        for name in names:
            routes[("POST", f"/models/{name}/invocations")] = (partial(self._invoke, name), mlflow_error)
            routes[("POST", f"/v2/models/{name}/infer")] = (partial(self._infer, name, ""), oip_error)
            routes[("GET", f"/v2/models/{name}")] = (partial(self._describe_model, name, ""), oip_error)
            routes[("GET", f"/v2/models/{name}/ready")] = (partial(self._model_ready, name, ""), oip_error)
        if len(names) == 1:
            routes[("POST", "/invocations")] = (partial(self._invoke, names[0]), mlflow_error)
        return routes

    async def _invoke(self, name: str, scope: Scope, receive: Receive) -> Response:
        started = time.perf_counter()
        deadline = self._deadline(scope)
        model = self._models.find(name)
        body = await self._read(scope, receive)
        content_type = header(scope, b"content-type").decode("latin-1")
        request = mlflow.parse_body(model, content_type, body, self._limits.body_bytes)
        answer = await model.infer(request, deadline)
        headers = self._logged(scope, model, request, answer, started)
        return Response(200, mlflow.format_answer(model, answer.outputs), headers=headers)

    async def _infer(self, name: str, version: str, scope: Scope, receive: Receive) -> Response:
        started = time.perf_counter()
        deadline = self._deadline(scope)
        model = self._models.find(name, version)
        body = await self._read(scope, receive)
        inference = oip_rest.parse_inference(model, body, number(scope, JSON_BYTES_HEADER, "bytes"))
        if inference.timeout_s is not None:
            deadline = min(deadline, time.perf_counter() + inference.timeout_s)
        answer = await model.infer(inference.request, deadline)
        headers = self._logged(scope, model, inference.request, answer, started, inference.id)
        formatted = oip_rest.format_answer(model, inference, answer.outputs)
        if formatted.json_bytes is None:
            return Response(200, formatted.data, headers=headers)
        length = (JSON_BYTES_HEADER, b"%d" % formatted.json_bytes)
        return Response(200, formatted.data, b"application/octet-stream", (length, *headers))

    async def _ready_for_mlflow(self, _scope: Scope, _receive: Receive) -> Response:
        is_ready = self._is_ready
        return Response(200, b"\n") if is_ready else mlflow_error(503, "the models are not loaded")

    async def _tell_version(self, _scope: Scope, _receive: Receive) -> Response:
        return Response(200, self._version.encode(), b"text/plain")

    async def _describe_server(self, _scope: Scope, _receive: Receive) -> Response:
        document = {"name": "mlkit", "version": self._version, "extensions": ["binary_tensor_data", "statistics"]}
        return Response(200, orjson.dumps(document))

    async def _live(self, _scope: Scope, _receive: Receive) -> Response:
        return Response(200, b'{"live":true}')

    async def _ready(self, _scope: Scope, _receive: Receive) -> Response:
        # The specification says "live" here, and KServe's clients look for "ready".
        is_ready = self._is_ready
        return Response(200 if is_ready else 503, orjson.dumps({"ready": is_ready, "live": is_ready}))

    async def _describe_model(self, name: str, version: str, _scope: Scope, _receive: Receive) -> Response:
        document = oip_rest.describe(self._models.find(name, version))
        if refusal := self._models.slot(name).refusal:
            document["parameters"]["refused"] = refusal
        return Response(200, orjson.dumps(document))

    async def _model_ready(self, name: str, version: str, _scope: Scope, _receive: Receive) -> Response:
        model = self._models.find(name, version)
        is_ready = not self.is_draining
        return Response(200 if is_ready else 503, orjson.dumps({"name": model.name, "ready": is_ready}))

    @property
    def _is_ready(self) -> bool:
        return self._models.is_ready and not self.is_draining

    def _find_route(self, method: str, path: str) -> tuple[Handler, Failure]:
        """Paths with versions, and those that are not there."""
        match path.strip("/").split("/"):
            case ["v2", "models", name, "versions", version]:
                handlers = {"GET": partial(self._describe_model, name, version)}
            case ["v2", "models", name, "versions", version, "infer"]:
                handlers = {"POST": partial(self._infer, name, version)}
            case ["v2", "models", name, "versions", version, "ready"]:
                handlers = {"GET": partial(self._model_ready, name, version)}
            case ["v2", "models", name]:
                handlers = {"GET": partial(self._describe_model, name, "")}
            case ["v2", "models", name, "infer"]:
                handlers = {"POST": partial(self._infer, name, "")}
            case ["v2", "models", name, "ready"]:
                handlers = {"GET": partial(self._model_ready, name, "")}
            case ["models", name, "invocations"]:
                return self._or_refusal({"POST": partial(self._invoke, name)}, method, mlflow_error)
            case _:
                others = {other for other, known in self._routes if known == path}
                failure = oip_error if path.startswith("/v2") else mlflow_error
                return partial(_refuse, tuple(sorted(others)), failure), failure
        return self._or_refusal(handlers, method, oip_error)

    def _or_refusal(
        self, handlers: Mapping[str, Handler], method: str, failure: Failure
    ) -> tuple[Handler, Failure]:
        return handlers.get(method) or partial(_refuse, tuple(handlers), failure), failure

    def _deadline(self, scope: Scope) -> float:
        """The server's, or an earlier one that the client asks for."""
        timeout_s = self._limits.timeout_s
        asked = number(scope, TIMEOUT_HEADER, "milliseconds")
        if asked == 0:
            raise InputError("x-timeout-ms is no time")
        return time.perf_counter() + (timeout_s if asked is None else min(timeout_s, asked / 1000))

    def _logged(
        self, scope: Scope, model: ServedModel, request: Request, answer: Answer, started: float, name: str = ""
    ) -> Headers:
        """The header that says how the request is called in the log, if there is a log."""
        if self._log is None:
            return ()
        name = name or header(scope, REQUEST_ID_HEADER).decode("latin-1")
        name = self._log.add(model, request, answer, started, name)
        # Others are told in the body: only the Open Inference Protocol takes them.
        is_fit = len(name) <= LONGEST_ID and name.isascii() and name.isprintable()
        return ((REQUEST_ID_HEADER, name.encode()),) if is_fit else ()

    async def _read(self, scope: Scope, receive: Receive) -> bytes:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("ASGI applications run in tasks")
        self._reading[task] = time.perf_counter()
        try:
            return await read_body(scope, receive, self._limits.body_bytes)
        except asyncio.CancelledError:
            if task in self._reading:
                raise
            task.uncancel()
            raise ReadTimeoutError from None
        finally:
            self._reading.pop(task, None)


async def _refuse(allowed: tuple[str, ...], failure: Failure, scope: Scope, _receive: Receive) -> Response:
    if not allowed:
        return failure(404, f"there is nothing at {scope['path']}")
    response = failure(405, f"{scope['path']} takes {' and '.join(allowed)}")
    return Response(405, response.body, headers=((b"allow", ", ".join(allowed).encode()),))
