"""The model that the benchmarks share: LightGBM, 100 trees, 11 float columns, on the template's flights."""

from pathlib import Path

import lightgbm
import polars as pl

import mlops_kit

DATA = Path(__file__).parents[2] / "templates" / "eta" / "data"
TARGET = "arr_delay"
CATEGORIES = ("carrier", "origin", "dest")
NUMBERS = ("distance", "dep_delay", "weekday", "hour", "minute", "temp", "wind_speed", "visib")
COLUMNS = [*CATEGORIES, *NUMBERS]


def read_flights() -> pl.DataFrame:
    """The training sample, with categories as float codes."""
    weather = pl.read_parquet(DATA / "weather.parquet").rename({"hour": "since"})
    frame = pl.read_parquet(DATA / "flights.parquet").join_asof(
        weather, left_on="time", right_on="since", by="origin", check_sortedness=False
    )
    codes = [pl.col(name).rank("dense").cast(pl.Float32).alias(name) for name in CATEGORIES]
    return frame.with_columns(*codes, *(pl.col(name).cast(pl.Float32) for name in NUMBERS))


def export_flights_model(out: Path) -> Path:
    """Train it and export it."""
    flights = read_flights()
    data = lightgbm.Dataset(flights.select(COLUMNS).to_numpy(), flights[TARGET].to_numpy(), feature_name=COLUMNS)
    booster = lightgbm.train({"objective": "regression", "verbose": -1, "num_threads": 2, "seed": 0}, data, 100)
    mlops_kit.export(booster, sample=flights.select(COLUMNS), out=out)
    return out
