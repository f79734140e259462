"""What every backend of stores must do, run against each of them."""

import random
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlops_kit.errors import StoreError, UsageError
from mlops_kit.stores.interface import Store, Value, Write
from mlops_kit.stores.resolve import BACKENDS as SCHEMES
from mlops_kit.stores.resolve import open_store
from tests.stores.backends import BACKENDS
from tests.stores.contract import KEYS, SPACES, Model, scanned, steps, value_of


def test_every_scheme_is_tested() -> None:
    assert set(BACKENDS) | {"rediss"} == set(SCHEMES)


def test_an_empty_store_has_nothing(store: Store) -> None:
    assert store.read([("a", b"k"), ("a", b"")]) == [None, None]
    assert store.read([]) == []
    assert list(store.scan("a")) == []
    assert store.spaces() == []
    store.drop("a")


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(taken=st.lists(steps, max_size=25))
def test_a_store_does_what_its_model_does(store: Store, taken: list[tuple[Any, ...]]) -> None:
    model = Model()
    for space in store.spaces():
        store.drop(space)
    for name, *arguments in taken:
        expected = getattr(model, name)(*arguments)
        found = scanned(store, *arguments) if name == "scan" else getattr(store, name)(*arguments)
        assert found == expected


def test_keys_that_look_alike_are_different(store: Store) -> None:
    assert store.write("a", [Write(key, key, 0) for key in KEYS]) == [True] * len(KEYS)
    assert store.read([("a", key) for key in KEYS]) == [Value(1, key) for key in KEYS]
    assert scanned(store, "a") == {key: Value(1, key) for key in KEYS}


def test_spaces_that_look_alike_are_different(store: Store) -> None:
    for space in SPACES:
        store.write(space, [Write(b"k", space.encode())])
    assert store.read([(space, b"k") for space in SPACES]) == [Value(1, space.encode()) for space in SPACES]
    assert store.spaces() == sorted(SPACES)
    assert store.spaces("a:") == ["a:b"]
    store.drop("a")
    assert store.spaces() == sorted(set(SPACES) - {"a"})


def test_an_address_may_be_read_twice_at_once(store: Store) -> None:
    store.write("a", [Write(b"k", b"1"), Write(b"l", b"2")])
    addresses = [("a", b"k"), ("b", b"k"), ("a", b"l"), ("a", b"k")]
    assert store.read(addresses) == [Value(1, b"1"), None, Value(1, b"2"), Value(1, b"1")]


def test_a_value_is_replaced_only_from_the_version_that_is_there(store: Store) -> None:
    assert store.write("a", [Write(b"k", b"1", 0)]) == [True]
    assert store.write("a", [Write(b"k", b"other", 0)]) == [False]
    assert store.write("a", [Write(b"k", b"2", 1)]) == [True]
    assert store.write("a", [Write(b"k", b"other", 1)]) == [False]
    assert store.write("a", [Write(b"k", b"other", 3)]) == [False]
    assert value_of(store, b"k") == Value(2, b"2")


def test_a_value_that_is_not_there_cannot_be_replaced(store: Store) -> None:
    assert store.write("a", [Write(b"k", b"1", 1)]) == [False]
    assert value_of(store, b"k") is None


def test_whatever_is_there_is_replaced_and_counted(store: Store) -> None:
    for version in (1, 2, 3):
        assert store.write("a", [Write(b"k", b"%d" % version)]) == [True]
        assert value_of(store, b"k") == Value(version, b"%d" % version)


def test_a_write_finds_what_an_earlier_one_of_its_call_wrote(store: Store) -> None:
    writes = [
        Write(b"k", b"1", 0),
        Write(b"l", b"1"),
        Write(b"k", b"2", 1),
        Write(b"k", b"3", 1),
        Write(b"k", b"4"),
    ]
    assert store.write("a", writes) == [True, True, True, False, True]
    assert store.read([("a", b"k"), ("a", b"l")]) == [Value(3, b"4"), Value(1, b"1")]


def test_versions_begin_anew_after_a_drop(store: Store) -> None:
    store.write("a", [Write(b"k", b"1"), Write(b"k", b"2")])
    store.drop("a")
    assert store.read([("a", b"k")]) == [None]
    assert list(store.scan("a")) == []
    assert store.write("a", [Write(b"k", b"3", 0)]) == [True]
    assert value_of(store, b"k") == Value(1, b"3")


def test_values_of_no_bytes_and_of_five_megabytes_are_kept(store: Store) -> None:
    large = [random.Random(seed).randbytes(5_000_000) for seed in (0, 1)]
    assert store.write("a", [Write(b"none", b""), Write(b"1", large[0]), Write(b"2", large[1])]) == [True] * 3
    assert store.write("a", [Write(b"2", large[0], 1)]) == [True]
    expected = {b"none": Value(1, b""), b"1": Value(1, large[0]), b"2": Value(2, large[0])}
    assert store.read([("a", key) for key in expected]) == list(expected.values())
    assert scanned(store, "a") == expected
    store.drop("a")
    assert store.spaces() == []


def test_thousands_of_keys_are_taken_at_once(store: Store) -> None:
    keys = [b"%d" % number for number in range(7000)]
    random.Random(0).shuffle(keys)
    assert all(store.write("a", [Write(key, key) for key in keys]))
    changed = store.write("a", [Write(key, b"new " + key, 1 + (key < b"5")) for key in keys])
    assert changed == [key >= b"5" for key in keys]
    expected = {key: Value(2, b"new " + key) if key >= b"5" else Value(1, key) for key in keys}
    assert store.read([("a", key) for key in keys]) == [expected[key] for key in keys]
    assert scanned(store, "a") == expected
    store.drop("a")
    assert store.read([("a", key) for key in keys]) == [None] * 7000
    assert store.spaces() == []


@pytest.mark.parametrize("space", ["", "a b", "a*", "{a}", "é", "a\n", "a" * 201])
def test_a_name_that_no_store_takes_is_refused(store: Store, space: str) -> None:
    with pytest.raises(UsageError, match="no name of a space"):
        store.write(space, [Write(b"k", b"")])


def test_a_key_that_is_too_long_is_refused_and_not_told(store: Store) -> None:
    with pytest.raises(UsageError, match="a key has 1,025 bytes") as raised:
        store.write("a", [Write(b"k", b""), Write(b"secret" + bytes(1019), b"")])
    assert "secret" not in str(raised.value)
    assert store.read([("a", b"k")]) == [None]


def test_a_call_that_failed_in_the_middle_leaves_nothing_open(store: Store, address: str) -> None:
    store.write("a", [Write(b"k", b"1")])
    broken: Any = [Write(b"k", b"2"), Write(b"l", [])]  # type: ignore[arg-type]
    with pytest.raises(Exception, match=r".*"):
        store.write("a", broken)
    with closing(open_store(address)) as other:
        before = value_of(other, b"k")
        assert before is not None
        assert other.write("a", [Write(b"k", b"3", before.version)]) == [True]
        assert value_of(store, b"k") == Value(before.version + 1, b"3")


def test_what_one_store_writes_another_reads(address: str) -> None:
    with closing(open_store(address)) as reader:
        assert value_of(reader, b"k") is None
        with closing(open_store(address)) as writer:
            writer.write("a", [Write(b"k", b"1")])
        assert value_of(reader, b"k") == Value(1, b"1")
    with closing(open_store(address)) as reader:
        assert value_of(reader, b"k") == Value(1, b"1")


def test_a_scan_outlives_writes_and_a_drop(store: Store) -> None:
    keys = {b"%05d" % number for number in range(3000)}
    store.write("a", [Write(key, bytes(100)) for key in keys])
    scan = store.scan("a")
    seen = {next(scan)[0]}
    store.write("a", [Write(key, bytes(200)) for key in keys])
    seen |= {key for key, _ in scan}
    assert seen == keys
    scan = store.scan("a")
    next(scan)
    store.drop("a")
    assert {key for key, _ in scan} < keys


def test_threads_share_a_store(store: Store) -> None:
    start = threading.Barrier(8)

    def use(number: int) -> None:
        key = b"own %d" % number
        start.wait(60)
        for version in range(1, 41):
            assert store.write("a", [Write(key, b"%d" % version, version - 1), Write(b"all", key)]) == [True, True]
            own, common = store.read([("a", key), ("a", b"all")])
            assert own == Value(version, b"%d" % version)
            assert common is not None
            assert common.data.startswith(b"own ")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(use, range(8)))
    common = value_of(store, b"all")
    assert common is not None
    assert common.version == 320


def test_a_place_that_nobody_can_reach_is_said_and_not_waited_for(scheme: str) -> None:
    with pytest.raises(StoreError) as raised, closing(open_store(BACKENDS[scheme].unreachable)) as store:
        store.write("a", [Write(b"k", b"")])
    assert raised.value.fix
    assert "://" in str(raised.value) or "/dev/null" in str(raised.value)
