"""How fast a generation is published to PostgreSQL: 2 million rows, looked up by an int64, over loopback.

Beside it, on the same server, in turn: the same rows as ready-made data of binary COPY, through libpq, into a table
of the same shape, which is the raw limit; and the same Arrow batches through the driver alone, which is the peer.
Both then get the same unique index. The server has its default settings, so that what is committed is on the disk.
Target: at least 300,000 rows/s for all that `publish` does: reading Parquet, loading, indexing, switching.
"""

import ctypes
import ctypes.util
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import polars as pl
from adbc_driver_postgresql import dbapi

from mlops_kit.tables.generation import Generation
from mlops_kit.tables.resolve import open_table, resolve_address
from tests.benchmarks.verdict import report
from tests.servers.postgres import PostgresServer, run_postgres
from tests.tables.generations import write_generation

ROWS, ROUNDS = 2_000_000, 3
TARGET_ROWS_PER_S = 300_000
TABLE = "CREATE TABLE raw (id BIGINT NOT NULL, origin TEXT, note TEXT, prediction DOUBLE PRECISION)"
INDEX = "CREATE UNIQUE INDEX ON raw (id)"
COPY = b"COPY raw FROM STDIN (FORMAT binary)"
COPY_HEADER, COPY_END = b"PGCOPY\n\xff\r\n\0" + bytes(8), b"\xff\xff"
COPY_ROW = [
    ("fields", ">i2"), ("id_size", ">i4"), ("id", ">i8"), ("origin_size", ">i4"), ("origin", "S3"),
    ("note_size", ">i4"), ("note", "S9"), ("prediction_size", ">i4"), ("prediction", ">f8"),
]  # fmt: skip
CHUNK_BYTES = 1 << 16
PGRES_COMMAND_OK = 1


def main() -> None:
    """Print the table."""
    frame = _make_frame()
    data = _binary_copy(frame)
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory(prefix="mlkit-") as server_folder:
        generations = [write_generation(Path(folder), frame, parts=8) for _ in range(ROUNDS + 1)]
        with run_postgres(Path(server_folder), settings=()) as server:
            calls: dict[str, Callable[[Generation], object]] = {
                "binary COPY through libpq": lambda _: _copy(server, data),
                "adbc_ingest alone": lambda generation: _ingest(server, generation),
                "publish": lambda generation: _publish(server, generation),
            }
            seconds: dict[str, list[float]] = {label: [] for label in calls}
            for round_number, generation in enumerate(generations):
                for label, call in calls.items():
                    elapsed = _measure(call, generation)
                    if round_number:  # the first round warms up
                        seconds[label].append(elapsed)
    rates = {label: ROWS / statistics.median(values) for label, values in seconds.items()}
    for label, rate in rates.items():
        print(f"{label:<28}{rate:12,.0f} rows/s")
    raw, peer, ours = rates.values()
    print(f"{ours / raw:.2f}× of the raw limit, {ours / peer:.2f}× of the driver alone")
    report("rows/s published to PostgreSQL", ours, ">=", TARGET_ROWS_PER_S)


def _make_frame() -> pl.DataFrame:
    random = np.random.default_rng(0)
    return pl.DataFrame(
        {
            "id": random.permutation(ROWS),
            "origin": np.array(["JFK", "LGA", "EWR"])[random.integers(0, 3, ROWS)],
            "note": [f"note {i:04d}" for i in random.integers(0, 10_000, ROWS)],
            "prediction": random.random(ROWS),
        }
    )


def _binary_copy(frame: pl.DataFrame) -> bytes:
    rows = np.empty(ROWS, COPY_ROW)
    rows["fields"] = len(frame.columns)
    for name, size in {"id": 8, "origin": 3, "note": 9, "prediction": 8}.items():
        rows[f"{name}_size"] = size
        rows[name] = frame[name].to_numpy()
    return COPY_HEADER + rows.tobytes() + COPY_END


def _measure(call: Callable[[Generation], object], generation: Generation) -> float:
    started = time.perf_counter()
    call(generation)
    return time.perf_counter() - started


def _publish(server: PostgresServer, generation: Generation) -> None:
    with closing(open_table(resolve_address(f"{server.url()}?table=eta"))) as table:
        table.publish(generation, 1, lambda rows: None)


def _ingest(server: PostgresServer, generation: Generation) -> None:
    server.query("DROP TABLE IF EXISTS raw")
    server.query(TABLE)
    with closing(dbapi.connect(server.url())) as connection, connection.cursor() as cursor:
        for batch in generation.batches():
            cursor.adbc_ingest("raw", batch, mode="append")
        cursor.execute(INDEX)
        connection.commit()


def _copy(server: PostgresServer, data: bytes) -> None:
    server.query("DROP TABLE IF EXISTS raw")
    server.query(TABLE)
    libpq = ctypes.CDLL(ctypes.util.find_library("pq"))
    libpq.PQconnectdb.restype = libpq.PQgetResult.restype = ctypes.c_void_p
    connection = ctypes.c_void_p(libpq.PQconnectdb(server.url().encode()))
    libpq.PQexec(connection, COPY)
    for start in range(0, len(data), CHUNK_BYTES):
        chunk = data[start : start + CHUNK_BYTES]
        if libpq.PQputCopyData(connection, chunk, len(chunk)) != 1:
            raise RuntimeError("libpq does not take the data")
    libpq.PQputCopyEnd(connection, None)
    if libpq.PQresultStatus(ctypes.c_void_p(libpq.PQgetResult(connection))) != PGRES_COMMAND_OK:
        raise RuntimeError("the server does not take the data")
    libpq.PQfinish(connection)
    server.query(INDEX)


if __name__ == "__main__":
    main()
