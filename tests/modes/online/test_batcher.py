"""The queue before a model, with models that are slow, fail, or tell what they were asked."""

import asyncio
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from mlops_kit.errors import DeadlineError, InputError, OverloadedError
from mlops_kit.modes.online.batch import Answer
from mlops_kit.modes.online.batcher import Batcher
from mlops_kit.schema import Array

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def feeds_of(*values: float) -> dict[str, Array]:
    return {"x": np.array(values)}


def soon(seconds: float = 10.0) -> float:
    return time.perf_counter() + seconds


class Model:
    """Doubles what it is given; keeps how many rows it was given at a time."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self.batches: list[int] = []
        self.gate = threading.Event()
        self.gate.set()

    def __call__(self, feeds: Mapping[str, Array], rows: int) -> Sequence[Array]:
        self.batches.append(rows)
        time.sleep(self.seconds)
        self.gate.wait(10)
        if (feeds["x"] < 0).any():
            raise InputError("a negative row")
        return [feeds["x"] * 2]


def batcher_of(model: Any, **limits: Any) -> Batcher:
    return Batcher(model, **({"max_rows": 64, "max_requests": 100} | limits))


async def slow_batcher(model: Model, **limits: Any) -> Batcher:
    """It has learnt that runs take too long for the event loop."""
    batcher = batcher_of(model, **limits)
    model.seconds = 0.002
    await batcher.submit(feeds_of(0), 1, soon())
    await batcher.submit(feeds_of(0), 1, soon())
    model.seconds = 0.0
    model.batches.clear()
    return batcher


def doubled(answer: Answer) -> list[float]:
    return answer.outputs[0].tolist()  # type: ignore[no-any-return]


async def test_requests_of_one_moment_are_one_batch_and_get_their_own_rows() -> None:
    model = Model()
    batcher = batcher_of(model)
    futures = [batcher.submit(feeds_of(*range(i)), i, soon()) for i in (1, 3, 2)]
    answers = [doubled(await future) for future in futures]
    assert answers == [[0], [0, 2, 4], [0, 2]]
    assert model.batches == [6]


async def test_a_batch_has_no_more_rows_than_allowed_unless_one_request_has() -> None:
    model = Model()
    batcher = batcher_of(model, max_rows=4)
    futures = [batcher.submit(feeds_of(*range(i)), i, soon()) for i in (3, 2, 9, 1)]
    await asyncio.gather(*futures)
    assert model.batches == [3, 2, 9, 1]


async def test_what_arrives_during_a_run_is_the_next_batch() -> None:
    model = Model()
    batcher = await slow_batcher(model)
    model.gate.clear()
    first = batcher.submit(feeds_of(1), 1, soon())
    await asyncio.sleep(0.05)
    others = [batcher.submit(feeds_of(i), 1, soon()) for i in range(5)]
    await asyncio.sleep(0.05)
    model.gate.set()
    await asyncio.gather(first, *others)
    assert model.batches == [1, 5]


async def test_a_bad_row_fails_its_own_request_only() -> None:
    batcher = batcher_of(Model())
    good, bad, other = (batcher.submit(feeds_of(value), 1, soon()) for value in (1, -1, 2))
    assert doubled(await good) == [2]
    assert doubled(await other) == [4]
    with pytest.raises(InputError):
        await bad


async def test_a_full_queue_refuses() -> None:
    model = Model()
    batcher = await slow_batcher(model, max_requests=2)
    model.gate.clear()
    running = batcher.submit(feeds_of(1), 1, soon())
    await asyncio.sleep(0.05)
    waiting = [batcher.submit(feeds_of(1), 1, soon()) for _ in range(2)]
    with pytest.raises(OverloadedError):
        batcher.submit(feeds_of(1), 1, soon())
    model.gate.set()
    await asyncio.gather(running, *waiting)


@pytest.mark.parametrize(("turn_s", "at_once"), [(10.0, 5), (0.0, 1)])
async def test_while_the_queue_is_half_full_batches_follow_each_other_for_some_time(
    turn_s: float, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mlops_kit.modes.online.batcher.CROWDED_TURN_S", turn_s)
    model = Model()
    batcher = batcher_of(model, max_rows=1, max_requests=8)
    for _ in range(50):
        await batcher.submit(feeds_of(0), 1, soon())
    model.batches.clear()
    futures = [batcher.submit(feeds_of(i), 1, soon()) for i in range(8)]
    await asyncio.sleep(0)
    assert len(model.batches) == at_once
    assert [doubled(await future) for future in futures] == [[2 * i] for i in range(8)]


async def test_at_its_deadline_a_request_fails_and_what_waited_is_not_run() -> None:
    model = Model()
    batcher = await slow_batcher(model)
    model.gate.clear()
    running = batcher.submit(feeds_of(1), 1, soon(0.1))
    await asyncio.sleep(0.02)
    waiting = batcher.submit(feeds_of(1, 2), 2, soon(0.1))
    started = time.perf_counter()
    for future in (running, waiting):
        with pytest.raises(DeadlineError):
            await future
    assert time.perf_counter() - started < 1
    model.gate.set()
    assert doubled(await batcher.submit(feeds_of(5), 1, soon())) == [10]
    assert model.batches == [1, 1]


async def test_a_delay_that_is_asked_for_does_not_outlast_the_deadline() -> None:
    model = Model()
    batcher = Batcher(model, max_rows=64, max_requests=8, max_delay_s=60)
    with pytest.raises(DeadlineError):
        await asyncio.wait_for(batcher.submit(feeds_of(1), 1, soon(0.05)), 20)
    assert model.batches == []


async def test_a_delay_that_is_asked_for_ends_when_the_batch_is_full() -> None:
    model = Model()
    batcher = batcher_of(model, max_rows=4, max_delay_s=60)
    futures = [batcher.submit(feeds_of(*range(i)), i, soon(60)) for i in (1, 2, 1)]
    await asyncio.wait_for(asyncio.gather(*futures), 20)
    assert model.batches == [4]


async def test_an_earlier_deadline_is_kept_during_a_run_and_makes_room() -> None:
    model = Model()
    batcher = await slow_batcher(model, max_requests=1)
    model.gate.clear()
    running = batcher.submit(feeds_of(1), 1, soon(60))
    await asyncio.sleep(0.02)
    with pytest.raises(DeadlineError):
        await asyncio.wait_for(batcher.submit(feeds_of(2), 1, soon(0.05)), 20)
    waiting = batcher.submit(feeds_of(3), 1, soon(60))
    model.gate.set()
    assert (doubled(await running), doubled(await waiting)) == ([2], [6])


async def test_a_caller_who_went_away_is_not_predicted_for() -> None:
    model = Model()
    batcher = batcher_of(model)
    gone, stays = batcher.submit(feeds_of(1), 1, soon()), batcher.submit(feeds_of(2), 1, soon())
    gone.cancel()
    assert doubled(await stays) == [4]
    assert model.batches == [1]


async def test_rows_of_different_shapes_are_not_mixed() -> None:
    seen: list[tuple[int, ...]] = []

    def model(feeds: Mapping[str, Array], rows: int) -> Sequence[Array]:
        seen.append(feeds["x"].shape)
        return [feeds["x"]]

    batcher = batcher_of(model)
    shapes = [(1, 3), (2, 3), (1, 4)]
    await asyncio.gather(*(batcher.submit({"x": np.zeros(shape)}, shape[0], soon()) for shape in shapes))
    assert seen == [(3, 3), (1, 4)]


async def test_a_bug_in_the_model_reaches_the_callers() -> None:
    def model(feeds: Mapping[str, Array], rows: int) -> Sequence[Array]:
        raise ZeroDivisionError

    batcher = batcher_of(model)
    futures = [batcher.submit(feeds_of(1), 1, soon()) for _ in range(2)]
    for future in futures:
        with pytest.raises(ZeroDivisionError):
            await future
