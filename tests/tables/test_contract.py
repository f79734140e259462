"""What every backend of tables must do, run against each of them."""

import struct
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlops_kit.errors import InputError, StoreError, UsageError
from mlops_kit.tables.generation import Generation, key_text, name_generation
from mlops_kit.tables.interface import StoredPrediction, Table
from mlops_kit.tables.resolve import BACKENDS as SCHEMES
from mlops_kit.tables.resolve import open_table, resolve_address
from tests.tables.backends import BACKENDS
from tests.tables.generations import make_frame, write_generation
from tests.tables.processes import publisher, reader

ROWS = 40


@pytest.fixture(params=BACKENDS)
def scheme(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def address(scheme: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    with BACKENDS[scheme].place(request, tmp_path) as address:
        yield address


@pytest.fixture
def table(address: str) -> Iterator[Table]:
    with closing(open_at(address)) as table:
        yield table


def open_at(address: str) -> Table:
    return open_table(resolve_address(address))


def publish(table: Table, generation: Generation, keep: int = 2) -> int:
    """Publish, and return how many rows were told of."""
    counts: list[int] = []
    table.publish(generation, keep, counts.append)
    return sum(counts)


def digest_of(number: int) -> str:
    return "sha256:" + f"{number:x}" * 64


def generations(folder: Path, count: int, rows: int = ROWS) -> list[Generation]:
    """Generation i has digest_of(i), and predictions that are i thousands larger."""
    return [write_generation(folder, make_frame(rows, 1000 * i), digest=digest_of(i)) for i in range(count)]


def expected_values(row: dict[str, Any]) -> dict[str, Any]:
    def as_json(value: Any) -> Any:
        if isinstance(value, date | datetime):
            return value.isoformat()
        return None if value != value else value

    return {name: as_json(value) for name, value in row.items()}


def typed(values: Any) -> dict[str, Any]:
    """Values with their types, because 1 == True == 1.0; `single` as the float32 that it stands for."""
    single = {"single": float(np.float32(values["single"]))} if "single" in values else {}
    return {name: (type(value), value) for name, value in (dict(values) | single).items()}


def assert_serves(table: Table, generation: Generation, frame: pl.DataFrame) -> None:
    """The generation is the current one, and every row of the frame is found by its key, and equal."""
    current = table.current()
    assert current is not None
    assert (current.name, current.digest, current.rows) == (generation.name, generation.digest, len(frame))
    assert current.predicted_at == generation.predicted_at
    for row in frame.rows(named=True):
        found = table.get([key_text([row[name]]) for name in generation.key])
        assert found is not None
        assert typed(found.values) == typed(expected_values(row))
        assert (found.digest, found.predicted_at) == (generation.digest, generation.predicted_at)


def row_of(table: Table, key: Sequence[str]) -> StoredPrediction:
    found = table.get(key)
    assert found is not None
    return found


class InterruptedByTestError(Exception):
    pass


def interrupt(rows: int) -> None:
    raise InterruptedByTestError


def test_every_scheme_is_tested() -> None:
    assert set(BACKENDS) == set(SCHEMES)


def test_nothing_is_current_before_the_first_publication(table: Table) -> None:
    assert table.current() is None


def test_a_get_before_the_first_publication_is_refused(table: Table) -> None:
    with pytest.raises(UsageError, match="nothing"):
        table.get(["1"])


def test_a_rollback_before_the_first_publication_is_refused(table: Table) -> None:
    with pytest.raises(UsageError):
        table.rollback()


def test_every_row_is_found_as_it_was_written(table: Table, tmp_path: Path) -> None:
    frame = make_frame(ROWS)
    generation = write_generation(tmp_path, frame)
    publish(table, generation)
    assert_serves(table, generation, frame)


def test_a_key_of_two_columns_finds_every_row(table: Table, tmp_path: Path) -> None:
    frame = make_frame(ROWS)
    generation = write_generation(tmp_path, frame, key=("origin", "day"))
    publish(table, generation)
    assert_serves(table, generation, frame)


@pytest.mark.parametrize("key", ["at", "is_first", "small"])
def test_keys_of_other_types_find_every_row(table: Table, tmp_path: Path, key: str) -> None:
    frame = make_frame(2).with_columns(is_first=pl.col("id") == 0)
    generation = write_generation(tmp_path, frame, key=(key,))
    publish(table, generation)
    assert_serves(table, generation, frame)


@pytest.mark.parametrize(
    "key", ["99999", "-1", "99999999999999999999", "JFK", "", "1.5", "1' OR '1'='1", "%", "é"]
)
def test_an_unknown_key_finds_nothing(table: Table, tmp_path: Path, key: str) -> None:
    publish(table, write_generation(tmp_path, make_frame(ROWS)))
    assert table.get([key]) is None


@pytest.mark.parametrize("key", [[], ["1", "2"]])
def test_a_wrong_number_of_key_values_is_refused(table: Table, tmp_path: Path, key: list[str]) -> None:
    publish(table, write_generation(tmp_path, make_frame(ROWS)))
    with pytest.raises(UsageError, match="'id'"):
        table.get(key)


def test_extremes_come_back_as_the_same_bits(table: Table, tmp_path: Path) -> None:
    doubles = [5e-324, -0.0, 1.7976931348623157e308, 0.1 + 0.2, 1e22, 123456789.12345679, 2.0**53 + 2]
    singles = [1e-45, -0.0, 3.4028235e38, 0.1, 16777216.0, 1 / 3, 1e-10]
    longs = [2**63 - 1, -(2**63), 2**53 + 1, 0, -1, 1, 10**18]
    frame = pl.DataFrame(
        {
            "id": range(7),
            "d": doubles,
            "s": pl.Series(singles, dtype=pl.Float32),
            "i": pl.Series(longs, dtype=pl.Int64),
        }
    )
    publish(table, write_generation(tmp_path, frame))
    for i in range(7):
        values = row_of(table, [str(i)]).values
        assert struct.pack("<d", values["d"]) == struct.pack("<d", doubles[i])
        assert struct.pack("<f", values["s"]) == struct.pack("<f", singles[i])
        assert values["i"] == longs[i]


def test_all_rows_are_told_of_while_they_are_loaded(table: Table, tmp_path: Path) -> None:
    assert publish(table, write_generation(tmp_path, make_frame(40_000))) == 40_000


def test_a_generation_without_rows_is_published(table: Table, tmp_path: Path) -> None:
    generation = write_generation(tmp_path, make_frame(0))
    publish(table, generation)
    assert_serves(table, generation, make_frame(0))
    assert table.get(["1"]) is None


def test_a_new_object_finds_what_an_earlier_one_published(address: str, tmp_path: Path) -> None:
    generation = write_generation(tmp_path, make_frame(ROWS))
    with closing(open_at(address)) as table:
        publish(table, generation)
    with closing(open_at(address)) as table:
        assert_serves(table, generation, make_frame(ROWS))


def test_the_second_publication_replaces_the_first(table: Table, tmp_path: Path) -> None:
    first, second = generations(tmp_path, 2)
    publish(table, first)
    publish(table, second)
    assert_serves(table, second, make_frame(ROWS, 1000))


def test_rows_that_the_next_generation_lacks_are_gone(table: Table, tmp_path: Path) -> None:
    publish(table, write_generation(tmp_path, make_frame(ROWS)))
    publish(table, write_generation(tmp_path, make_frame(ROWS - 1)))
    assert table.get([str(ROWS - 1)]) is None


def test_the_next_generation_may_have_other_columns_and_another_key(table: Table, tmp_path: Path) -> None:
    frames = [
        make_frame(ROWS),
        make_frame(ROWS).drop("note", "small").with_columns(score=pl.col("prediction") * 2),
    ]
    first, second = (
        write_generation(tmp_path, frames[0]),
        write_generation(tmp_path, frames[1], key=("origin", "day")),
    )
    publish(table, first)
    publish(table, second)
    assert_serves(table, second, frames[1])
    table.rollback()
    assert_serves(table, first, frames[0])


def test_the_next_generation_may_have_a_column_of_another_type(table: Table, tmp_path: Path) -> None:
    publish(table, write_generation(tmp_path, make_frame(ROWS)))
    frame = make_frame(ROWS).with_columns(pl.col("small").cast(pl.String))
    generation = write_generation(tmp_path, frame)
    publish(table, generation)
    assert_serves(table, generation, frame)


def test_rollback_gives_the_generation_before(table: Table, tmp_path: Path) -> None:
    first, second = generations(tmp_path, 2)
    publish(table, first)
    publish(table, second)
    assert table.rollback() == table.current()
    assert_serves(table, first, make_frame(ROWS))


def test_there_is_nothing_to_roll_back_to_twice(table: Table, tmp_path: Path) -> None:
    first, second = generations(tmp_path, 2)
    publish(table, first)
    publish(table, second)
    table.rollback()
    with pytest.raises(UsageError):
        table.rollback()
    assert_serves(table, first, make_frame(ROWS))


def test_what_was_rolled_back_is_not_offered_after_the_next_publication(table: Table, tmp_path: Path) -> None:
    first, second, third = generations(tmp_path, 3)
    publish(table, first, keep=3)
    publish(table, second, keep=3)
    table.rollback()
    publish(table, third, keep=3)
    assert_serves(table, third, make_frame(ROWS, 2000))
    assert table.rollback().name == first.name
    with pytest.raises(UsageError):
        table.rollback()


def test_what_was_rolled_back_can_be_published_again(table: Table, tmp_path: Path) -> None:
    first, second = generations(tmp_path, 2)
    publish(table, first)
    publish(table, second)
    table.rollback()
    publish(table, second)
    assert_serves(table, second, make_frame(ROWS, 1000))
    assert table.rollback().name == first.name


def test_publishing_a_generation_twice_is_the_same_as_once(table: Table, tmp_path: Path) -> None:
    first, second = generations(tmp_path, 2)
    for generation in (first, second, second):
        publish(table, generation)
    assert_serves(table, second, make_frame(ROWS, 1000))
    assert table.rollback().name == first.name
    with pytest.raises(UsageError):
        table.rollback()


def test_older_generations_than_those_to_keep_are_gone(table: Table, tmp_path: Path) -> None:
    first, second, third = generations(tmp_path, 3)
    for generation in (first, second, third):
        publish(table, generation, keep=2)
    assert table.rollback().name == second.name
    with pytest.raises(UsageError):
        table.rollback()
    assert_serves(table, second, make_frame(ROWS, 1000))


def test_keeping_one_leaves_nothing_to_roll_back_to(table: Table, tmp_path: Path) -> None:
    first, second = generations(tmp_path, 2)
    publish(table, first)
    publish(table, second, keep=1)
    with pytest.raises(UsageError):
        table.rollback()
    assert_serves(table, second, make_frame(ROWS, 1000))


def test_an_interrupted_publication_leaves_the_generation_before(table: Table, tmp_path: Path) -> None:
    first, second = generations(tmp_path, 2)
    publish(table, first)
    with pytest.raises(InterruptedByTestError):
        table.publish(second, 2, interrupt)
    assert_serves(table, first, make_frame(ROWS))
    assert publish(table, second) == ROWS
    assert_serves(table, second, make_frame(ROWS, 1000))
    assert table.rollback().name == first.name


def test_an_interrupted_first_publication_leaves_nothing(table: Table, tmp_path: Path) -> None:
    generation = write_generation(tmp_path, make_frame(ROWS))
    with pytest.raises(InterruptedByTestError):
        table.publish(generation, 2, interrupt)
    assert table.current() is None
    publish(table, generation)
    assert_serves(table, generation, make_frame(ROWS))


def test_a_publisher_killed_while_loading_leaves_the_generation_before(address: str, tmp_path: Path) -> None:
    first, second = generations(tmp_path, 2)
    with closing(open_at(address)) as table:
        publish(table, first)
    with publisher(address, second, tmp_path) as process:
        assert process.stdout
        assert process.stdout.readline() == "loaded\n"
        process.kill()
    with closing(open_at(address)) as table:
        assert_serves(table, first, make_frame(ROWS))
        publish(table, second)
        assert_serves(table, second, make_frame(ROWS, 1000))


def test_of_two_publishers_at_once_each_publishes_a_whole_generation(address: str, tmp_path: Path) -> None:
    both = generations(tmp_path, 2, rows=20_000)
    failures: list[BaseException] = []
    start = threading.Barrier(2)

    def work(generation: Generation) -> None:
        try:
            with closing(open_at(address)) as table:
                start.wait()
                publish(table, generation)
        except BaseException as error:  # noqa: BLE001 - told by the test's own thread
            failures.append(error)

    threads = [threading.Thread(target=work, args=[generation]) for generation in both]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    with closing(open_at(address)) as table:
        served = [table.current(), table.rollback()]
        assert {published.name for published in served if published} == {generation.name for generation in both}
        current = next(i for i in range(2) if both[i].name == table.current().name)  # type: ignore[union-attr]
        for row in make_frame(20_000, 1000 * current)[::1999].rows(named=True):
            assert typed(row_of(table, [str(row["id"])]).values) == typed(expected_values(row))


def test_readers_never_see_anything_but_whole_generations(address: str, tmp_path: Path) -> None:
    published = generations(tmp_path, 5, rows=2000)
    answers = {
        generation.digest: expected_values(make_frame(2000, 1000 * i).row(1234, named=True))
        for i, generation in enumerate(published)
    }
    with closing(open_at(address)) as table:
        publish(table, published[0])
        with reader(address, "1234") as watching:
            for generation in published:
                publish(table, generation, keep=1)
                watching.wait_for(generation.digest)
    assert all(seen and typed(seen["values"]) == typed(answers[seen["digest"]]) for seen in watching.seen)
    assert [seen["digest"] for seen in watching.seen] == list(answers)


@pytest.mark.parametrize("name", ["eta-v2", "Eta", 'a"b', "a b", "é", "a;b", "a:b", "a{b}", "select", "x" * 60])
def test_an_odd_table_name_works_or_is_refused_with_what_is_allowed(
    address: str, tmp_path: Path, name: str
) -> None:
    address = address.replace("table=eta", f"table={quote(name)}")
    generation = write_generation(tmp_path, make_frame(3))
    try:
        with closing(open_at(address)) as table:
            publish(table, generation)
            assert_serves(table, generation, make_frame(3))
    except UsageError as refused:
        assert name in refused.what  # noqa: PT017
        assert refused.fix  # noqa: PT017


def test_a_table_whose_name_begins_alike_is_left_alone(address: str, tmp_path: Path) -> None:
    others = [address.replace("table=eta", f"table={name}") for name in ("eta_2", "eta__g2")]
    first, second = generations(tmp_path, 2)
    for other in others:
        with closing(open_at(other)) as table:
            publish(table, first)
    with closing(open_at(address)) as table:
        publish(table, first)
        publish(table, second, keep=1)
    for other in others:
        with closing(open_at(other)) as table:
            assert_serves(table, first, make_frame(ROWS))


def test_a_table_without_a_key_has_no_look_up(scheme: str, table: Table, tmp_path: Path) -> None:
    generation = write_generation(tmp_path, make_frame(ROWS), key=())
    if not BACKENDS[scheme].takes_tables_without_key:
        with pytest.raises(UsageError, match="--key"):
            publish(table, generation)
        return
    publish(table, generation)
    assert table.current() is not None
    with pytest.raises(UsageError, match="run again with --key"):
        table.get(["1"])


OTHER_TYPES = {
    "uint8": (pa.uint8(), 255, 255),
    "uint16": (pa.uint16(), 65535, 65535),
    "uint32": (pa.uint32(), 2**32 - 1, 2**32 - 1),
    "uint64": (pa.uint64(), 2**64 - 1, 2**64 - 1),
    "float16": (pa.float16(), np.float16(0.5), 0.5),
    "infinity": (pa.float64(), float("inf"), None),
    "string": (pa.string(), "é", "é"),
    "dictionary": (pa.dictionary(pa.int32(), pa.string()), "é", "é"),
    "date64": (pa.date64(), date(2026, 11, 21), "2026-11-21"),
    "timestamp without zone": (pa.timestamp("ms"), datetime(2026, 11, 21, 8, 30), "2026-11-21T08:30:00"),
    "list of floats": (pa.list_(pa.float32()), [0.5, None, float("nan")], [0.5, None, None]),
    "fixed-size list": (pa.list_(pa.float64(), 2), [0.1, 0.2], [0.1, 0.2]),
    "decimal": (pa.decimal128(10, 2), Decimal("1.50"), "1.50"),
    "null": (pa.null(), None, None),
}
REFUSABLE_TYPES = {
    "binary": (pa.binary(), b"\0\xff"),
    "struct": (pa.struct({"a": pa.int32()}), {"a": 1}),
    "time": (pa.time64("us"), datetime(2026, 11, 21, 8, 30).time()),
    "nanoseconds": (pa.timestamp("ns"), np.datetime64("2026-11-21T08:30:00.000000001", "ns")),
    "list of text": (pa.list_(pa.string()), ["a"]),
    "list of lists": (pa.list_(pa.list_(pa.int8())), [[1]]),
}


def write_column(folder: Path, dtype: pa.DataType, value: Any) -> Generation:
    """A generation of one row: an id, and the value in the column `odd`."""
    name = name_generation()
    path = folder / f"{name}.parquet"
    pq.write_table(pa.table({"id": pa.array([1]), "odd": pa.array([value], dtype)}), path)
    return Generation(name, digest_of(1), "2026-11-21T08:30:00Z", ("id",), 1, pq.read_schema(path), (path,))


@pytest.mark.parametrize(("dtype", "value", "expected"), OTHER_TYPES.values(), ids=OTHER_TYPES)
def test_other_types_are_found_as_json_has_them(
    table: Table, tmp_path: Path, dtype: pa.DataType, value: Any, expected: Any
) -> None:
    publish(table, write_column(tmp_path, dtype, value))
    found = row_of(table, ["1"]).values["odd"]
    assert (type(found), found) == (type(expected), expected)


@pytest.mark.parametrize(("dtype", "value"), REFUSABLE_TYPES.values(), ids=REFUSABLE_TYPES)
def test_a_column_that_cannot_be_stored_is_named_and_nothing_changes(
    table: Table, tmp_path: Path, dtype: pa.DataType, value: Any
) -> None:
    first = write_generation(tmp_path, make_frame(3))
    publish(table, first)
    generation = write_column(tmp_path, dtype, value)
    try:
        publish(table, generation)
    except (UsageError, InputError) as refused:
        assert "'odd'" in refused.what  # noqa: PT017
        assert_serves(table, first, make_frame(3))
    else:
        assert row_of(table, ["1"]).values["odd"] is not None


@pytest.mark.parametrize("unreachable", [backend.unreachable for backend in BACKENDS.values()], ids=BACKENDS)
def test_an_unreachable_place_is_said_within_seconds(unreachable: str) -> None:
    started = time.perf_counter()
    with pytest.raises(StoreError) as raised, closing(open_at(unreachable)) as table:
        table.current()
    assert raised.value.why
    assert raised.value.fix
    assert time.perf_counter() - started < 15
