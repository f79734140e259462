"""Clients that go on asking, and count what they get."""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx


@dataclass
class Outcomes:
    """Statuses, and errors by their type; `answers` are the different bodies of the good ones."""

    counts: Counter[str] = field(default_factory=Counter)
    answers: set[bytes] = field(default_factory=set)

    @property
    def failed(self) -> int:
        return sum(count for outcome, count in self.counts.items() if outcome != "200")


@contextmanager
def constant_load(url: str, body: dict[str, object], clients: int = 4) -> Iterator[Outcomes]:
    """So many clients ask one after the other until the block ends."""
    outcomes, stopping = Outcomes(), threading.Event()
    threads = [threading.Thread(target=_ask, args=(url, body, outcomes, stopping)) for _ in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield outcomes
    finally:
        stopping.set()
        for thread in threads:
            thread.join()


def _ask(url: str, body: dict[str, object], outcomes: Outcomes, stopping: threading.Event) -> None:
    with httpx.Client(timeout=20) as client:
        while not stopping.is_set():
            try:
                answer = client.post(url, json=body)
            except httpx.TransportError as error:
                outcomes.counts[type(error).__name__] += 1
                continue
            outcomes.counts[str(answer.status_code)] += 1
            if answer.status_code == 200:
                outcomes.answers.add(answer.content)
