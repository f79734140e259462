"""Definitions as people write them: what they become, and what is wrong with them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from mlops_kit.errors import InputError, MlkitError, UsageError
from mlops_kit.features import (
    Events,
    Table,
    count,
    distinct_count,
    feature_set,
    first,
    last,
    last_k,
    load_definition,
    max,  # noqa: A004
    mean,
    min,  # noqa: A004
    std,
    sum,  # noqa: A004
    time_since_last,
    var,
)
from mlops_kit.features.definition.feature_set import EventSource, Field, KeyField, TableFeature, WindowFeature
from mlops_kit.features.definition.parquet_files import parquet_files
from tests.features.definition.flights import DEFINITION, write_flights

HOUR, DAY = 3_600_000_000, 86_400_000_000


@pytest.fixture(autouse=True)
def flights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_flights(tmp_path)
    (tmp_path / "features.py").write_text(DEFINITION)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def departures(**changes: Any) -> Events:
    given = {"name": "departures", "key": "origin", "time": "departed_at", "history": "departures"} | changes
    return Events(given.pop("name"), **given)


def test_a_file_becomes_one_definition_with_what_it_needs_of_its_sources() -> None:
    features = load_definition("features.py")
    assert features.events == (
        EventSource(
            name="departures",
            key=(KeyField("origin", "origin", "string"),),
            time="departed_at",
            fields=(Field("cancelled", "bool"), Field("carrier", "string"), Field("dep_delay", "float64")),
            history="departures/",
            topic="departures",
            lateness_us=300_000_000,
        ),
    )
    condition = "not cancelled and carrier = 'B6'"
    carriers = [
        WindowFeature(
            f"carriers_{k}",
            "departures",
            7 * DAY,
            "last_k",
            "string",
            "carrier",
            k=k,
            default="?",
            include_current=True,
        )
        for k in (1, 2)
    ]
    assert features.windows == (
        WindowFeature("delay_mean_1h", "departures", HOUR, "mean", "float64", "dep_delay", default=0.0),
        WindowFeature("departures_1h", "departures", HOUR, "count", "int64"),
        WindowFeature("delay_std_30d", "departures", 30 * DAY, "std", "float64", "dep_delay", DAY, condition),
        *carriers,
    )
    assert features.tables[0].key == (KeyField("origin", "faa", "string"),)
    assert features.lookups == (
        TableFeature("runways", "airports", "runways", "int64"),
        TableFeature("altitude", "airports", "elevation", "int64", 0),
    )


OUTPUTS = {
    "count": (count(), "int64"),
    "count of values": (count("carrier"), "int64"),
    "distinct_count": (distinct_count("carrier"), "int64"),
    "sum": (sum("flight"), "float64"),
    "sum of truth values": (sum("cancelled"), "float64"),
    "mean": (mean("flight"), "float64"),
    "var": (var("dep_delay"), "float64"),
    "std": (std("dep_delay"), "float64"),
    "min of whole numbers": (min("flight"), "int64"),
    "max": (max("dep_delay"), "float64"),
    "first": (first("cancelled"), "bool"),
    "last": (last("carrier"), "string"),
    "time_since_last": (time_since_last(), "float64"),
}


@pytest.mark.parametrize(("aggregate", "kind"), OUTPUTS.values(), ids=OUTPUTS)
def test_each_aggregation_has_its_type(aggregate: Any, kind: str) -> None:
    assert departures().window("1h").agg(a=aggregate).features[0].kind == kind


def test_types_can_be_declared_where_there_is_no_history() -> None:
    clicks = Events(
        "clicks", key=["user", "shop"], time="at", columns={"user": "int64", "shop": "string", "price": "float64"}
    )
    assert clicks.source.key == (KeyField("user", "user", "int64"), KeyField("shop", "shop", "string"))
    assert clicks.window("10s").agg(spent=sum("price")).features[0].kind == "float64"


def test_a_declaration_may_widen_what_the_files_have() -> None:
    assert (
        departures(columns={"flight": "float64"}).window("1h").agg(a=max("flight")).features[0].kind == "float64"
    )


def test_types_are_those_of_the_newest_file_that_is_meant(flights: Path) -> None:
    for name in ("departures/2014.parquet", "departures/_tmp/2015.parquet", "departures/.hidden.parquet"):
        (flights / name).parent.mkdir(exist_ok=True)
        pl.read_parquet("departures/2013.parquet").with_columns(new=1).write_parquet(flights / name)
    names = ["departures/2013.parquet", "departures/2014.parquet"]
    assert [str(file) for file in parquet_files("departures")] == names
    assert [str(file) for file in parquet_files("departures/*13.parquet")] == names[:1]
    assert [str(file) for file in parquet_files(f"{flights}/departures/20*")] == [
        f"{flights}/{name}" for name in names
    ]
    assert departures().window("1h").agg(a=max("new")).features[0].kind == "int64"


def test_a_name_that_looks_like_a_pattern_is_a_name_if_it_is_there(flights: Path) -> None:
    (flights / "departures").rename("depart[ures]")
    (flights / "depart[ures]/2013.parquet").rename("depart[ures]/20*.parquet")
    assert (
        departures(history="depart[ures]").source.fields
        == departures(history="depart[ures]/20*.parquet").source.fields
    )


def test_a_default_of_another_number_type_is_taken_where_nothing_is_lost() -> None:
    made = departures().window("1h").agg(a=mean("flight", default=-0.0), b=mean("flight", default=np.float64(0.5)))
    assert [repr(feature.default) for feature in made.features] == ["0.0", "0.5"]


Call = Callable[[], object]


def _of(aggregate: Callable[[], Any]) -> Call:
    return lambda: departures().window("1h").agg(a=aggregate())


def _window(*args: Any, **options: Any) -> Call:
    return lambda: departures().window(*args, **options)


def _events(**changes: Any) -> Call:
    return lambda: departures(**changes)


def _set(*more: Callable[[], Any]) -> Call:
    return lambda: feature_set([departures().window("1h").agg(a=count()), *(make() for make in more)])


def _table(**changes: Any) -> Call:
    return lambda: Table("airports", **({"key": "faa", "path": "airports.parquet"} | changes))


def _select(*columns: str, **options: Any) -> Call:
    return lambda: Table("airports", key="faa", path="airports.parquet").select(*columns, **options)


WRONG = {
    "an unknown column": (_of(lambda: mean("dep_dely")), "did you mean 'dep_delay' for 'dep_dely'?"),
    "a column of dates": (_of(lambda: last("day")), "column 'day' is Date"),
    "a column of decimals": (_of(lambda: sum("seat_km")), "convert 'seat_km' in the files"),
    "mean of text": (_of(lambda: mean("carrier")), "feature 'a': mean of a string column. it takes columns of"),
    "min of text": (_of(lambda: min("carrier")), "min of a string column"),
    "max of truth values": (_of(lambda: max("cancelled")), "max of a bool column"),
    "no column": (_of(lambda: mean("")), 'name the column: mean("dep_delay")'),
    "no aggregation": (_of(lambda: "dep_delay"), "feature 'a' is a str, not an aggregation"),
    "last_k of none": (_of(lambda: last_k("carrier", 0)), "k is a whole number from 1 to 100"),
    "last_k of too many": (_of(lambda: last_k("carrier", 101)), "k is a whole number from 1 to 100"),
    "last_k of a half": (_of(lambda: last_k("carrier", 1.5)), "k is a whole number"),  # type: ignore[arg-type]
    "a default of text": (_of(lambda: mean("dep_delay", default="0")), "its default '0' is no float64"),  # type: ignore[arg-type]
    "a default of truth": (_of(lambda: mean("dep_delay", default=True)), "its default True is no float64"),
    "a fraction for whole numbers": (_of(lambda: last("flight", default=0.5)), "its default 0.5 is no int64"),
    "a default beyond int64": (_of(lambda: last("flight", default=2**63)), "out of range"),
    "a default that is lost in a float": (_of(lambda: mean("flight", default=2**53 + 1)), "is no float64"),
    "a default of NaN": (_of(lambda: mean("flight", default=float("nan"))), "None is null"),
    "a default that cannot be shown": (_of(lambda: last("carrier", default="\x00")), "cannot be printed"),
    "a window of nothing": (_window("0s"), "it must be longer than nothing"),
    "a negative window": (_window("-1h"), "'-1h' is no span of time"),
    "a window without a unit": (_window("60"), "write a whole number and one of w, d, h, m, s, ms, us"),
    "a window of months": (_window("2 months"), "'2 months' is no span of time"),
    "a window that is no text": (_window(3600), "3600 is no span of time"),
    "a window of ages": (_window("36526d"), "it is longer than a century"),
    "a hop of nothing": (_window("1h", hop="0s"), "it must be longer than nothing"),
    "a hop longer than its window": (_window("1h", hop="2h"), "it is longer than its window"),
    "too many hops": (_window("30d", hop="1m"), "43,200 hops for each key, and 10,000 are the most"),
    "a wrong condition": (_window("1h", where="dep_delay > 'x'"), "is wrong at character 13"),
    "a time in a condition": (
        _window("1h", where="dep_delay > 0 and departed_at is null"),
        "is wrong at character 19. 'departed_at' is Datetime(",
    ),
    "an unknown column in a condition": (_window("1h", where="carier = 'B6'"), "did you mean 'carrier'"),
    "an unknown key": (_events(key="orgin"), "did you mean 'origin'"),
    "a key of floats": (_events(key="dep_delay"), "floats are hardly ever equal"),
    "a key of dates": (_events(key="day"), "column 'day' is Date"),
    "no key": (_events(key=[]), "name 1 to 8 columns"),
    "a key named twice": (_events(key=["origin", "origin"]), "two key columns of 'departures' are named 'origin'"),
    "an unknown time": (_events(time="departed"), "did you mean 'departed_at'"),
    "a time of text": (_events(time="carrier"), "time 'carrier' is string"),
    "a time of dates": (_events(time="day"), "time 'day' is Date"),
    "a sequence of text": (_events(sequence="carrier"), "sequence 'carrier' is string"),
    "an unknown sequence": (_events(sequence="offset"), "has no column 'offset'"),
    "a wrong lateness": (_events(lateness="soon"), "lateness 'soon' is no span of time"),
    "a name for no URL": (_events(name="de/partures"), "it is a part of URLs"),
    "no history": (_events(history="departurs"), "there is no Parquet file at 'departurs'"),
    "neither history nor types": (_events(history=""), "columns={"),
    "an unknown type": (_events(columns={"dep_delay": "float"}), "did you mean 'float64' for 'float'?"),
    "another type than the files": (_events(columns={"carrier": "int64"}), "it is String in 'departures'"),
    "a type for no column": (_events(columns={"carier": "string"}), "did you mean 'carrier'"),
    "two features of one name": (
        _set(lambda: departures().window("2h").agg(a=count())),
        "two features are named 'a'. rename one",
    ),
    "two sources of one name": (
        _set(lambda: departures(lateness="1h").window("2h").agg(b=count())),
        "two sources are named 'departures'",
    ),
    "a feature with the name of a key": (
        _set(lambda: departures().window("2h").agg(origin=count())),
        "'origin' is a feature and a key",
    ),
    "one key of two types": (
        _set(lambda: Table("t", key={"origin": "elevation"}, path="airports.parquet").select("runways")),
        "key 'origin' is string in one source and int64 in another",
    ),
    "a window without agg": (_set(lambda: departures().window("2h")), "end it with .agg(…)"),
    "a list in the list": (_set(list), "features[1] is a list"),
    "too many conditions": (
        _set(
            *(
                (lambda n=n: departures().window("1h", where=f"flight = {n}").agg(**{f"f{n}": count()}))
                for n in range(32)
            )
        ),
        "look at 32 conditions. one source has at most 31",
    ),
    "no features": (lambda: feature_set([]), "there is no feature"),
    "no list": (lambda: feature_set(departures()), "features are a list, not a Events"),  # type: ignore[arg-type]
    "an unknown column of a table": (_select("elevaton"), "did you mean 'elevation'"),
    "a default for what is not selected": (
        _select("elevation", defaults={"elevaton": 0}),
        "did you mean 'elevation'",
    ),
    "a default of another type": (
        _select("elevation", defaults={"elevation": "0"}),
        "its default '0' is no int64",
    ),
    "an unknown valid_from": (_table(valid_from="since"), "has no column 'since'"),
    "a valid_from of text": (_table(valid_from="faa"), "valid_from 'faa' is string"),
}


@pytest.mark.parametrize(("define", "message"), WRONG.values(), ids=WRONG)
def test_a_mistake_is_refused_where_it_is_written(define: Call, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        define()
    assert message in str(caught.value)


def test_a_history_that_is_no_parquet_is_to_be_converted(flights: Path) -> None:
    (flights / "departures.csv").write_text("origin,departed_at\nJFK,2013-01-01\n")
    with pytest.raises(InputError, match=r"departures\.csv: cannot be read") as raised:
        departures(history="departures.csv")
    assert raised.value.fix == "convert it: histories and tables are Parquet"


def test_a_damaged_history_is_refused(flights: Path) -> None:
    (flights / "departures" / "2014.parquet").write_bytes(b"PAR1 nothing PAR1")
    with pytest.raises(InputError, match=r"departures/2014\.parquet: cannot be read"):
        departures()


BROKEN = {
    "an exception": ("x = 1\nnope\n", ", line 2: it failed. NameError: name 'nope' is not defined"),
    "a syntax error": ("\n\nfeatures = [\n", ", line 3: it failed. SyntaxError"),
    "an exit": ("raise SystemExit('bye')\n", ", line 1: it failed. SystemExit: bye"),
    "a mistake": (DEFINITION.replace('mean("dep_delay"', 'mean("dep_dely"'), ", line 10: 'departures' has no column 'dep_dely'"),
    "no list": ("featurs = []\n", "did you mean 'featurs' for 'features'?"),
    "another list": ("features = [1]\n", "features[0] is a int"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "message"), BROKEN.values(), ids=BROKEN)
def test_a_file_that_defines_nothing_is_refused_with_its_line(flights: Path, text: str, message: str) -> None:
    (flights / "broken.py").write_text(text)
    with pytest.raises(MlkitError) as caught:
        load_definition("broken.py")
    assert str(caught.value).startswith("broken.py")
    assert message in str(caught.value)


def test_a_file_that_is_not_there_is_refused() -> None:
    with pytest.raises(UsageError, match=r"nothing\.py: no such file"):
        load_definition("nothing.py")


def test_a_file_may_import_what_lies_beside_it_and_print(flights: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = flights / "project"
    folder.mkdir()
    (folder / "windows_beside.py").write_text("HOURS = ('1h', '2h')\n")
    (folder / "features.py").write_text(
        "from windows_beside import HOURS\n"
        "from mlops_kit.features import Events, count\n"
        "print('hello')\n"
        "events = Events('e', key='origin', time='departed_at', history='departures')\n"
        "features = [events.window(hours).agg(**{f'n_{hours}': count()}) for hours in HOURS]\n"
    )
    assert [feature.name for feature in load_definition(folder / "features.py").features] == ["n_1h", "n_2h"]
    printed = capfd.readouterr()
    assert (printed.out, printed.err) == ("", "hello\n")
