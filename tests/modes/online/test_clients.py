"""Clients as people have them, unmodified, against a real server: every answer is that of `predict`, bit for bit."""

import json
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
import tritonclient.http as triton
import tritonclient.http.aio as triton_aio
from mlflow.pyfunc.scoring_server.client import ScoringServerClient
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

import mlops_kit
from mlops_kit.predictor import Predictor
from tests.modes.online.mixed import SIGNATURE, mixed_rows, write_mixed_bundle
from tests.modes.online.server import RunningServer, serving

OUTPUTS = [output.name for output in SIGNATURE.outputs]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_mixed_bundle(tmp_path_factory.mktemp("bundles") / "mixed")


@pytest.fixture(scope="module")
def server(bundle: Path) -> Iterator[RunningServer]:
    with serving(bundle) as server:
        yield server


@pytest.fixture(scope="module")
def predictor(bundle: Path) -> Predictor:
    return mlops_kit.load(bundle)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def client(server: RunningServer) -> Iterator[triton.InferenceServerClient]:
    with triton.InferenceServerClient(server.url.removeprefix("http://")) as client:
        yield client


def whole_rows(count: int) -> pl.DataFrame:
    """A missing number is NaN; a missing text is none that the protocol has."""
    return mixed_rows(count).with_columns(
        city=pl.col("city").fill_null("Köln"), price=pl.col("price").fill_null(np.nan)
    )


def triton_inputs(rows: pl.DataFrame, *, is_binary: bool) -> list[triton.InferInput]:
    inputs = []
    for name in rows.columns:
        values = rows[name].to_numpy()
        tensor = triton.InferInput(name, list(values.shape), np_to_triton_dtype(values.dtype))
        # The client has no JSON form of FP16.
        tensor.set_data_from_numpy(values, binary_data=is_binary or values.dtype == np.float16)
        inputs.append(tensor)
    return inputs


def triton_outputs(names: Sequence[str], *, is_binary: bool) -> list[triton.InferRequestedOutput]:
    return [triton.InferRequestedOutput(name, binary_data=is_binary or name == "small") for name in names]


def assert_same(predictor: Predictor, rows: pl.DataFrame, result: triton.InferResult) -> None:
    """Texts come as bytes."""
    for name, values in predictor.predict(rows).items():
        found = result.as_numpy(name)
        assert found.shape == values.shape
        if values.dtype == object:
            assert [text.decode() if isinstance(text, bytes) else text for text in found] == values.tolist()
        else:
            assert (found.dtype, found.tobytes()) == (values.dtype, values.tobytes()), name


@pytest.mark.parametrize("count", [1, 3, 500])
@pytest.mark.parametrize("coding", [None, "gzip", "deflate"])
@pytest.mark.parametrize("is_binary", [True, False], ids=["binary", "JSON"])
def test_triton_s_client_gets_what_predict_gives(
    client: triton.InferenceServerClient,
    predictor: Predictor,
    is_binary: bool,
    coding: str | None,
    count: int,
) -> None:
    rows = whole_rows(count)
    result = client.infer(
        "mixed",
        triton_inputs(rows, is_binary=is_binary),
        request_id="seven",
        outputs=triton_outputs(OUTPUTS, is_binary=is_binary),
        request_compression_algorithm=coding,
        response_compression_algorithm=coding,
    )
    assert_same(predictor, rows, result)
    assert result.get_response()["id"] == "seven"


def test_triton_s_client_gets_all_outputs_or_the_chosen_ones(
    client: triton.InferenceServerClient, predictor: Predictor
) -> None:
    rows = whole_rows(2)
    assert_same(predictor, rows, client.infer("mixed", triton_inputs(rows, is_binary=True)))
    chosen = client.infer(
        "mixed", triton_inputs(rows, is_binary=True), outputs=triton_outputs(["total", "label"], is_binary=False)
    )
    assert [output["name"] for output in chosen.get_response()["outputs"]] == ["total", "label"]


@pytest.mark.anyio
async def test_triton_s_asynchronous_client_gets_what_predict_gives(
    server: RunningServer, predictor: Predictor
) -> None:
    rows = whole_rows(500)
    async with triton_aio.InferenceServerClient(server.url.removeprefix("http://")) as client:
        assert await client.is_server_ready()
        for coding in (None, "gzip", "deflate"):
            result = await client.infer(
                "mixed",
                triton_inputs(rows, is_binary=True),
                request_compression_algorithm=coding,
                response_compression_algorithm=coding,
            )
            assert_same(predictor, rows, result)


def test_triton_s_client_learns_what_is_served(client: triton.InferenceServerClient) -> None:
    metadata = client.get_model_metadata("mixed")
    version = metadata["versions"][0]
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("mixed")
    assert client.is_model_ready("mixed", version)
    assert not client.is_model_ready("other")
    assert client.get_server_metadata()["name"] == "mlkit"
    assert [(tensor["name"], tensor["datatype"]) for tensor in metadata["inputs"]][:2] == [
        ("city", "BYTES"), ("is_new", "BOOL"),
    ]  # fmt: skip
    assert metadata["inputs"][-1]["shape"] == [-1, 2, 3]


def test_triton_s_client_is_told_why_not(client: triton.InferenceServerClient) -> None:
    inputs = triton_inputs(whole_rows(2), is_binary=True)
    with pytest.raises(InferenceServerException, match="missing column: 'image'"):
        client.infer("mixed", inputs[:-1])
    with pytest.raises(InferenceServerException, match="no output 'other'"):
        client.infer("mixed", inputs, outputs=[triton.InferRequestedOutput("other")])
    with pytest.raises(InferenceServerException, match="no model 'other'"):
        client.infer("other", inputs)
    with pytest.raises(InferenceServerException, match="deadline"):
        client.infer("mixed", inputs, timeout=1)


def frame_of(rows: pl.DataFrame) -> pd.DataFrame:
    return pd.DataFrame({name: pd.Series(rows[name].to_list(), dtype=object) for name in rows.columns})


def assert_same_predictions(predictor: Predictor, rows: pl.DataFrame, answer: str | bytes) -> None:
    answers = {name: values.tolist() for name, values in predictor.predict(rows).items()}
    expected = [dict(zip(answers, values, strict=True)) for values in zip(*answers.values(), strict=True)]
    assert json.loads(answer)["predictions"] == expected


@pytest.mark.parametrize("count", [1, 4])
def test_mlflow_s_client_gets_what_predict_gives(server: RunningServer, predictor: Predictor, count: int) -> None:
    """It writes NaN for a missing number, which is no JSON; `params` are ignored, as MLflow ignores them."""
    rows = mixed_rows(count).with_columns(price=pl.Series([np.nan] * count))
    client = ScoringServerClient(*server.address)
    client.wait_server_ready()
    assert client.get_version() == mlops_kit.__version__
    answer = client.invoke(frame_of(rows), params={"temperature": 1})
    assert_same_predictions(predictor, rows, answer.to_json())


def curl(server: RunningServer, path: str, *words: str, body: bytes = b"") -> tuple[int, bytes]:
    command = ["curl", "-sS", "--max-time", "20", "-w", "%{stderr}%{http_code}", *words, server.url + path]
    done = subprocess.run(command, input=body, capture_output=True, check=True)
    return int(done.stderr), done.stdout


JSON = ("-H", "content-type: application/json", "--data-binary", "@-")
CURLS: dict[str, tuple[str, ...]] = {
    "plain": JSON,
    "compressed": ("--compressed", *JSON),
    "in chunks": ("-H", "transfer-encoding: chunked", *JSON),
    "asking first": ("-H", "expect: 100-continue", "--expect100-timeout", "20", *JSON),
    "HTTP/1.0": ("--http1.0", *JSON),
    "offering HTTP/2": ("--http2", *JSON),
}


@pytest.mark.parametrize("words", CURLS.values(), ids=CURLS)
def test_curl_gets_what_predict_gives(server: RunningServer, predictor: Predictor, words: tuple[str, ...]) -> None:
    rows = mixed_rows(200)
    status, answer = curl(
        server, "/invocations", *words, body=json.dumps({"dataframe_records": rows.to_dicts()}).encode()
    )
    assert status == 200
    assert_same_predictions(predictor, rows, answer)


def test_large_answers_are_compressed_for_who_asks_and_small_ones_are_not(server: RunningServer) -> None:
    sizes = {}
    for count in (1, 200):
        body = json.dumps({"dataframe_records": mixed_rows(count).to_dicts()}).encode()
        for asked in ("identity", "br, gzip;q=0.5", "gzip;q=0"):
            words = ("-H", f"accept-encoding: {asked}", *JSON)
            sizes[count, asked] = len(curl(server, "/invocations", *words, body=body)[1])
    assert sizes[200, "br, gzip;q=0.5"] < sizes[200, "identity"] / 2
    assert sizes[200, "gzip;q=0"] == sizes[200, "identity"]
    assert sizes[1, "identity"] == sizes[1, "br, gzip;q=0.5"]
