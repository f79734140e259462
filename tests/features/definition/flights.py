"""Small histories of departures, airports and weather in the current directory, and definitions on them."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl

START = datetime(2013, 1, 1, tzinfo=UTC)


def write_flights(folder: Path) -> None:
    hours = [START + timedelta(hours=hour) for hour in range(4)]
    (folder / "departures").mkdir()
    pl.DataFrame(
        {
            "origin": ["JFK", "LGA", "JFK", "JFK"],
            "carrier": ["B6", "DL", "B6", "AA"],
            "departed_at": hours,
            "dep_delay": [5.0, None, -2.5, 30.0],
            "flight": pl.Series([1, 2, 3, 4], dtype=pl.Int16),
            "cancelled": [False, False, True, False],
            "day": [date(2013, 1, 1)] * 4,
            "seat_km": pl.Series(["1.50"] * 4).cast(pl.Decimal(10, 2)),
        }
    ).write_parquet(folder / "departures" / "2013.parquet")
    pl.DataFrame({"faa": ["JFK", "LGA"], "elevation": [13, 21], "runways": [4, 2]}).write_parquet(
        folder / "airports.parquet"
    )
    pl.DataFrame({"origin": ["JFK"], "since": [START], "temp": [39.0]}).write_parquet(folder / "weather.parquet")


DEFINITION = """
from mlops_kit.features import Events, Table, count, last_k, mean, std

departures = Events(
    "departures", key="origin", time="departed_at", history="departures/", topic="departures", lateness="5m"
)
airports = Table("airports", key={"origin": "faa"}, path="airports.parquet")

features = [
    departures.window("1h").agg(delay_mean_1h=mean("dep_delay", default=0), departures_1h=count()),
    departures.window("30d", hop="1d", where="not cancelled AND carrier='B6'").agg(delay_std_30d=std("dep_delay")),
    departures.window("7d", include_current=True).agg(carriers=last_k("carrier", 2, default="?")),
    airports.select("runways", altitude="elevation", defaults={"altitude": 0}),
]
"""
