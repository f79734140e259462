"""Asking `mlkit serve` over REST, in MLflow's protocol."""

import http.client
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from typing import Any

import orjson
import polars as pl

from mlops_kit.bench.answers import read_records
from mlops_kit.bench.asked_server import AskedServer, lacks_server
from mlops_kit.bench.commands import BenchedServer, served
from mlops_kit.bench.interface import Subject
from mlops_kit.bench.load.http import HttpTarget, http_request
from mlops_kit.errors import StoreError
from mlops_kit.schema import Columns

PATH = "/invocations"
HEADERS = {"content-type": "application/json"}


why_not = lacks_server


@contextmanager
def open_mode(subject: Subject) -> Iterator[AskedServer]:
    """With a server of its own."""
    with served(subject) as server:
        yield AskedServer(server, partial(_ask, subject, server), partial(_aim, subject, server))


def _ask(subject: Subject, server: BenchedServer) -> Columns:
    records: list[Any] = []
    with closing(http.client.HTTPConnection("127.0.0.1", server.http_port)) as connection:
        for body in _bodies(subject.asked, 1):
            connection.request("POST", PATH, body, HEADERS)
            answer = connection.getresponse()
            data = answer.read()
            if answer.status != http.HTTPStatus.OK:
                raise StoreError(f"mlkit serve answers with {answer.status}", data.decode(errors="replace"))
            records += orjson.loads(data)["predictions"]
    return read_records(records, subject.signature.outputs)


def _aim(subject: Subject, server: BenchedServer, rows: int) -> HttpTarget:
    return HttpTarget(server.http_port, [http_request(PATH, body) for body in _bodies(subject.asked, rows)])


def _bodies(frame: pl.DataFrame, rows: int) -> Iterator[bytes]:
    for part in frame.iter_slices(rows):
        split = {"columns": part.columns, "data": part.rows()}
        yield orjson.dumps({"dataframe_split": split})
