"""Offline, pushed in whatever way, and asked of a server: one vector, to the last bit, which an oracle has, too."""

import asyncio
import json
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import httpx
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_kit.features.definition.feature_set import FeatureSet
from mlops_kit.features.layout import compile_layout
from tests.features.histories import CONDITIONS, VALUES, Case, cases
from tests.features.offline.places import joined, written
from tests.features.online.asking import ask, is_allowed_to_be_too_old, plain
from tests.features.online.memory_store import MemoryStore
from tests.features.online.pushes import push, push_with_crashes, states_of
from tests.features.oracle import Happening, Question, is_same, window_features
from tests.modes.online.features.in_process import MODEL, InProcess, serving_in_process

Vector = dict[str, Any]
TOO_OLD = "the store cannot answer as of that time"


@st.composite
def arrivals(draw: st.DrawFn) -> Case:
    """A case whose events come in any order: where they have numbers, those of a key in the order of these."""
    case = draw(cases(most_events=12))
    source = replace(case.source, lateness_us=draw(st.sampled_from([0, 4, 100])))
    log = [replace(event, row=_without_infinities(event.row)) for event in [*case.log, *draw(more_events(case))]]
    if source.sequence:
        queues: dict[str, list[Happening]] = {}
        for event in sorted(log, key=lambda event: event.seq):
            queues.setdefault(_key(event, case), []).append(event)
        log = [queues[key].pop(0) for key in draw(st.permutations([_key(event, case) for event in log]))]
    else:
        log = [replace(event, seq=seq) for seq, event in enumerate(draw(st.permutations(log)))]
    return Case(replace(case.features, events=(source,)), log, case.questions)


@st.composite
def more_events(draw: st.DrawFn, case: Case) -> list[Happening]:
    """Of those who ask, just before they do: many at the same time."""
    names = {part.name: part.column for part in case.source.key}
    asking = [{names.get(name, name): value for name, value in q.row.items()} for q in case.questions]
    times = st.sampled_from([question.ts for question in case.questions]).flatmap(
        lambda ts: st.integers(max(ts - 3, 0), max(ts, 0))
    )
    first = max((event.seq for event in case.log), default=-1) + 1
    values = st.fixed_dictionaries({name: VALUES[name] for name in ("x", "s")})
    found = draw(st.lists(st.tuples(st.sampled_from(asking), values, times), max_size=20))
    return [Happening({**row, **values}, ts, seq) for seq, (row, values, ts) in enumerate(found, first)]


def _key(event: Happening, case: Case) -> str:
    return repr([event.row[part.column] for part in case.source.key])


def _without_infinities(row: Any) -> dict[str, Any]:
    """JSON has none."""
    return {name: None if isinstance(value, float) and math.isinf(value) else value for name, value in row.items()}


@given(arrivals(), st.data())
@settings(max_examples=40)
def test_join_push_and_the_servers_answers_are_the_bits_of_the_oracle(case: Case, data: st.DataObject) -> None:
    wanted = [window_features(case.features, case.source, case.log, q, CONDITIONS) for q in case.questions]
    with written(case) as features:
        assert_same(case, joined(features, case), wanted)
    one_by_one, batched = MemoryStore(), MemoryStore()
    for event in case.log:
        push(case, one_by_one, [event])
    push_with_crashes(case, batched, data)
    layout = compile_layout(case.source, case.features.windows)
    assert states_of(one_by_one, layout) == states_of(batched, layout)
    for store in (one_by_one, batched):
        assert_same(case, read(case, store), wanted)
    assert_same(case, asyncio.run(served(case, data)), wanted)


def assert_same(case: Case, found: Sequence[Vector | None], wanted: Sequence[Vector]) -> None:
    """None is a question that the state says it cannot answer."""
    for question, one, expected in zip(case.questions, found, wanted, strict=True):
        if one is None:
            assert question.ts < 0 or is_allowed_to_be_too_old(case, question, None)
            continue
        wrong = {name: (one[name], value) for name, value in expected.items() if not is_same(one[name], value)}
        assert not wrong, question


def read(case: Case, store: MemoryStore) -> list[Vector | None]:
    vectors = ask(case, store, case.questions)
    return [
        None if is_too_old else {name: plain(values, row) for name, values in vectors.values.items()}
        for row, is_too_old in enumerate(vectors.is_too_old.tolist())
    ]


async def served(case: Case, data: st.DataObject) -> list[Vector | None]:
    """Events are posted in batches, to a server that may be replaced before each and whose store may fail."""
    store, done = MemoryStore(), 0
    while done < len(case.log):
        async with serving_in_process(case.features, store) as server:
            for _ in range(data.draw(st.integers(1, 3))):
                # The simplest example posts everything at once, rather than nothing for ever.
                end = len(case.log) - data.draw(st.integers(0, len(case.log) - done))
                # Without numbers, nobody could tell what came twice.
                store.fails_after = data.draw(st.none() | st.integers(0, 3)) if case.source.sequence else None
                posted = await post(server, case, case.log[done:end], is_array=data.draw(st.booleans()))
                store.fails_after = None
                done = end if posted else done
    async with serving_in_process(case.features, store) as server:
        answers = await asyncio.gather(*(predict(server, question) for question in case.questions))
    return [vector_of(answer, case.features, server) for answer in answers]


async def post(server: InProcess, case: Case, events: Sequence[Happening], *, is_array: bool) -> bool:
    """Whether the store has them now."""
    if not events:
        return True
    number = case.source.sequence
    lines = [to_json({**one.row, "at": one.ts} | ({number: one.seq} if number else {})) for one in events]
    body = f"[{','.join(lines)}]" if is_array else "\n".join(lines)
    answer = await server.client.post("/v2/events/clicks", content=body)
    # 400 is for a body of which nothing counts.
    assert answer.status_code in (200, 400, 503), answer.text
    return answer.status_code != 503


async def predict(server: InProcess, question: Question) -> httpx.Response:
    body = f'{{"inputs": {to_json({**question.row, "own": 1.0})}, "params": {{"as_of": {question.ts}}}}}'
    return await server.client.post(
        f"/models/{MODEL}/invocations", content=body, headers={"content-type": "application/json"}
    )


def to_json(row: Any) -> str:
    """NaN is null there."""
    return json.dumps({name: None if value != value else value for name, value in row.items()})


def vector_of(answer: httpx.Response, features: FeatureSet, server: InProcess) -> Vector | None:
    """As it was logged; what the model made of the numbers in it is the same."""
    if answer.status_code == 400:
        assert TOO_OLD in answer.text or "as_of is no time" in answer.text
        return None
    assert answer.status_code == 200, answer.text
    assert "x-mlkit-degraded" not in answer.headers
    logged = server.vectors[answer.headers["x-request-id"]]
    (predicted,) = answer.json()["predictions"]
    numbers = {feature.name for feature in features.features if feature.kind == "float64"}
    # The answer is JSON, which has no infinity: a sum may be one.
    assert all(
        is_same(predicted[name], value) for name, value in _without_infinities(logged).items() if name in numbers
    )
    return logged
