"""A model with features of every kind, its history, and a server of it."""

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

import mlops_kit
from mlops_kit.bundle.locate import load_bundle
from mlops_kit.features.definition.feature_set import FeatureSet
from mlops_kit.features.definition.loading import load_definition
from mlops_kit.features.online.materializing import MaterializeJob, materialize_features
from mlops_kit.features.online.records import now_us
from mlops_kit.predictor import Predictor
from mlops_kit.stores.resolve import open_store

KEYS = ("JFK", "EWR", "LGA", "1")
DEFINITION = """
from mlops_kit.features import Events, Table, count, last, mean, std, max

departures = Events("departures", key="origin", time="at", history=r"{folder}/departures", sequence="{sequence}")
flown = Events("flown", key=["origin", "flight"], time="at", history=r"{folder}/flown", sequence="number")
airports = Table("airports", key="origin", path=r"{folder}/airports.parquet")
features = [
    departures.window("1h").agg(mean_1h=mean("delay", default=0.5), n_1h=count(), last_carrier=last("carrier", default="?")),
    departures.window("30d", hop="1d").agg(std_30d=std("delay", default=-1.0)),
    flown.window("1d", include_current=True).agg(longest=max("miles", default=0.0), flights=count()),
    airports.select("elevation", defaults={"elevation": -5.0}),
]
"""
FEATURES = ("mean_1h", "n_1h", "last_carrier", "std_30d", "longest", "flights", "elevation")
COLUMNS = ("origin", "distance", *FEATURES)


@dataclass(frozen=True)
class Project:
    """`start_us` is when its history begins: all of it is in a window of an hour while the tests run."""

    folder: Path
    bundle: Path
    start_us: int

    @property
    def definition(self) -> FeatureSet:
        features = load_bundle(str(self.bundle)).features
        assert features is not None
        return features

    def events(self, first: int, end: int) -> pl.DataFrame:
        """Departures by their number, one in a second."""
        rng = np.random.default_rng(7)
        most = 4000
        origins, carriers = rng.choice(KEYS[:3], most), rng.choice(["AA", "B6"], most)
        return pl.DataFrame(
            {
                "number": np.arange(most),
                "origin": origins.tolist(),
                "at": self.start_us + np.arange(most) * 1_000_000,
                "delay": rng.normal(10, 30, most).round(1),
                "carrier": carriers.tolist(),
            }
        )[first:end]

    def flown(self, rows: int) -> pl.DataFrame:
        rng = np.random.default_rng(8)
        return pl.DataFrame(
            {
                "number": np.arange(rows),
                "origin": rng.choice(KEYS[:3], rows).tolist(),
                "flight": rng.integers(0, 4, rows),
                "at": self.start_us + np.arange(rows) * 1_000_000,
                "miles": rng.normal(900, 300, rows),
            }
        )

    def fill(self, uri: str, as_of_us: int | None = None) -> None:
        with closing(open_store(uri)) as store:
            job = MaterializeJob(self.definition, as_of_us or now_us(), is_end=as_of_us is not None)
            materialize_features(job, store, lambda _rows: None)

    def joined(self, rows: pl.DataFrame, at_us: int) -> pl.DataFrame:
        """Rows with their features, from history."""
        spine = rows.with_columns(pl.lit(at_us).cast(pl.Datetime("us", "UTC")).alias("at_time"))
        found: pl.DataFrame = mlops_kit.features.join(self.definition, spine, time="at_time")
        return found

    def predict(self, joined: pl.DataFrame) -> list[float]:
        predictor = Predictor.of_bundle(load_bundle(str(self.bundle)))
        found: list[float] = predictor.predict(joined)["prediction"].tolist()
        return found

    def predict_row(self, given: Mapping[str, Any]) -> float:
        predictor = Predictor.of_bundle(load_bundle(str(self.bundle)))
        found: float = predictor.predict(given)["prediction"]
        return found

    def expected(self, rows: pl.DataFrame, at_us: int) -> list[float]:
        """What joining features to rows and predicting them gives."""
        return self.predict(self.joined(rows, at_us))


def make_project(
    folder: Path,
    name: str = "eta",
    sequence: str = "number",
    coefficient: float = 1.0,
    window: str = "1h",
    start_us: int = 0,
) -> Project:
    """With 2000 departures and 500 flights in its history. `sequence`: the column of the departures' numbers;
    `window`: the length of theirs. With the `start_us` of a project in this folder, the history stays as it is.
    """
    project = Project(folder, folder / name, start_us or now_us() - 3_000_000_000)
    (folder / "departures").mkdir(exist_ok=True)
    (folder / "flown").mkdir(exist_ok=True)
    project.events(0, 2000).write_parquet(folder / "departures" / "a.parquet")
    project.flown(500).write_parquet(folder / "flown" / "a.parquet")
    airports = {"origin": ["JFK", "EWR"], "elevation": [13.0, 18.5]}
    pl.DataFrame(airports).write_parquet(folder / "airports.parquet")
    (folder / "features.py").write_text(
        DEFINITION.replace("{folder}", str(folder))
        .replace("{sequence}", sequence)
        .replace('window("1h")', f'window("{window}")')
    )
    rng = np.random.default_rng(0)
    rows = pl.DataFrame(
        {
            "origin": rng.choice(KEYS, 200).tolist(),
            "distance": rng.normal(900, 300, 200),
            "mean_1h": rng.normal(size=200),
            "n_1h": rng.integers(0, 900, 200),
            "last_carrier": rng.choice(["AA", "B6", "?"], 200).tolist(),
            "std_30d": rng.normal(size=200),
            "longest": rng.normal(size=200),
            "flights": rng.integers(0, 50, 200),
            "elevation": rng.normal(size=200),
        }
    ).select(COLUMNS)
    encoder = ColumnTransformer(
        [("text", OneHotEncoder(handle_unknown="ignore"), ["origin", "last_carrier"])], remainder="passthrough"
    )
    frame = rows.to_pandas()
    model = make_pipeline(encoder, Ridge()).fit(
        frame, coefficient * frame["mean_1h"] + frame["elevation"] / 3 + frame["n_1h"] / 7 + frame["longest"]
    )
    mlops_kit.export(model, sample=frame, features=load_definition(folder / "features.py"), out=project.bundle)
    return project


def row(origin: str | None = "JFK", flight: int = 1, **more: Any) -> dict[str, Any]:
    """A request's own columns."""
    return {"origin": origin, "flight": flight, "miles": 1200.5, "distance": 760.0, **more}
