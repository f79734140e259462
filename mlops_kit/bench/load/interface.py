"""What is asked, by which rule, and what came of it."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, runtime_checkable

from mlops_kit.schema import Array


class Asker(Protocol):
    """The client, as its connections see it."""

    def answered(self, connection: "Connection", problem: str = "") -> None:
        """What was sent is answered in full; `problem` says what is wrong with the answer, if anything is. The
        next request may be sent before this returns.
        """

    def lost(self, connection: "Connection") -> None:
        """The connection is closed, by whomever."""


class Connection(Protocol):
    """One of the client's; it has at most one request under way."""

    def send(self, request: Any) -> None:
        """Send it, and tell the asker once it is answered, but not before this returns."""

    def close(self) -> None:
        """At once, whatever is under way."""


class Target(Protocol):
    """Whom to ask, and what. It travels to the client's process, and so is a plain value.

    - `requests` are sent in turn, again and again.
    - `most_connections`: as many as make sense.
    """

    @property
    def requests(self) -> Sequence[Any]: ...  # noqa: D102

    @property
    def most_connections(self) -> int: ...  # noqa: D102

    async def connect(self, asker: Asker) -> Connection:
        """Another connection. Raises OSError."""


@runtime_checkable
class ServerTarget(Target, Protocol):
    """One that is reached over the network, so that a server that does nothing can stand in for it."""

    def at(self, port: int) -> "ServerTarget":
        """The same requests to another port of this machine."""

    def do_nothing(self) -> asyncio.Protocol:
        """A connection of a server that answers the requests with fixed bytes."""


@dataclass(frozen=True, slots=True)
class Closed:
    """So many connections, each with its next request as soon as the last one is answered."""

    connections: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Open:
    """Poisson arrivals at a rate, which wait for nobody. The same seed gives the same schedule."""

    rate: float
    seconds: float
    seed: int = 0


Load: TypeAlias = Closed | Open


@dataclass(frozen=True, slots=True)
class LoadResult:
    """What came of it. Times are seconds since the start; `seconds` is how long it was asked, in a closed loop
    until the last answer.

    - `due_s`, `sent_s`, `answered_s` have an element for every request that was answered well: when it was
      scheduled (in a closed loop, when it was sent), when it was really sent, when the answer was there.
    - `errors`: the other requests, by what happened.
    - `client_cpu`: the share of a core that the client itself used.
    """

    due_s: Array
    sent_s: Array
    answered_s: Array
    errors: Mapping[str, int]
    seconds: float
    client_cpu: float

    @property
    def latencies_s(self) -> Array:
        """From when a request was due, so that a client or server that is held up hides nothing."""
        return self.answered_s - self.due_s

    @property
    def failed(self) -> int:
        """Requests with no good answer."""
        return sum(self.errors.values())

    @property
    def rate(self) -> float:
        """Good answers per second; those that came after the end do not count."""
        return float((self.answered_s <= self.seconds).sum()) / self.seconds

    def goodput(self, within_s: float) -> float:
        """Requests per second that were answered well, and so soon after they were due."""
        return float((self.latencies_s <= within_s).sum()) / self.seconds

    def missed(self, within_s: float) -> float:
        """The share of requests that were not; 1 where there was none at all."""
        asked = len(self.due_s) + self.failed
        return 1 - float((self.latencies_s <= within_s).sum()) / asked if asked else 1.0
