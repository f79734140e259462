"""Through every door, the answers are those of joining features to the rows and predicting them."""

import io
from collections.abc import Callable
from contextlib import closing
from typing import Any

import httpx
import numpy as np
import polars as pl
import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http

from mlops_kit.features.online.vectors import FeatureReader
from mlops_kit.stores.resolve import open_store
from tests.modes.online.asking import metrics_of
from tests.modes.online.features.project import FEATURES, Project, row
from tests.modes.online.grpc.requests import inputs_of, typed_request
from tests.modes.online.server import RunningServer

ROWS = pl.DataFrame([row(), row("EWR", 2, miles=-3.5), row("nowhere"), row("1", 3, distance=1e9), row(None)])
TENSORS = {"origin": "BYTES", "flight": "INT64", "miles": "FP64", "distance": "FP64"}
Ask = Callable[[RunningServer, pl.DataFrame, int], list[float]]


def invoke(server: RunningServer, body: Any, **more: Any) -> list[float]:
    answer = httpx.post(f"{server.url}/invocations", json=body, timeout=20, **more)
    assert answer.status_code == 200, answer.text
    return [found["prediction"] for found in answer.json()["predictions"]]


def with_records(server: RunningServer, rows: pl.DataFrame, at_us: int) -> list[float]:
    return invoke(server, {"dataframe_records": rows.to_dicts(), "params": {"as_of": at_us}})


def with_split(server: RunningServer, rows: pl.DataFrame, at_us: int) -> list[float]:
    split = {"columns": rows.columns, "data": [list(one) for one in rows.rows()]}
    return invoke(server, {"dataframe_split": split, "params": {"as_of": at_us}})


def with_columns(server: RunningServer, rows: pl.DataFrame, at_us: int) -> list[float]:
    return invoke(server, {"inputs": rows.to_dict(as_series=False), "params": {"as_of": at_us}})


def one_by_one(server: RunningServer, rows: pl.DataFrame, at_us: int) -> list[float]:
    asked = [{"inputs": one, "params": {"as_of": at_us}} for one in rows.to_dicts()]
    return [invoke(server, body)[0] for body in asked]


def with_matrix(server: RunningServer, rows: pl.DataFrame, at_us: int) -> list[float]:
    return invoke(server, {"instances": [list(one) for one in rows.rows()], "params": {"as_of": at_us}})


def with_json_tensors(server: RunningServer, rows: pl.DataFrame, at_us: int) -> list[float]:
    tensors = [
        {"name": name, "datatype": TENSORS[name], "shape": [len(rows)], "data": rows[name].to_list()}
        for name in rows.columns
    ]
    body = {"inputs": tensors, "parameters": {"as_of": at_us}}
    answer = httpx.post(f"{server.url}/v2/models/eta/infer", json=body, timeout=20)
    assert answer.status_code == 200, answer.text
    found: list[float] = answer.json()["outputs"][0]["data"]
    return found


def arrays_of(rows: pl.DataFrame) -> dict[str, Any]:
    return {
        name: np.array(rows[name].to_list(), object) if rows[name].dtype == pl.String else rows[name].to_numpy()
        for name in rows.columns
    }


def with_binary_tensors(server: RunningServer, rows: pl.DataFrame, at_us: int) -> list[float]:
    inputs = []
    for name, values in arrays_of(rows).items():
        tensor = triton_http.InferInput(name, list(values.shape), TENSORS[name])
        tensor.set_data_from_numpy(values)
        inputs.append(tensor)
    with closing(triton_http.InferenceServerClient(server.url.removeprefix("http://"))) as client:
        found: list[float] = (
            client.infer("eta", inputs, parameters={"as_of": at_us}).as_numpy("prediction").tolist()
        )
    return found


def with_raw_grpc(server: RunningServer, rows: pl.DataFrame, at_us: int) -> list[float]:
    with closing(triton_grpc.InferenceServerClient(server.grpc_address)) as client:
        answered = client.infer("eta", inputs_of(arrays_of(rows)), parameters={"as_of": at_us})
    found: list[float] = answered.as_numpy("prediction").tolist()
    return found


def with_typed_grpc(server: RunningServer, rows: pl.DataFrame, at_us: int) -> list[float]:
    request = typed_request("eta", arrays_of(rows))
    request.parameters["as_of"].int64_param = at_us
    with closing(triton_grpc.InferenceServerClient(server.grpc_address)) as client:
        return [*client._client_stub.ModelInfer(request).outputs[0].contents.fp64_contents]


DOORS = [
    with_records, with_split, with_columns, one_by_one, with_matrix,
    with_json_tensors, with_binary_tensors, with_raw_grpc, with_typed_grpc,
]  # fmt: skip


@pytest.mark.parametrize("ask", DOORS)
def test_an_answer_is_that_of_joining_and_predicting(
    ask: Ask, server: RunningServer, project: Project, at_us: int
) -> None:
    rows = ROWS.drop_nulls() if ask in DOORS[6:] else ROWS
    assert ask(server, rows, at_us) == project.expected(rows, at_us)


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_files_are_rows_too(form: str, server: RunningServer, project: Project) -> None:
    file = io.BytesIO()
    ROWS.write_csv(file) if form == "csv" else ROWS.write_parquet(file)
    kind = {"csv": "text/csv", "parquet": "application/vnd.apache.parquet"}[form]
    answer = httpx.post(
        f"{server.url}/invocations", content=file.getvalue(), headers={"content-type": kind}, timeout=20
    )
    found = [one["prediction"] for one in answer.json()["predictions"]]
    assert found[2:] == project.expected(ROWS, 0)[2:]


def test_a_feature_that_is_sent_is_not_looked_up(server: RunningServer, project: Project, at_us: int) -> None:
    given: dict[str, Any] = {"mean_1h": 7.25, "last_carrier": "AA", "n_1h": 3, "flights": 9, "elevation": -1.5}
    body = {"inputs": row(**given), "params": {"as_of": at_us}}
    joined = project.joined(pl.DataFrame([row()]), at_us)
    overridden = joined.with_columns(pl.lit(value).alias(name) for name, value in given.items())
    assert invoke(server, body) == project.predict(overridden)
    records = {"dataframe_records": [row(**given), row(mean_1h=None)], "params": {"as_of": at_us}}
    assert invoke(server, records) == project.predict(pl.concat([overridden, joined], how="vertical_relaxed"))


def test_a_feature_of_the_wrong_type_fails_its_request_alone(server: RunningServer) -> None:
    answer = httpx.post(f"{server.url}/invocations", json={"inputs": row(n_1h="many")}, timeout=20)
    assert (answer.status_code, "'n_1h'" in answer.text, "many" in answer.text) == (400, True, False)


REFUSED = [
    ({"inputs": {"origin": "JFK"}}, "flight"),
    ({"inputs": row(5)}, "text"),
    ({"inputs": row(flight=1.5)}, "whole numbers"),
    ({"inputs": row(miles="far")}, "'miles'"),
    ({"inputs": row(), "params": {"as_of": "noon"}}, "as_of is no time"),
    ({"inputs": row(), "params": {"as_of": -1}}, "as_of is no time"),
    ({"inputs": row(), "params": {"as_of": "2020-01-01T00:00:00Z"}}, "cannot answer as of that time"),
]


@pytest.mark.parametrize(("body", "message"), REFUSED)
def test_what_cannot_be_looked_up_is_the_callers_mistake(
    body: dict[str, Any], message: str, server: RunningServer
) -> None:
    answer = httpx.post(f"{server.url}/invocations", json=body, timeout=20)
    assert answer.status_code == 400
    assert message in answer.json()["message"]


def test_missing_keys_and_the_ages_of_features_are_counted(server: RunningServer) -> None:
    before = metrics_of(server)
    for origin in ("nowhere", "JFK", None):
        invoke(server, {"inputs": row(origin)})
    after = metrics_of(server)

    def more(*sample: str) -> float:
        return after.get(sample, 0) - before.get(sample, 0)

    assert [more("mlkit_missing_keys_total", "eta", source) for source in ("airports", "departures", "flown")] == [
        2, 2, 2,
    ]  # fmt: skip
    assert more("mlkit_feature_age_seconds_count", "eta", "departures") == 1
    assert more("mlkit_feature_age_seconds_bucket", "3600.0", "eta", "departures") == 1
    assert more("mlkit_feature_age_seconds_bucket", "1.0", "eta", "departures") == 0
    assert more("mlkit_request_seconds_count", "eta", "lookup") == 3


def test_metadata_and_the_description_say_what_a_request_has(server: RunningServer) -> None:
    metadata = httpx.get(f"{server.url}/v2/models/eta").json()
    assert [column["name"] for column in metadata["inputs"]] == [
        "origin",
        "flight",
        "miles",
        "distance",
        *FEATURES,
    ]
    assert metadata["parameters"]["optional_inputs"] == sorted(FEATURES)
    schemas = httpx.get(f"{server.url}/openapi.json").json()["components"]["schemas"]
    assert schemas["eta.Row"]["required"] == ["origin", "flight", "miles", "distance"]
    example = httpx.get(f"{server.url}/models").json()["models"][0]["example"]
    assert list(example) == ["origin", "flight", "miles", "distance"]
    assert len(invoke(server, {"inputs": example})) == 1


def test_the_page_of_a_model_answers_its_example_in_split_form(server: RunningServer) -> None:
    example = httpx.get(f"{server.url}/models").json()["models"][0]["example"]
    assert len(invoke(server, {"dataframe_split": {"columns": [*example], "data": [[*example.values()]]}})) == 1


def test_many_requests_at_once_share_round_trips_and_keep_their_rows(
    server: RunningServer, project: Project, at_us: int
) -> None:
    rows = pl.DataFrame([row(["JFK", "EWR", "LGA", "X"][n % 4], n % 5, miles=n * 1.5) for n in range(60)])
    import concurrent.futures

    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        found = [*pool.map(lambda one: one_by_one(server, one, at_us)[0], rows.iter_slices(1))]
    assert found == project.expected(rows, at_us)


def test_a_vector_is_the_readers(server: RunningServer, project: Project, store_uri: str, at_us: int) -> None:
    with closing(open_store(store_uri)) as store:
        vectors = FeatureReader(project.definition, store).read(
            {name: np.array([value], object) for name, value in row().items()}, np.array([at_us])
        )
    joined = project.joined(pl.DataFrame([row()]), at_us)
    assert {name: vectors.values[name].tolist()[0] for name in FEATURES} == joined.select(FEATURES).to_dicts()[0]


def test_a_table_that_was_made_after_the_time_asked_for_has_no_age(
    server: RunningServer, project: Project
) -> None:
    at_us = int(project.events(0, 2000)["at"].max()) + 1_000_001  # type: ignore[arg-type]
    before = metrics_of(server).get(("mlkit_feature_age_seconds_count", "eta", "airports"), 0)
    asked = {"inputs": row(), "params": {"as_of": at_us}}
    answer = httpx.post(
        f"{server.url}/invocations", json=asked, headers={"x-mlkit-feature-ages": "true"}, timeout=20
    )
    ages = dict(one.split("=") for one in answer.headers["x-mlkit-feature-ages"].split(","))
    assert (ages["airports"], float(ages["departures"]) > 0) == ("", True)
    assert metrics_of(server).get(("mlkit_feature_age_seconds_count", "eta", "airports"), 0) == before
