"""What goes in and comes out of join, and what it refuses."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from mlops_kit.errors import InputError, MissingColumnsError, MlkitError, UsageError
from mlops_kit.features import Events, count, distinct_count, first, join, last, last_k, mean, time_since_last
from mlops_kit.features import max as largest
from mlops_kit.features import min as least
from mlops_kit.features import sum as total

START = datetime(2026, 5, 1, tzinfo=UTC)
MINUTE = 60_000_000


def at(minute: float) -> datetime:
    return datetime.fromtimestamp(START.timestamp() + 60 * minute, UTC)


EVENTS = pl.DataFrame(
    {
        "origin": ["JFK", "LGA", "JFK", "JFK"],
        "departed_at": [at(0), at(1), at(30), at(90)],
        "dep_delay": [10.0, 99.0, 20.0, 666.0],
    }
)
LABELS = pl.DataFrame(
    {"origin": ["JFK", "JFK", "LGA", None], "t": [at(60), at(30), at(1), at(50)], "late": [1, 0, 1, 0]}
)


@pytest.fixture
def departures(tmp_path: Path) -> Events:
    EVENTS.write_parquet(tmp_path / "departures.parquet")
    return Events("departures", key="origin", time="departed_at", history=tmp_path / "departures.parquet")


@pytest.fixture
def features(departures: Events) -> list[Any]:
    return [departures.window("1h").agg(delay=mean("dep_delay"), flights=count())]


def test_rows_and_columns_stay_and_features_come_after_them(features: list[Any]) -> None:
    found = join(features, LABELS)
    assert found.select(LABELS.columns).equals(LABELS)
    assert found.columns == [*LABELS.columns, "delay", "flights"]
    assert found["delay"].to_list() == [15.0, 10.0, None, None]
    assert found["flights"].to_list() == [2, 1, 0, 0]


def test_the_same_kind_of_frame_comes_out(features: list[Any]) -> None:
    expected = join(features, LABELS)
    assert join(features, LABELS.lazy()).collect().equals(expected)
    assert pl.DataFrame(join(features, LABELS.to_arrow())).equals(expected)
    assert isinstance(join(features, LABELS.to_arrow()), pa.Table)
    pandas = join(features, LABELS.to_pandas().set_axis([7, 5, 3, 1]))
    assert isinstance(pandas, pd.DataFrame)
    assert list(pandas.index) == [7, 5, 3, 1]
    assert pl.from_pandas(pandas.reset_index(drop=True))["flights"].to_list() == [2, 1, 0, 0]


def test_nothing_from_the_future_is_seen(departures: Events, tmp_path: Path) -> None:
    rng = np.random.default_rng(7)
    asked = pl.DataFrame({"origin": [f"A{n}" for n in range(200)], "t": rng.integers(10**9, 2 * 10**9, 200)})
    honest = asked.select("origin", departed_at=pl.col("t") - 1, dep_delay=pl.lit(1.0))
    poison = [
        asked.select("origin", departed_at=pl.col("t") + ahead, dep_delay=pl.lit(1e300))
        for ahead in (0, 1, MINUTE)
    ]
    pl.concat([poison[0], honest, *poison[1:]]).write_parquet(tmp_path / "poisoned.parquet")
    events = Events("departures", key="origin", time="departed_at", history=tmp_path / "poisoned.parquet")
    window = events.window("30d").agg(
        sum=total("dep_delay"), max=largest("dep_delay"), last=last("dep_delay"), n=count()
    )
    hop = events.window("30d", hop="1d").agg(sum_hop=total("dep_delay"), n_hop=count())
    found = join([window, hop], asked, time="t")
    assert found.drop("origin", "t").unique().rows() == [(1.0, 1.0, 1.0, 1, 1.0, 1)]


def test_duckdb_says_the_same(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    events = pl.DataFrame(
        {
            "user": rng.integers(0, 20, 3000),
            "at": rng.integers(0, 5000, 3000) * 1_000_000,
            "x": rng.choice([1e16, 1.0, -1e16, 0.5, None], 3000).astype(float),
        }
    ).with_columns(pl.col("x").fill_nan(None))
    asked = pl.DataFrame({"user": rng.integers(0, 22, 400), "t": rng.integers(0, 5000, 400) * 1_000_000})
    events.write_parquet(tmp_path / "events.parquet", row_group_size=100)
    source = Events("events", key="user", time="at", history=tmp_path / "events.parquet")
    found = join(
        [
            source.window("10m").agg(
                n=count("x"), low=least("x"), high=largest("x"), one=first("x"), other=last("x")
            )
        ],
        asked,
        time="t",
    )
    asked = asked.with_row_index("row")
    numbered = events.with_row_index("seq")  # noqa: F841 - DuckDB reads it
    expected = duckdb.sql(
        """SELECT a.user, a.t, count(x) AS n, min(x) AS low, max(x) AS high,
                  first(x ORDER BY e."at", e.seq) FILTER (x IS NOT NULL) AS one,
                  last(x ORDER BY e."at", e.seq) FILTER (x IS NOT NULL) AS other
           FROM asked a LEFT JOIN numbered e ON a.user = e.user AND e."at" < a.t AND e."at" >= a.t - 600000000
           GROUP BY a.row, a.user, a.t ORDER BY a.row"""
    ).pl()
    assert found.equals(expected)


def test_duckdb_says_the_same_of_windows_with_hops_and_conditions(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    seconds = rng.integers(0, 5000, 3000)
    events = pl.DataFrame(
        {
            "user": rng.integers(0, 20, 3000).astype(str),
            "at": seconds * 1_000_000 + rng.integers(-1, 2, 3000) + 1,
            "x": rng.choice([2.0, 1.0, -1.0, 0.0], 3000),
            "word": rng.choice(["a", "b", "c"], 3000),
        }
    )
    asked = pl.DataFrame(
        {"user": rng.integers(0, 22, 400).astype(str), "t": rng.integers(0, 5000, 400) * 1_000_000}
    )
    events.write_parquet(tmp_path / "events.parquet", row_group_size=100)
    source = Events("events", key="user", time="at", history=tmp_path / "events.parquet")
    window = source.window("10m", hop="7s", where="x > 0 or word in ('b')")
    found = join(
        [
            window.agg(
                n=count(),
                total=total("x"),
                words=distinct_count("word"),
                since=time_since_last(),
                l=last_k("x", 2),
            )
        ],
        asked,
        time="t",
    )
    asked = asked.with_row_index("row")
    numbered = events.with_row_index("seq")  # noqa: F841 - DuckDB reads it
    expected = duckdb.sql(
        """SELECT a.user, a.t, count(e.seq) AS n, sum(x) AS total, count(DISTINCT word) AS words,
                  (a.t - max(e."at")) / 1e6 AS since, list(x ORDER BY e."at" DESC, e.seq DESC)[1] AS l_1,
                  list(x ORDER BY e."at" DESC, e.seq DESC)[2] AS l_2
           FROM asked a LEFT JOIN numbered e ON a.user = e.user AND (x > 0 OR word = 'b') AND e."at" < a.t
                AND e."at" >= (a.t - 600000000) - (((a.t - 600000000) % 7000000) + 7000000) % 7000000
           GROUP BY a.row, a.user, a.t ORDER BY a.row"""
    ).pl()
    assert found["total"].null_count() > 0
    assert found.equals(expected)


def test_events_that_do_not_count_are_left_out_with_a_warning(tmp_path: Path) -> None:
    rows = {"origin": ["JFK"] * 4, "at": [-1, 5, None, 6], "x": [1.0, float("inf"), 1.0, 2.0]}
    pl.DataFrame(rows).write_parquet(tmp_path / "e.parquet")
    events = Events("departures", key="origin", time="at", history=tmp_path / "e.parquet")
    with pytest.warns(UserWarning, match="left out") as warned:
        found = join(
            [events.window("1h").agg(n=count(), s=total("x"))],
            pl.DataFrame({"origin": ["JFK"], "t": [9]}),
            time="t",
        )
    assert found.rows() == [("JFK", 9, 1, 2.0)]
    assert sorted(str(warning.message) for warning in warned) == [
        "departures: 1 left out, because 'at' is before 1970",
        "departures: 1 left out, because 'at' is null, or no time",
        "departures: 1 left out, because 'x' is infinite",
    ]


REFUSED: list[tuple[pl.DataFrame, dict[str, Any], type[MlkitError], str]] = [
    (LABELS.drop("t"), {}, UsageError, "no column is a timestamp"),
    (LABELS.with_columns(u=pl.col("t")), {}, UsageError, "'t', 'u' are timestamps"),
    (LABELS, {"time": "tt"}, MissingColumnsError, "did you mean 't'"),
    (LABELS.drop("origin"), {}, MissingColumnsError, "'origin'"),
    (LABELS.with_columns(origin=pl.lit(7)), {}, InputError, "the key 'origin' is Int32"),
    (LABELS.with_columns(delay=pl.lit(7)), {}, UsageError, "have columns 'delay' already"),
    (LABELS.with_columns(t=pl.lit(None).cast(pl.Datetime)), {}, InputError, "4 of the rows .* the first is row 0"),
    (LABELS.with_columns(t=pl.lit(10**18)), {"time": "t"}, InputError, "after the year 9999, in microseconds"),
    (LABELS, {"applied": {"arrivals": "late"}}, UsageError, "no source 'arrivals'"),
]


@pytest.mark.parametrize(("spine", "options", "error", "message"), REFUSED)
def test_a_spine_that_cannot_be_asked_about_is_refused(
    spine: pl.DataFrame, options: dict[str, Any], error: type[MlkitError], message: str, features: list[Any]
) -> None:
    with pytest.raises(error, match=message):
        join(features, spine, **options)


def test_a_history_that_is_gone_or_has_other_types_is_refused(features: list[Any], tmp_path: Path) -> None:
    history = tmp_path / "departures.parquet"
    EVENTS.with_columns(dep_delay=pl.lit("late")).write_parquet(history)
    with pytest.raises(InputError, match=r"departures\.parquet: column 'dep_delay' is String.*numbers"):
        join(features, LABELS)
    EVENTS.drop("dep_delay").write_parquet(history)
    with pytest.raises(InputError, match=r"departures\.parquet: missing column: 'dep_delay'"):
        join(features, LABELS)
    history.unlink()
    with pytest.raises(UsageError, match="no history of 'departures'"):
        join(features, LABELS)


def test_nobody_asks_and_nothing_happened(features: list[Any], tmp_path: Path) -> None:
    assert join(features, LABELS[:0]).shape == (0, 5)
    EVENTS[:0].write_parquet(tmp_path / "departures.parquet")
    assert join(features, LABELS)["flights"].to_list() == [0, 0, 0, 0]
