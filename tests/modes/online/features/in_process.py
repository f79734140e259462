"""A worker's HTTP door over a store, without processes and sockets, with a model that gives back what it gets."""

import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import httpx
import polars as pl

from mlops_kit.features.definition.feature_set import FeatureSet
from mlops_kit.modes.online.admin import Admin
from mlops_kit.modes.online.features.options import StoreOptions
from mlops_kit.modes.online.features.serving import FeatureServing
from mlops_kit.modes.online.golden_row import GoldenRow
from mlops_kit.modes.online.http.app import App
from mlops_kit.modes.online.job import ServeJob
from mlops_kit.modes.online.limits import Limits
from mlops_kit.modes.online.loaded_model import LoadedModel
from mlops_kit.modes.online.metrics.counters import ModelMeter, SharedCounters
from mlops_kit.modes.online.metrics.events import EventCounts
from mlops_kit.modes.online.metrics.layout import Layout
from mlops_kit.modes.online.models import Models
from mlops_kit.modes.online.prediction_log.log import PredictionLog
from mlops_kit.modes.online.traffic import Traffic
from mlops_kit.predictor import Predictor
from mlops_kit.schema import Array, Column, Output, Signature, Tensor
from mlops_kit.stores.interface import Store
from mlops_kit.stores.thread_reads import ThreadReads

MODEL = "echo"
PATIENCE_S = 120.0


class Echo:
    """A runtime."""

    def check_signature(self, signature: Signature) -> None:
        pass

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        return dict(feeds)


@dataclass
class InProcess:
    """`vectors` are the logged ones by the ids of requests, once the server has ended."""

    client: httpx.AsyncClient
    vectors: dict[str, dict[str, Any]]


@asynccontextmanager
async def serving_in_process(features: FeatureSet, store: Store) -> AsyncIterator[InProcess]:
    """Requests may say as of when they are asked."""
    options = StoreOptions("memory", timeout_s=PATIENCE_S, takes_request_time=True)
    layout, limits = Layout([MODEL]), Limits(timeout_s=PATIENCE_S)
    counters = SharedCounters(layout, 2)
    serving = FeatureServing(options, EventCounts(layout.events, counters.slot(0)))
    serving.store, serving.reads = store, ThreadReads(store)
    meters = {name: ModelMeter(places, counters.slot(0)) for name, places in layout.models.items()}
    models = Models(meters, limits, Traffic(), ModelMeter(layout.unnamed, counters.slot(0)), serving)
    models.slot(MODEL).prepared = _loaded(features, serving)
    models.switch(MODEL)
    with tempfile.TemporaryDirectory() as folder:
        log = PredictionLog(Path(folder))
        app = App(models, ServeJob("0", limits=limits, features=options), counters, cast("Admin", None), log)
        transport = httpx.ASGITransport(cast("Any", app))
        vectors: dict[str, dict[str, Any]] = {}
        async with httpx.AsyncClient(transport=transport, base_url="http://here", timeout=PATIENCE_S) as client:
            yield InProcess(client, vectors)
        await models.drain()
        log.close()
        for part in Path(folder).rglob("*.parquet"):
            vectors |= dict(pl.read_parquet(part).select("id", "vector").rows())


def _loaded(features: FeatureSet, serving: FeatureServing) -> LoadedModel:
    """A model of the numbers among the features."""
    names = [feature.name for feature in features.features if feature.kind == "float64"]
    columns = tuple(Column(name, "float64", nullable=True) for name in ("own", *names))
    signature = Signature(
        columns,
        tuple(Tensor(column.name, "float64", (column.name,), "array") for column in columns),
        tuple(Output(column.name, "float64", column.name) for column in columns),
    )
    predictor = Predictor(signature, Echo())
    lookup = serving.lookup(MODEL, features, predictor)
    return LoadedModel(predictor, "sha256:0", GoldenRow({}, {}), features, lookup)
