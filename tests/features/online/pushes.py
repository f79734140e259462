"""The events of a case, on their way into a store."""

from collections.abc import Sequence

import numpy as np
from hypothesis import event
from hypothesis import strategies as st

from mlops_kit.errors import StoreError
from mlops_kit.features.layout import Layout, compile_layout
from mlops_kit.features.online.pushing import Pusher
from mlops_kit.features.online.records import events_space
from mlops_kit.stores.interface import Store
from tests.features.histories import Case, events_frame
from tests.features.online.crashing_store import Crashing
from tests.features.oracle import Happening


def states_of(store: Store, layout: Layout) -> dict[bytes, bytes]:
    return {key: value.data for key, value in store.scan(events_space(layout, ""))}


def push(case: Case, store: Store, events: Sequence[Happening]) -> None:
    layout = compile_layout(case.source, case.features.windows)
    seq = np.array([one.seq for one in events], np.int64)
    if Pusher(case.source, layout, store).push(events_frame(case.source, events), seq).late:
        event("an event came too late")


def push_with_crashes(case: Case, store: Crashing, data: st.DataObject) -> None:
    """In any batches; after a failure the source is replayed from somewhere before it."""
    done = 0
    while done < len(case.log):
        end = data.draw(st.integers(done + 1, len(case.log)))
        store.fails_after = data.draw(st.none() | st.integers(0, 3))
        try:
            push(case, store, case.log[done:end])
        except StoreError:
            done = data.draw(st.integers(0, done))
        else:
            done = end
            store.fails_after = None
