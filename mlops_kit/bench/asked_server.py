"""`mlkit serve` as a mode, whatever protocol it is asked in."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec

from mlops_kit.bench.commands import BenchedServer
from mlops_kit.bench.interface import MULTI_STREAM, SERVER, SINGLE_STREAM, StageSums, Subject
from mlops_kit.bench.load.interface import Target
from mlops_kit.schema import Columns


def lacks_server(_subject: Subject) -> str:
    """Whether the packages of `mlkit serve` are there."""
    return "" if find_spec("uvicorn") and find_spec("jh2") else "needs pip install 'mlops-kit[serve]'"


@dataclass(frozen=True, slots=True)
class AskedServer:
    """One server with one worker. `ask` predicts all rows, one request for each; `aim` makes a target of so many
    rows in each request.
    """

    server: BenchedServer
    ask: Callable[[], Columns]
    aim: Callable[[int], Target]

    scenarios = (SINGLE_STREAM, MULTI_STREAM, SERVER)

    def await_ready(self) -> None:
        """It has been started before."""
        self.server.await_ready()

    def answers(self) -> Columns:
        """By `ask`."""
        return self.ask()

    def target(self, rows: int) -> Target:
        """By `aim`."""
        return self.aim(rows)

    def stage_sums(self) -> StageSums:
        """From the server's metrics."""
        return self.server.stage_sums()

    def peak_memory(self) -> int | None:
        """Of the server."""
        return self.server.peak_memory()
