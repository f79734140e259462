"""Connections that threads use in turns."""

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from mlops_kit.errors import MlkitError

C = TypeVar("C")


@dataclass(frozen=True, slots=True)
class Connections(Generic[C]):
    """As many connections as are in use at once, each by one thread. `explain` says what to raise instead of the
    `failures` of the library behind them.
    """

    connect: Callable[[], C]
    is_usable: Callable[[C], bool]
    disconnect: Callable[[C], None]
    failures: tuple[type[Exception], ...]
    explain: Callable[[Exception], MlkitError]
    _idle: deque[C] = field(default_factory=deque)

    @contextmanager
    def taken(self) -> Iterator[C]:
        """A connection, for this block. It is closed if the block raises, as an answer or a transaction may be
        pending on it.
        """
        try:
            connection = self._take()
            try:
                yield connection
            except BaseException:
                self.disconnect(connection)
                raise
        except self.failures as error:
            raise self.explain(error) from error
        self._idle.append(connection)

    def close(self) -> None:
        """Close all that are not in use."""
        while self._idle:
            self.disconnect(self._idle.pop())

    def _take(self) -> C:
        while True:
            try:
                connection = self._idle.pop()
            except IndexError:
                return self.connect()
            if self.is_usable(connection):
                return connection
            self.disconnect(connection)
