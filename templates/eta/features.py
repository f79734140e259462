"""What is known of the past when a flight leaves, defined once: for training, for batches, and for the server.

`mlkit export --features features.py` keeps it in the bundle, as data. Where predictions are made, this file is not
executed.
"""

from mlops_kit.features import Events, Table, count, mean

# Every departure, numbered in the order in which they happened.
DEPARTURES = "data/departures.parquet"


def delays(key: str):
    """How late the others were that left the same airport, or fly for the same carrier."""
    departures = Events(f"{key}_departures", key=key, time="time", sequence="number", history=DEPARTURES)
    # The last hour is exact. The last day begins at a full hour, so that it is looked up as sums of hours.
    for span, hop in (("1h", None), ("1d", "1h")):
        yield departures.window(span, hop=hop).agg(
            **{
                f"{key}_delay_{span}": mean("dep_delay"),
                f"{key}_late_{span}": mean("is_late"),
                f"{key}_departures_{span}": count(),
            }
        )


weather = Table("weather", key="origin", path="data/weather.parquet", valid_from="hour")
airports = Table("airports", key={"dest": "faa"}, path="data/airports.parquet")

features = [
    *delays("origin"),
    *delays("carrier"),
    weather.select("temp", "wind_speed", "precip", "visib"),
    airports.select(dest_lat="lat", dest_lon="lon"),
]
