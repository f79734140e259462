"""The HTTP door: an ASGI application over some models."""

import asyncio
import logging
import time
from collections.abc import Sequence
from functools import partial
from http import HTTPStatus

from mlops_kit.errors import MlkitError
from mlops_kit.modes.online.admin import Admin
from mlops_kit.modes.online.http.compression import WORTH_BYTES, compressed
from mlops_kit.modes.online.http.events import EventDoor
from mlops_kit.modes.online.http.failures import mlflow_error, oip_error
from mlops_kit.modes.online.http.health import Health
from mlops_kit.modes.online.http.messages import DisconnectedError, Receive, Response, Scope, Send, authorization
from mlops_kit.modes.online.http.operations import Operations
from mlops_kit.modes.online.http.overload import Gate
from mlops_kit.modes.online.http.paths import is_open
from mlops_kit.modes.online.http.predictions import Predictions
from mlops_kit.modes.online.http.reading import BodyReader
from mlops_kit.modes.online.http.routes import Methods, Route, Routes
from mlops_kit.modes.online.job import ServeJob
from mlops_kit.modes.online.metrics.counters import SharedCounters
from mlops_kit.modes.online.models import Models
from mlops_kit.modes.online.pages.pages import Pages
from mlops_kit.modes.online.prediction_log.log import PredictionLog
from mlops_kit.modes.online.statistics import Statistics
from mlops_kit.modes.online.statuses import GONE, status_of

log = logging.getLogger("mlkit.serve")

STOPPING = "the server stops"


class App:
    """Finds out who answers, and tells failures in the protocol's own form."""

    def __init__(
        self,
        models: Models,
        job: ServeJob,
        counters: SharedCounters,
        admin: Admin,
        predictions: PredictionLog | None,
    ) -> None:
        self.is_giving_up = False
        """Set before requests are cancelled because the server has no more time for them."""
        self._models = models
        self._keys = job.keys if job.keys.are_needed else None
        self.reader = BodyReader(job.limits)
        statistics = Statistics(models, counters)
        self.health = Health(models, counters, statistics, job.version)
        self._pages = Pages(models, job.version, needs_key=job.keys.are_needed)
        self._predictions = Predictions(models, job.limits, self.reader, predictions)
        self._operations = Operations(models, counters, admin, self.reader, job.keys)
        self._events = EventDoor(models, self.reader)
        self._routes = self._build_routes()
        self.gate = Gate(models, self._routes, job.limits.queue, self._keys)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request of any ASGI server. Ours asks for the answer itself, see Connection."""
        if scope["type"] == "http" and (response := await self.answer(scope, receive)):
            await response.send(send)

    async def answer(self, scope: Scope, receive: Receive) -> Response | None:
        """The answer to one request; None where the client went away before it had sent all."""
        started = time.perf_counter()
        path = scope["path"]
        failure = oip_error if path.startswith("/v2") else mlflow_error
        route = self._routes.route(scope["method"], path, failure)
        try:
            if self._keys and not is_open(path):
                self._keys.check(authorization(scope))
            response = await route.handler(scope, receive)
        except MlkitError as error:
            response = route.failure(status_of(error), str(error))
        except DisconnectedError:
            route.count(GONE, time.perf_counter() - started)
            return None
        except asyncio.CancelledError:
            if not self.is_giving_up:
                raise
            response = route.failure(HTTPStatus.SERVICE_UNAVAILABLE, STOPPING)
        except Exception:
            log.exception("a bug in mlkit, met over HTTP")
            response = route.failure(500, "a bug in mlkit; the server's log has more")
        route.count(response.status, time.perf_counter() - started)
        if len(response.body) >= WORTH_BYTES:
            response = await compressed(response, scope)
        return response

    def _build_routes(self) -> Routes:
        health, operations = self.health, self._operations
        exact: dict[str, Methods] = {
            "/ping": {"GET": Route(health.ping, mlflow_error)},
            "/health": {"GET": Route(health.ping, mlflow_error)},
            "/version": {"GET": Route(health.tell_version, mlflow_error)},
            "/metrics": {"GET": Route(operations.metrics, mlflow_error)},
            "/v2": {"GET": Route(health.describe_server, oip_error)},
            "/v2/health/live": {"GET": Route(health.live, oip_error)},
            "/v2/health/ready": {"GET": Route(health.ready, oip_error)},
            "/v2/models/stats": {"GET": Route(partial(health.tell_statistics, "", ""), oip_error)},
            "/v2/repository/index": {"POST": Route(operations.index, oip_error)},
        }
        for path, handler in (self._pages.public_routes | self._pages.routes).items():
            exact[path] = {"GET": Route(handler, mlflow_error)}
        names = [slot.name for slot in self._models]
        for name in names:
            exact[f"/models/{name}/invocations"] = self._invocations(name)
            for path, methods in self._of_model(name, "").items():
                exact[f"/v2/models/{name}{path}"] = methods
            exact[f"/v2/repository/models/{name}/load"] = {
                "POST": Route(partial(operations.load, name), oip_error)
            }
        if len(names) == 1:
            exact["/invocations"] = self._invocations(names[0])
        else:
            refusing = Route(_refuse_unnamed, mlflow_error, "mlflow", self._models.unnamed)
            exact["/invocations"] = {"POST": refusing}
        return Routes(exact, self._find, self._models.unnamed)

    def _find(self, parts: Sequence[str]) -> Methods | None:
        """Paths with versions, and those of models that are not there."""
        match parts:
            case ["v2", "models", name, "versions", version, *rest]:
                return self._of_model(name, version).get("".join(f"/{part}" for part in rest))
            case ["v2", "models", name, *rest]:
                return self._of_model(name, "").get("".join(f"/{part}" for part in rest))
            case ["v2", "repository", "models", name, "load"]:
                return {"POST": Route(partial(self._operations.load, name), oip_error)}
            case ["v2", "events", source]:
                return {"POST": Route(partial(self._events.push, source), oip_error)}
            case ["models", name, "invocations"]:
                return self._invocations(name)
            case _:
                return None

    def _invocations(self, name: str) -> Methods:
        meter = self._models.meter(name) or self._models.unnamed
        return {"POST": Route(partial(self._predictions.invoke, name), mlflow_error, "mlflow", meter)}

    def _of_model(self, name: str, version: str) -> dict[str, Methods]:
        meter = self._models.meter(name) or self._models.unnamed
        infer = partial(self._predictions.infer, name, version)
        return {
            "": {"GET": Route(partial(self.health.describe_model, name, version), oip_error)},
            "/ready": {"GET": Route(partial(self.health.model_ready, name, version), oip_error)},
            "/stats": {"GET": Route(partial(self.health.tell_statistics, name, version), oip_error)},
            "/infer": {"POST": Route(infer, oip_error, "oip", meter)},
        }


async def _refuse_unnamed(_scope: Scope, _receive: Receive) -> Response:
    return mlflow_error(404, "there are several models here. Ask one of them at /models/NAME/invocations")
