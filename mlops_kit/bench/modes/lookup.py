"""Looking up stored answers in an SQLite file."""

from collections.abc import Iterator
from contextlib import contextmanager

from mlops_kit.bench.interface import Subject
from mlops_kit.bench.stored_answers import Lookups


def why_not(_subject: Subject) -> str:
    """It needs nothing."""
    return ""


@contextmanager
def open_mode(subject: Subject) -> Iterator[Lookups]:
    """In a file of its own, which goes away with the folder."""
    folder = subject.folder / "lookup"
    folder.mkdir()

    def measure_bytes() -> float:
        return sum(file.stat().st_size for file in folder.iterdir())

    yield Lookups(subject, f"sqlite:///{folder / 'answers.db'}?table=answers", measure_bytes)
