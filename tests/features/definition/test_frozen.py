"""features.json: it comes back as it was, and nothing that was not written by mlkit is taken."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_kit.errors import BundleError
from mlops_kit.features import Events, Table, feature_set, load_definition
from mlops_kit.features.definition import aggregations
from mlops_kit.features.definition.compilation import keep_features
from mlops_kit.features.definition.description import describe_feature
from mlops_kit.features.definition.feature_set import FeatureSet
from mlops_kit.features.definition.frozen import freeze, read_frozen
from tests.features.definition.flights import DEFINITION, write_flights

COLUMNS = {"origin": "string", "flight": "int64", "dep_delay": "float64", "cancelled": "bool"}
TEXTS = st.text(max_size=5).filter(str.isprintable)


@pytest.fixture
def features(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FeatureSet:
    write_flights(tmp_path)
    (tmp_path / "features.py").write_text(DEFINITION)
    monkeypatch.chdir(tmp_path)
    return load_definition("features.py")


@st.composite
def aggregates(draw: Any) -> aggregations.Aggregate:
    name = draw(st.sampled_from(["count", "mean", "min", "last", "last_k", "distinct_count", "time_since_last"]))
    number = draw(st.sampled_from(["flight", "dep_delay"]))
    match name:
        case "count" | "distinct_count":
            return getattr(aggregations, name)(draw(st.sampled_from(sorted(COLUMNS))))  # type: ignore[no-any-return]
        case "min":
            whole = st.integers(-(2**63), 2**63 - 1)
            return aggregations.min(
                number, draw(st.none() | (whole if number == "flight" else st.integers(-5, 5)))
            )
        case "last" | "last_k":
            more = [draw(st.integers(1, 5))] if name == "last_k" else []
            return getattr(aggregations, name)("origin", *more, draw(st.none() | TEXTS))  # type: ignore[no-any-return]
        case "mean":
            return aggregations.mean(number, draw(st.none() | st.floats(allow_nan=False, allow_infinity=False)))
    return aggregations.time_since_last(draw(st.sampled_from(["", number])))


@st.composite
def definitions(draw: Any) -> FeatureSet:
    groups = []
    for place in range(draw(st.integers(1, 4))):
        events = Events(
            f"events{draw(st.integers(0, 1))}",
            key=draw(st.sampled_from([{"place": "origin"}, {"place": "origin", "number": "flight"}])),
            time="at",
            columns=COLUMNS,
            history=draw(st.sampled_from(["", "nowhere/*.parquet"])),
            lateness=f"{draw(st.integers(0, 90))}s",
        )
        window = events.window(
            f"{draw(st.integers(24, 100))}h",
            hop=draw(st.sampled_from([None, "1d", "30m"])),
            where=draw(st.sampled_from(["", "dep_delay>0", "not cancelled or origin = 'é''s'"])),
            include_current=draw(st.booleans()),
        )
        made = draw(st.lists(aggregates(), min_size=1, max_size=3))
        groups.append(window.agg(**{f"{place} {number}": aggregate for number, aggregate in enumerate(made)}))
    by_name = {group.source.name: group.source for group in groups}
    table = Table("t", key={"place": "origin"}, columns=COLUMNS, valid_from="at")
    groups = [group for group in groups if group.source == by_name[group.source.name]]
    return feature_set([*groups, table.select("flight", **{"the delay": "dep_delay"})])


@settings(max_examples=100, deadline=None)
@given(definitions())
def test_what_is_frozen_is_read_as_it_was(made: FeatureSet) -> None:
    assert read_frozen(freeze(made)) == made


@settings(max_examples=50, deadline=None)
@given(definitions(), st.data())
def test_a_part_of_a_definition_is_one(made: FeatureSet, data: Any) -> None:
    names = sorted(feature.name for feature in made.features)
    kept = set(data.draw(st.lists(st.sampled_from(names), min_size=1)))
    part = keep_features(made, kept)
    assert read_frozen(freeze(part)) == part
    assert {feature.name for feature in part.features} == kept


def test_paths_stay_as_they_were_written(features: FeatureSet, tmp_path: Path) -> None:
    document = freeze(features).decode()
    assert '"history": "departures/"' in document
    assert str(tmp_path) not in document


def test_each_feature_is_said_in_a_line(features: FeatureSet) -> None:
    assert [describe_feature(feature, features) for feature in features.features] == [
        "mean(dep_delay) of departures by origin, last 1h",
        "count() of departures by origin, last 1h",
        "std(dep_delay) of departures by origin, last 30d, hop 1d, where not cancelled and carrier = 'B6'",
        "last_k(carrier, 1) of departures by origin, last 1w, with the current event",
        "last_k(carrier, 2) of departures by origin, last 1w, with the current event",
        "runways of airports by origin",
        "elevation of airports by origin",
    ]


def _set(*path: str | int, value: Any) -> Callable[[Any], None]:
    def change(document: Any) -> None:
        for step in path[:-1]:
            document = document[step]
        document[path[-1]] = value

    return change


def _remove(*path: str | int) -> Callable[[Any], None]:
    def change(document: Any) -> None:
        for step in path[:-1]:
            document = document[step]
        del document[path[-1]]

    return change


def _repeat(part: str) -> Callable[[Any], None]:
    return lambda document: document[part].append(document[part][0])


HOSTILE = {
    "another format": (_set("format", value=2), "this mlkit reads format 1"),
    "a format that is true": (_set("format", value=True), "this mlkit reads format 1"),
    "no format": (_remove("format"), "this mlkit reads format 1"),
    "no windows": (_remove("windows"), "missing required field `windows`"),
    "an unknown field": (_set("windows", 0, "code", value="import os"), "something in it is not understood"),
    "an unknown part": (_set("scripts", value=[]), "something in it is not understood"),
    "a default that is written": (_set("windows", 0, "k", value=0), "something in it is not understood"),
    "an unknown aggregation": (_set("windows", 0, "aggregation", value="eval"), "Invalid enum value 'eval'"),
    "an unknown kind": (_set("windows", 0, "kind", value="object"), "Invalid enum value 'object'"),
    "another kind": (_set("windows", 0, "kind", value="int64"), "mean gives float64"),
    "a mean of text": (_set("windows", 0, "column", value="carrier"), "mean of a string column"),
    "a mean of no column": (_remove("windows", 0, "column"), "mean of no column"),
    "an unknown column": (_set("windows", 0, "column", value="tail"), "no column 'tail'"),
    "an unknown source": (_set("windows", 0, "source", value="arrivals"), "there is no source 'arrivals'"),
    "a table as events": (_set("windows", 0, "source", value="airports"), "there is no source 'airports'"),
    "a window of nothing": (_set("windows", 0, "window_us", value=0), "longer than nothing"),
    "a negative window": (_set("windows", 0, "window_us", value=-1), "longer than nothing"),
    "a window beyond int64": (_set("windows", 0, "window_us", value=2**70), "longer than a century"),
    "a window of text": (_set("windows", 0, "window_us", value="1h"), "Expected `int`, got `str`"),
    "a window of a float": (_set("windows", 0, "window_us", value=3.6e9), "Expected `int`, got `float`"),
    "a hop of moments": (_set("windows", 2, "hop_us", value=1), "10,000 are the most"),
    "a negative hop": (_set("windows", 2, "hop_us", value=-1), "longer than nothing"),
    "a condition that is code": (_set("windows", 0, "condition", value="__import__('os')"), "no column '__import__'"),
    "a deep condition": (_set("windows", 0, "condition", value="(" * 4000), "nested more than 32 deep"),
    "a condition as nobody writes it": (_set("windows", 2, "condition", value="carrier='B6'"), "not in canonical form"),
    "k without last_k": (_set("windows", 0, "k", value=1), "mean of 1 events"),
    "last_k without k": (_remove("windows", 3, "k"), "last_k of 0 events"),
    "a huge k": (_set("windows", 3, "k", value=10**6), "last_k of 1000000 events"),
    "a default of another type": (_set("windows", 0, "default", value=0), "its default 0 is no float64"),
    "a default of a list": (_set("windows", 0, "default", value=[]), "wrong type"),
    "a default of a count": (_set("windows", 1, "default", value=1), "a count of nothing is 0"),
    "two features of one name": (_repeat("windows"), "two features are named 'delay_mean_1h'"),
    "two sources of one name": (_repeat("events"), "two sources are named 'departures'"),
    "a source of no feature": (_set("lookups", value=[]), "that no feature uses"),
    "a column of no feature": (
        lambda document: document["events"][0]["fields"].append({"kind": "int64", "name": "z"}),
        "that no feature uses",
    ),
    "a key of floats": (_set("events", 0, "key", 0, "kind", value="float64"), "floats are hardly ever equal"),
    "no key": (_set("events", 0, "key", value=[]), "a key of 0 columns"),
    "a name that leaves its space": (_set("events", 0, "name", value="../x"), "part of URLs"),
    "a name that cannot be shown": (_set("windows", 0, "name", value="a\u202eb"), "cannot be printed"),
    "a feature without a name": (_set("windows", 0, "name", value=" "), "a feature has no name"),
    "a long path": (_set("events", 0, "history", value="x" * 5000), "1,024 are the most"),
    "no time": (_set("events", 0, "time", value=""), "has no time"),
    "a negative lateness": (_set("events", 0, "lateness_us", value=-5), "longer than nothing"),
    "no feature": (lambda document: document.update(events=[], tables=[], windows=[], lookups=[]), "there is no feature"),
    "a list": (lambda document: document.clear(), "format"),
}  # fmt: skip


@pytest.mark.parametrize(("change", "message"), HOSTILE.values(), ids=HOSTILE)
def test_a_changed_file_is_refused(features: FeatureSet, change: Callable[[Any], None], message: str) -> None:
    document = json.loads(freeze(features))
    change(document)
    text = json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    with pytest.raises(BundleError) as caught:
        read_frozen(text.encode())
    assert str(caught.value).startswith("features.json: refused. ")
    assert message in str(caught.value)


BYTES = {
    "nothing": b"",
    "half": b'{"format": 1, "events": [',
    "no text": b"\xff\xfe\x00",
    "a bomb of brackets": b"[" * 100_000,
    "half of a character": b'{"format": 1, "events": "\\ud800"}',
    "an infinite number": b'{"format": 1e999}',
    "a number": b"1",
    "null": b"null",
}


@pytest.mark.parametrize("data", BYTES.values(), ids=BYTES)
def test_what_is_no_document_is_refused(data: bytes) -> None:
    with pytest.raises(BundleError, match=r"features\.json: refused"):
        read_frozen(data)


@pytest.mark.parametrize("change", [lambda d: d + b"\n", lambda d: d.replace(b"  ", b" "), lambda d: d.replace(
    b'"format": 1,', b'"format": 1, "format": 1,')], ids=["an empty line", "other spaces", "a key twice"])  # fmt: skip
def test_there_is_one_way_to_write_it(features: FeatureSet, change: Callable[[bytes], bytes]) -> None:
    with pytest.raises(BundleError, match="not as mlkit writes it"):
        read_frozen(change(freeze(features)))
