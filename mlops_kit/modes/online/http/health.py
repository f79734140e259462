"""Whether the server lives and is ready, and what it serves."""

import orjson

from mlops_kit.modes.online.http.failures import mlflow_error
from mlops_kit.modes.online.http.messages import Receive, Response, Scope
from mlops_kit.modes.online.metrics.counters import SharedCounters
from mlops_kit.modes.online.models import Models
from mlops_kit.modes.online.protocols import oip_rest
from mlops_kit.modes.online.statistics import Statistics

EXTENSIONS = ("binary_tensor_data", "statistics", "model_repository")


class Health:
    """What anybody may ask. `is_draining` is set once the server is to stop."""

    def __init__(self, models: Models, counters: SharedCounters, statistics: Statistics, version: str) -> None:
        self._statistics = statistics
        self._counters = counters
        self._models = models
        self._version = version
        self.is_draining = False

    @property
    def is_ready(self) -> bool:
        """Every model answers in every worker, and goes on doing so."""
        return not self.is_draining and self._models.is_ready and self._counters.are_workers_ready()

    async def ping(self, _scope: Scope, _receive: Receive) -> Response:
        """MLflow's readiness."""
        return Response(200, b"\n") if self.is_ready else mlflow_error(503, "the models are not loaded")

    async def tell_version(self, _scope: Scope, _receive: Receive) -> Response:
        """MLflow's version."""
        return Response(200, self._version.encode(), b"text/plain")

    async def live(self, _scope: Scope, _receive: Receive) -> Response:
        """At once."""
        return Response(200, b'{"live":true}')

    async def ready(self, _scope: Scope, _receive: Receive) -> Response:
        """When every model has given its golden answers."""
        # The specification says "live" here, and KServe's clients look for "ready".
        document = orjson.dumps({"ready": self.is_ready, "live": self.is_ready})
        return Response(200 if self.is_ready else 503, document)

    async def describe_server(self, _scope: Scope, _receive: Receive) -> Response:
        """The server's metadata."""
        document = {"name": "mlkit", "version": self._version, "extensions": EXTENSIONS}
        return Response(200, orjson.dumps(document))

    async def describe_model(self, name: str, version: str, _scope: Scope, _receive: Receive) -> Response:
        """A model's metadata."""
        document = oip_rest.describe(self._models.find(name, version))
        if refusal := self._models.slot(name).refusal:
            document["parameters"]["refused"] = refusal
        return Response(200, orjson.dumps(document))

    async def tell_statistics(self, name: str, version: str, _scope: Scope, _receive: Receive) -> Response:
        """A model's statistics; those of all models, without a name."""
        return Response(200, orjson.dumps(self._statistics.describe(name, version)))

    async def model_ready(self, name: str, version: str, _scope: Scope, _receive: Receive) -> Response:
        """A model's readiness."""
        model = self._models.find(name, version)
        is_ready = not self.is_draining
        return Response(200 if is_ready else 503, orjson.dumps({"name": model.name, "ready": is_ready}))
