"""A table's file into the store, a whole generation at a time: readers see the one before until it is complete."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

import msgspec
import numpy as np
import polars as pl

from mlops_kit.errors import InputError, MissingColumnsError
from mlops_kit.features.admission import Refusals
from mlops_kit.features.definition.feature_set import FeatureSet, Field, TableSource
from mlops_kit.features.history import History, open_history
from mlops_kit.features.keys import encode_keys
from mlops_kit.features.online.filling import Filling
from mlops_kit.features.online.past import files_of
from mlops_kit.features.online.records import (
    CURRENT,
    File,
    Retired,
    TableRecord,
    change_record,
    drop_unused,
    name_generation,
    now_us,
    read_record,
    table_key,
    table_space,
)
from mlops_kit.features.online.rows import ALWAYS, RowCodec, Versions
from mlops_kit.features.online.sources import fields_in_use
from mlops_kit.features.values import normal_values, times_us
from mlops_kit.schema import Array
from mlops_kit.stores.interface import Store, Write

CHUNK_KEYS: Final = 4096

KEPT_US: Final = 3_600_000_000
"""Versions of a row are kept that held so long before the time asked for: requests may be a little older."""


@dataclass(frozen=True, slots=True)
class PublishedTable:
    """What readers see now. `is_new`: this run wrote it; else nothing had changed. `refused`: reason → rows."""

    source: str
    keys: int
    is_new: bool
    refused: dict[str, int] = field(default_factory=dict)


def publish_table(source: TableSource, features: FeatureSet, store: Store, filling: Filling) -> PublishedTable:
    """Write the rows that questions from the time wanted on may ask for, and switch to them.

    Of several rows with one key and `valid_from`, the last one counts, as in a join.

    Raises InputError for a table without time that has two rows for one key, or other columns than its definition.
    """
    codec = RowCodec(fields_in_use(source, features))
    address = (CURRENT, table_key(source.name, codec))
    history = open_history(source.name, source.path)
    seen = _seen(history)
    before = read_record(TableRecord, store, *address)
    if before.generation and before.files == seen and before.as_of_us <= filling.as_of_us and not filling.is_anew:
        return PublishedTable(source.name, before.rows, is_new=False)
    versions, keys, refused = read_versions(source, codec.fields, history, filling.as_of_us - KEPT_US)
    generation = name_generation()
    space = table_space(source.name, codec, generation)
    writes = map(Write, keys, codec.encode(versions))
    while chunk := [*islice(writes, CHUNK_KEYS)]:
        store.write(space, chunk)
        filling.on_rows(len(chunk))

    def switched(record: TableRecord) -> TableRecord:
        old = (Retired(table_space(source.name, codec, record.generation), now_us()),) if record.generation else ()
        return TableRecord(generation, seen, filling.as_of_us, now_us(), len(keys), (*record.retired, *old))

    record = change_record(TableRecord, store, address, switched)
    retired = drop_unused(store, table_space(source.name, codec, ""), record.generation, record.retired)
    change_record(TableRecord, store, address, lambda record: msgspec.structs.replace(record, retired=retired))
    return PublishedTable(source.name, len(keys), is_new=True, refused=refused)


def read_versions(
    source: TableSource, fields: Sequence[Field], history: History, since_us: int
) -> tuple[Versions, list[bytes], dict[str, int]]:
    """The rows of a table by key and time, those that hold at `since_us` and later; the keys; and how many rows
    are left out for each reason. Raises as above.
    """
    frame = _read(source, fields, history)
    refusals = Refusals(len(frame))
    since = _valid_from(source, frame)
    refusals.add(f"{source.valid_from!r} is null, or no time", since.is_null())
    for part in source.key:
        refusals.add(f"the key {part.column!r} is null", frame[part.column].is_null())
    codes, keys = encode_keys(frame, [one.column for one in source.key], [one.kind for one in source.key])
    since_of = since.fill_null(0).to_numpy()
    rows = np.flatnonzero(~refusals.is_refused)
    rows = rows[np.lexsort((since_of[rows], codes[rows]))]
    codes, times = codes[rows], since_of[rows]
    if not source.valid_from:
        _refuse_doubles(source, len(codes) - len(keys))
    # A version matters if the next one of its key does not hold yet at the time asked for.
    is_last = np.append(codes[1:] != codes[:-1], True)[: len(rows)]
    matters = is_last | (np.append(times[1:], 0)[: len(rows)] > since_us)
    first_matters = np.unique(codes, return_index=True)[1]
    has_older = ~matters[first_matters]
    rows, codes, times = rows[matters], codes[matters], times[matters]
    found = np.unique(codes)
    frame = frame[rows]
    words, is_valid, texts = _words(fields, frame)
    starts = np.searchsorted(codes, np.append(found, len(keys)))
    versions = Versions(starts, times, words, is_valid, texts, has_older)
    refused = {reason: len(places) for reason, places in refusals.by_reason.items()}
    return versions, [keys[code] for code in found.tolist()], refused


def _read(source: TableSource, fields: Sequence[Field], history: History) -> pl.DataFrame:
    names = [one.column for one in source.key] + [field.name for field in fields]
    names += [source.valid_from] if source.valid_from else []
    table = pl.scan_parquet([path for path, _ in history.files])
    try:
        known = table.collect_schema().names()
        if missing := [name for name in names if name not in known]:
            raise MissingColumnsError(missing, known)
        return table.select(*dict.fromkeys(names)).collect()
    except (pl.exceptions.PolarsError, OSError) as error:
        why = str(error).partition("\n")[0]
        raise InputError(f"the table {source.name!r} cannot be read", why, "check its file") from error


def _valid_from(source: TableSource, frame: pl.DataFrame) -> pl.Series:
    if source.valid_from:
        return times_us(frame[source.valid_from])
    return pl.repeat(ALWAYS, len(frame), dtype=pl.Int64, eager=True)


def _refuse_doubles(source: TableSource, doubles: int) -> None:
    if doubles:
        raise InputError(
            f"the table {source.name!r} has {doubles:,} rows whose key another row has, too",
            "without a column of time, each key has one row",
            "leave one of them, or define the table with valid_from",
        )


def _words(fields: Sequence[Field], frame: pl.DataFrame) -> tuple[Array, Array, dict[int, Array]]:
    words = np.zeros((len(frame), len(fields)), np.int64)
    is_valid = np.zeros((len(frame), len(fields)), bool)
    texts = {}
    for place, taken in enumerate(fields):
        values, unfit = normal_values(frame[taken.name], taken.kind)
        if unfit.any():
            raise InputError(f"{taken.name!r} has numbers that are not whole, or beyond 64 bits", "it is int64")
        is_valid[:, place] = values.is_not_null().to_numpy()
        if taken.kind == "string":
            texts[place] = values.to_numpy()
        elif taken.kind == "float64":
            words[:, place] = values.fill_null(0.0).to_numpy().view(np.int64)
        else:
            words[:, place] = values.cast(pl.Int64).fill_null(0).to_numpy()
    return words, is_valid, texts


def _seen(history: History) -> tuple[File, ...]:
    """A table's file may be written anew with as many rows and bytes; then its time differs."""
    times = [path.stat().st_mtime_ns for path, _ in history.files]
    files = zip(files_of(history), times, strict=True)
    return tuple(File(f"{file.name}@{time}", file.size, file.rows) for file, time in files)
