"""Asking `mlkit serve` over REST, in MLflow's protocol."""

import http.client
from collections.abc import Iterator
from contextlib import closing, contextmanager
from importlib.util import find_spec
from typing import Any

import orjson
import polars as pl

from mlops_kit.bench.answers import read_records
from mlops_kit.bench.commands import BenchedServer, served
from mlops_kit.bench.interface import MULTI_STREAM, SERVER, SINGLE_STREAM, StageSums, Subject
from mlops_kit.bench.load.http import HttpTarget, http_request
from mlops_kit.errors import StoreError
from mlops_kit.schema import Columns

PATH = "/invocations"
HEADERS = {"content-type": "application/json"}


def why_not(_subject: Subject) -> str:
    """Whether the packages of `mlkit serve` are there."""
    return "" if find_spec("uvicorn") and find_spec("jh2") else "needs pip install 'mlops-kit[serve]'"


@contextmanager
def open_mode(subject: Subject) -> Iterator["OnlineRest"]:
    """With a server of its own."""
    with served(subject) as server:
        yield OnlineRest(subject, server)


class OnlineRest:
    """One server with one worker."""

    scenarios = (SINGLE_STREAM, MULTI_STREAM, SERVER)

    def __init__(self, subject: Subject, server: BenchedServer) -> None:
        self._subject, self._server = subject, server

    def answers(self) -> Columns:
        """One request for each row."""
        records: list[Any] = []
        with closing(http.client.HTTPConnection("127.0.0.1", self._server.http_port)) as connection:
            for body in _bodies(self._subject.asked, 1):
                connection.request("POST", PATH, body, HEADERS)
                answer = connection.getresponse()
                data = answer.read()
                if answer.status != http.HTTPStatus.OK:
                    raise StoreError(f"mlkit serve answers with {answer.status}", data.decode(errors="replace"))
                records += orjson.loads(data)["predictions"]
        return read_records(records, self._subject.signature.outputs)

    def target(self, rows: int) -> HttpTarget:
        """So many rows in each request."""
        requests = [http_request(PATH, body) for body in _bodies(self._subject.asked, rows)]
        return HttpTarget(self._server.http_port, requests)

    def stage_sums(self) -> StageSums:
        """From the server's metrics."""
        return self._server.stage_sums()

    def peak_memory(self) -> int | None:
        """Of the server."""
        return self._server.peak_memory()


def _bodies(frame: pl.DataFrame, rows: int) -> Iterator[bytes]:
    for part in frame.iter_slices(rows):
        split = {"columns": part.columns, "data": part.rows()}
        yield orjson.dumps({"dataframe_split": split})
