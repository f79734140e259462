"""What every backend of tables must do when generations are published, run against each of them."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import polars as pl
import pytest

from mlops_kit.errors import StoreError, UsageError
from mlops_kit.tables.address import STDOUT
from mlops_kit.tables.generation import Generation
from mlops_kit.tables.interface import Table
from mlops_kit.tables.resolve import BACKENDS as SCHEMES
from tests.tables.backends import BACKENDS
from tests.tables.contract import (
    ROWS,
    assert_serves,
    expected_values,
    generations,
    open_at,
    publish,
    row_of,
    typed,
)
from tests.tables.generations import make_frame, write_generation
from tests.tables.processes import publisher, reader


class InterruptedByTestError(Exception):
    pass


def interrupt(rows: int) -> None:
    raise InterruptedByTestError


def test_every_scheme_is_tested() -> None:
    assert set(BACKENDS) | {"rediss", STDOUT} == set(SCHEMES)


def test_nothing_is_current_before_the_first_publication(table: Table) -> None:
    assert table.current() is None


def test_a_get_before_the_first_publication_is_refused(table: Table) -> None:
    with pytest.raises(UsageError, match="nothing"):
        table.get(["1"])


def test_a_rollback_before_the_first_publication_is_refused(table: Table) -> None:
    with pytest.raises(UsageError, match="nothing was ever published"):
        table.rollback()


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


def test_the_next_generation_may_have_a_column_of_another_type(scheme: str, table: Table, tmp_path: Path) -> None:
    first = write_generation(tmp_path, make_frame(ROWS))
    publish(table, first)
    frame = make_frame(ROWS).with_columns(pl.col("small").cast(pl.String))
    generation = write_generation(tmp_path, frame)
    if not BACKENDS[scheme].takes_changed_types:
        with pytest.raises(UsageError, match="'small'"):
            publish(table, generation)
        assert_serves(table, first, make_frame(ROWS))
        return
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


def assert_serves_some(table: Table, both: list[Generation]) -> None:
    """One of them, which is taken out of the list, is the current one; a few of its rows are looked at."""
    current = table.current()
    assert current is not None
    number = int(current.digest[-1], 16)
    both.remove(next(generation for generation in both if generation.name == current.name))
    for row in make_frame(20_000, 1000 * number)[::1999].rows(named=True):
        assert typed(row_of(table, [str(row["id"])]).values) == typed(expected_values(row))


def test_of_two_publishers_at_once_each_publishes_a_whole_generation(address: str, tmp_path: Path) -> None:
    both = generations(tmp_path, 2, rows=20_000)
    start = threading.Barrier(2)

    def work(generation: Generation) -> None:
        with closing(open_at(address)) as table:
            start.wait()
            publish(table, generation)

    with ThreadPoolExecutor(2) as threads:
        list(threads.map(work, both))
    with closing(open_at(address)) as table:
        assert_serves_some(table, both)
        table.rollback()
        assert_serves_some(table, both)


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
    refused = None
    try:
        with closing(open_at(address)) as table:
            publish(table, generation)
            assert_serves(table, generation, make_frame(3))
    except UsageError as error:
        refused = error
    assert refused is None or (name in refused.what and refused.fix)


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


@pytest.mark.parametrize("unreachable", [backend.unreachable for backend in BACKENDS.values()], ids=BACKENDS)
def test_an_unreachable_place_is_said_within_seconds(unreachable: str) -> None:
    started = time.perf_counter()
    with pytest.raises(StoreError) as raised, closing(open_at(unreachable)) as table:
        table.current()
    assert raised.value.why
    assert raised.value.fix
    assert time.perf_counter() - started < 15
