"""Several writers at once, and writers that are killed: what every backend keeps whole."""

import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing

import pytest

from mlops_kit.stores.interface import Store, Value, Write
from mlops_kit.stores.resolve import open_store
from tests.stores.contract import value_of
from tests.stores.processes import COUNTERS, WHOLE, count_up, process, whole_value

TIMES = 100


def test_processes_that_count_at_once_lose_nothing(store: Store, address: str) -> None:
    with process("count_up", address, str(TIMES)) as one, process("count_up", address, str(TIMES)) as other:
        assert one.wait(120) == other.wait(120) == 0
    assert store.read([("a", key) for key in COUNTERS]) == [Value(2 * TIMES, b"%d" % (2 * TIMES))] * len(COUNTERS)


def test_threads_that_count_at_once_lose_nothing(address: str) -> None:
    with ExitStack() as stack, ThreadPoolExecutor(4) as pool:
        stores = [stack.enter_context(closing(open_store(address))) for _ in range(2)] * 2
        list(pool.map(count_up, stores, [20] * 4))
        assert value_of(stores[0], COUNTERS[0]) == Value(80, b"80")


@pytest.mark.parametrize("replaced", [None, 0])
def test_writers_of_the_same_keys_in_any_order_do_not_block_each_other(store: Store, replaced: int | None) -> None:
    keys = [b"%d" % number for number in range(1500)]
    start = threading.Barrier(3)

    def write(seed: int) -> None:
        for version in range(3):
            writes = [Write(key, b"", None if replaced is None else version) for key in keys]
            random.Random(seed + version).shuffle(writes)
            start.wait(60)
            store.write("a", writes)

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(write, range(3)))
    versions = {value.version for value in store.read([("a", key) for key in keys]) if value}
    assert versions == {9 if replaced is None else 3}


def test_a_writer_that_is_killed_leaves_every_value_whole(store: Store, address: str) -> None:
    randomly = random.Random(0)
    for _ in range(3):
        store.drop("a")
        with process("overwrite", address) as writer:
            assert writer.stdout
            for _ in range(3):
                writer.stdout.readline()
            time.sleep(randomly.random() / 50)
            writer.kill()
            writer.wait()
        values = store.read([("a", key) for key in WHOLE])
        for place, value in enumerate(values):
            assert value is not None
            assert value.data == whole_value(value.version, place)
        assert len({value.version for value in values if value}) <= 2
        assert store.write("a", [Write(WHOLE[0], b"")]) == [True]


def test_the_first_writers_of_all_make_one_store(address: str) -> None:
    start = threading.Barrier(6)

    def write(number: int) -> list[bool]:
        with closing(open_store(address)) as store:
            start.wait(60)
            return store.write("a", [Write(b"k", b"%d" % number, 0)])

    with ThreadPoolExecutor(6) as pool:
        assert sum(written for (written,) in pool.map(write, range(6))) == 1
