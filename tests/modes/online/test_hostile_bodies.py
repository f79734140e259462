"""Bodies that no honest client sends: each is refused in the protocol's form, and the server goes on."""

import gzip
import io
import json
import random
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mlops_kit
from mlops_kit.predictor import Predictor
from tests.modes.online.mixed import KINDS, SIGNATURE, mixed_rows, write_mixed_bundle
from tests.modes.online.server import serving

DATATYPES = {
    "string": "BYTES", "bool": "BOOL", "int64": "INT64", "uint8": "UINT8", "int32": "INT32", "float64": "FP64",
    "float32": "FP32", "float16": "FP16",
}  # fmt: skip
INFER, INVOKE = "/v2/models/mixed/infer", "/invocations"
HEAD = "inference-header-content-length"
PARQUET = "application/vnd.apache.parquet"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_mixed_bundle(tmp_path_factory.mktemp("bundles") / "mixed")


@pytest.fixture(scope="module")
def predictor(bundle: Path) -> Predictor:
    return mlops_kit.load(bundle)


@pytest.fixture(scope="module")
def client(bundle: Path) -> Iterator[httpx.Client]:
    with serving(bundle, "--max-body", "1MB") as server, server.client() as client:
        yield client
        code, said = server.stop()
        assert code == 0
        assert "ERROR" not in said


def parquet_of(rows: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    rows.write_parquet(buffer)
    return buffer.getvalue()


def as_json(document: Any) -> tuple[str, bytes]:
    return "application/json", json.dumps(document).encode()


def columns_of_json(rows: pl.DataFrame) -> dict[str, list[Any]]:
    return {name: rows[name].to_list() for name in rows.columns}


FORMS: dict[str, Callable[[pl.DataFrame], tuple[str, bytes]]] = {
    "split": lambda rows: as_json(
        {"dataframe_split": {"index": list(range(len(rows))), "columns": rows.columns, "data": [list(r) for r in rows.rows()]}}
    ),
    "records": lambda rows: as_json({"dataframe_records": rows.to_dicts()}),
    "instances": lambda rows: as_json({"instances": rows.to_dicts()}),
    "instances without names": lambda rows: as_json({"instances": [list(row) for row in rows.rows()]}),
    "inputs": lambda rows: as_json({"inputs": columns_of_json(rows)}),
    "Parquet": lambda rows: (PARQUET, parquet_of(rows)),
    "Parquet of pandas": lambda rows: (PARQUET, parquet_of(rows.cast({"image": pl.List(pl.List(pl.Float32))}))),
}  # fmt: skip


@pytest.mark.parametrize("count", [0, 1, 5])
@pytest.mark.parametrize("form", FORMS)
def test_every_form_takes_every_kind_of_column(
    client: httpx.Client, predictor: Predictor, form: str, count: int
) -> None:
    rows = mixed_rows(count)
    content_type, body = FORMS[form](rows)
    answer = client.post(INVOKE, content=body, headers={"content-type": content_type})
    assert answer.status_code == 200, answer.text
    expected = {name: values.tolist() for name, values in predictor.predict(rows).items()}
    assert answer.json()["predictions"] == [
        dict(zip(expected, row, strict=True)) for row in zip(*expected.values(), strict=True)
    ]


def oip_inputs(rows: pl.DataFrame) -> list[dict[str, Any]]:
    dtypes = {column.name: column.dtype for column in SIGNATURE.columns}
    return [
        {"name": name, "datatype": DATATYPES[dtypes[name]], "shape": [len(rows), *((2, 3) if name == "image" else ())], "data": values}
        for name, values in columns_of_json(rows).items()
    ]  # fmt: skip


@pytest.mark.parametrize("count", [0, 1, 5])
def test_null_is_a_missing_value_in_json_tensors(client: httpx.Client, predictor: Predictor, count: int) -> None:
    rows = mixed_rows(count)
    answer = client.post(INFER, json={"inputs": oip_inputs(rows)})
    assert answer.status_code == 200, answer.text
    expected = {name: values.ravel().tolist() for name, values in predictor.predict(rows).items()}
    assert {output["name"]: output["data"] for output in answer.json()["outputs"]} == expected


def assert_refused_or_answered(answer: httpx.Response, path: str) -> None:
    assert answer.status_code in (200, 400, 413, 415), answer.text
    if answer.status_code != 200:
        document = answer.json()
        assert set(document) == ({"error"} if path == INFER else {"error_code", "message"})


def post(client: httpx.Client, path: str, document: Any) -> httpx.Response:
    """NaN and Infinity are written as Python does."""
    headers = {"content-type": "application/json"}
    return client.post(path, content=json.dumps(document).encode(), headers=headers)


BIG = 2**60
ONE = oip_inputs(mixed_rows(1).with_columns(city=pl.lit("Köln"), price=pl.lit(1.0)))


def with_input(name: str, **changes: Any) -> dict[str, Any]:
    return {"inputs": [tensor | (changes if tensor["name"] == name else {}) for tensor in ONE]}


DEEP = b"[" * 1000 + b"]" * 1000
"""No deeper than JSON is read."""

REFUSED: dict[str, tuple[str, bytes]] = {
    "deep lists": (INFER, b'{"inputs":' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
    "a deep id": (INFER, b'{"id":' + DEEP + b',"inputs":' + json.dumps(ONE).encode() + b"}"),
    "a deep name of an output": (INFER, b'{"outputs":[{"name":' + DEEP + b'}],"inputs":' + json.dumps(ONE).encode() + b"}"),
    "a deep name of a column": (INVOKE, b'{"dataframe_split": {"columns": [' + DEEP + b'], "data": [[1]]}}'),
    "one value beside a list": (INVOKE, json.dumps({"inputs": columns_of_json(mixed_rows(2)) | {"count": 5}}).encode()),
    "one text beside lists": (INVOKE, json.dumps({"inputs": columns_of_json(mixed_rows(3)) | {"city": "Rom"}}).encode()),
    "one null beside a list of one": (
        INVOKE, json.dumps({"inputs": columns_of_json(mixed_rows(1)) | {"price": None}}).encode(),
    ),
    "deep lists with NaN": (INVOKE, b'{"inputs":[NaN,' + b"[" * 100_000 + b"]" * 100_000 + b"]}"),
    "deep objects": (INVOKE, b'{"inputs":' + b'{"a":' * 100_000 + b"1" + b"}" * 100_000 + b"}"),
    "deep data": (INFER, json.dumps(with_input("count", data=json.loads("[" * 900 + "]" * 900))).encode()),
    "a deep value": (INVOKE, json.dumps({"inputs": {"image": json.loads("[" * 900 + "]" * 900)}}).encode()),
    "wrong UTF-8": (INVOKE, b'{"inputs": {"city": "\xff"}}'),
    "UTF-16": (INVOKE, '{"inputs": NaN}'.encode("utf-16")),
    "half a surrogate pair": (INVOKE, b'{"inputs": {"city": "\\ud800", "price": NaN}}'),
    "half a pair in an id": (INFER, b'{"id": "\\udfff", "x": NaN, "inputs": ' + json.dumps(ONE).encode() + b"}"),
    "an integer of 10,000 digits": (INVOKE, b'{"inputs": NaN, "x": ' + b"9" * 10_000 + b"}"),
    "a shape of 2^60": (INFER, json.dumps(with_input("count", shape=[BIG])).encode()),
    "a shape of 2^60 nothings": (INFER, json.dumps(with_input("count", shape=[BIG, 0], data=[])).encode()),
    "a shape beyond all numbers": (INFER, json.dumps(with_input("count", shape=[2**63, 2**63, 0], data=[])).encode()),
    "too many dimensions": (INFER, json.dumps(with_input("count", shape=[1] * 100)).encode()),
    "a shape of truths": (INFER, json.dumps(with_input("count", shape=[True])).encode()),
    "an infinite integer": (INFER, json.dumps(with_input("count", data=[float("inf")])).encode()),
    "an integer of 2^64": (INFER, json.dumps(with_input("count", data=[2**64])).encode()),
    "null in integers": (INFER, json.dumps(with_input("count", data=[None])).encode()),
    "NaN where none may be missing": (INFER, json.dumps(with_input("width", data=[float("nan")])).encode()),
    "an object of an input": (INFER, json.dumps(with_input("count", data={"a": 1})).encode()),
    "an input twice": (INFER, json.dumps({"inputs": ONE + ONE[:1]}).encode()),
    "columns that are lists": (INVOKE, b'{"dataframe_split": {"columns": [["a"]], "data": [[1]]}}'),
    "a column twice": (INVOKE, b'{"dataframe_split": {"columns": ["a", "a"], "data": [[1, 2]]}}'),
    "lists in a column": (INVOKE, json.dumps({"inputs": {c.name: [[1], [2]] for c in SIGNATURE.columns}}).encode()),
    "ragged tensors": (
        INVOKE, json.dumps({"inputs": columns_of_json(mixed_rows(2)) | {"image": [[[1], [2, 3]], [[4]]]}}).encode(),
    ),
    "objects in a tensor": (INVOKE, json.dumps({"inputs": mixed_rows(1).to_dicts()[0] | {"image": {"a": 1}}}).encode()),
}  # fmt: skip


@pytest.mark.parametrize(("path", "body"), REFUSED.values(), ids=REFUSED)
def test_what_makes_no_sense_is_refused(client: httpx.Client, path: str, body: bytes) -> None:
    answer = client.post(path, content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 400, answer.text
    assert_refused_or_answered(answer, path)


@pytest.mark.parametrize("name", [HEAD, "x-timeout-ms"])
@pytest.mark.parametrize("value", ["-1", "9" * 5000, "0x10", "1e3", "٣", "1 2"])
def test_headers_that_are_no_numbers_are_refused(client: httpx.Client, name: str, value: str) -> None:
    headers = {name: value.encode(), "content-type": b"application/json"}
    assert client.post(INFER, content=json.dumps({"inputs": ONE}).encode(), headers=headers).status_code == 400


def binary_request(sizes: dict[str, Any], tail: bytes, **changes: Any) -> tuple[bytes, dict[str, str]]:
    """Every tensor in binary, of the sizes given."""
    described = [
        {key: value for key, value in tensor.items() if key != "data"}
        | {"parameters": {"binary_data_size": sizes[tensor["name"]]}} | changes.get(tensor["name"], {})
        for tensor in ONE
    ]  # fmt: skip
    head = json.dumps({"inputs": described}).encode()
    return head + tail, {HEAD: str(len(head))}


def binary_values() -> dict[str, bytes]:
    row = mixed_rows(1).with_columns(city=pl.lit("Köln"), price=pl.lit(1.0))
    values = {name: row[name].to_numpy().tobytes() for name in row.columns if name != "city"}
    return {"city": struct.pack("<I", 5) + "Köln".encode()} | values


SIZES = st.one_of(st.integers(-(2**70), 2**70), st.integers(-2, 40), st.none(), st.text(max_size=3), st.floats())


@settings(max_examples=150)
@given(
    st.dictionaries(st.sampled_from([c.name for c in SIGNATURE.columns]), SIZES, max_size=3), st.integers(-30, 30)
)
def test_sizes_that_do_not_fit_are_refused(client: httpx.Client, wrong: dict[str, Any], more: int) -> None:
    values = binary_values()
    sizes = {name: len(value) for name, value in values.items()}
    tail = b"".join(values.values())
    tail = tail + b"x" * more if more >= 0 else tail[:more]
    body, headers = binary_request(sizes | wrong, tail)
    answer = client.post(INFER, content=body, headers=headers)
    is_right = not more and all(sizes[name] == size and type(size) is int for name, size in wrong.items())
    assert answer.status_code == (200 if is_right else 400), answer.text


@settings(max_examples=100)
@given(st.binary(max_size=24), st.integers(0, 2**40))
def test_texts_of_any_bytes_are_taken_or_refused(client: httpx.Client, data: bytes, count: int) -> None:
    values = binary_values() | {"city": data}
    body, headers = binary_request(
        {name: len(value) for name, value in values.items()}, b"".join(values.values()), city={"shape": [count]}
    )
    assert_refused_or_answered(client.post(INFER, content=body, headers=headers), INFER)


@given(st.integers(-(2**70), 2**70))
def test_a_header_s_length_of_any_size_is_taken_or_refused(client: httpx.Client, length: int) -> None:
    body = json.dumps({"inputs": ONE}).encode()
    answer = client.post(INFER, content=body, headers={HEAD: str(length)})
    assert answer.status_code == (200 if length == len(body) else 400)


VALUES = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers(-(2**70), 2**70) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=200)
@given(st.sampled_from([*KINDS, "width", "days", "image"]), VALUES, VALUES, st.booleans())
def test_tensors_of_any_values_are_taken_or_refused(
    client: httpx.Client, name: str, data: Any, shape: Any, has_shape: bool
) -> None:
    document = with_input(name, data=data, **({"shape": shape} if has_shape else {}))
    assert_refused_or_answered(post(client, INFER, document), INFER)


@settings(max_examples=200)
@given(
    st.sampled_from(["dataframe_split", "dataframe_records", "instances", "inputs"]),
    st.dictionaries(st.sampled_from([column.name for column in SIGNATURE.columns]), VALUES, max_size=2),
    st.integers(0, 3),
)
def test_columns_of_any_values_are_taken_or_refused(
    client: httpx.Client, form: str, changes: dict[str, Any], count: int
) -> None:
    rows = mixed_rows(count)
    if form == "dataframe_split":
        document: Any = {
            "columns": rows.columns,
            "data": [list((row | changes).values()) for row in rows.to_dicts()],
        }
    elif form == "inputs":
        document = columns_of_json(rows) | changes
    else:
        document = [row | changes for row in rows.to_dicts()]
    assert_refused_or_answered(post(client, INVOKE, {form: document}), INVOKE)


@settings(max_examples=150)
@given(
    VALUES,
    st.sampled_from([INFER, INVOKE]),
    st.sampled_from(["inputs", "instances", "outputs", "parameters", "id"]),
)
def test_documents_of_any_shape_are_taken_or_refused(
    client: httpx.Client, value: Any, path: str, key: str
) -> None:
    assert_refused_or_answered(post(client, path, value), path)
    assert_refused_or_answered(post(client, path, {"inputs": ONE} | {key: value}), path)


@pytest.mark.parametrize("kind", ["Parquet", "records"])
def test_damaged_bodies_are_taken_or_refused(client: httpx.Client, kind: str) -> None:
    content_type, body = FORMS[kind](mixed_rows(20))
    random_ = random.Random(0)
    for _ in range(400):
        damaged = bytearray(body)
        for _ in range(random_.randint(1, 5)):
            damaged[random_.randrange(len(body))] = random_.randrange(256)
        cut = random_.choice([len(damaged), random_.randrange(len(damaged))])
        answer = client.post(INVOKE, content=bytes(damaged[:cut]), headers={"content-type": content_type})
        assert_refused_or_answered(answer, INVOKE)


def parquet_bomb(**columns: pa.Array) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns), buffer, compression="zstd")
    return buffer.getvalue()


BOMBS: dict[str, Callable[[], bytes]] = {
    "many numbers": lambda: parquet_bomb(count=pa.array(np.zeros(20_000_000, np.int64))),
    "long lists": lambda: parquet_bomb(image=pa.array([np.zeros(5_000_000, np.float32)] * 2)),
    "a text many times": lambda: parquet_bomb(
        city=pa.DictionaryArray.from_arrays(np.zeros(100_000, np.int32), ["x" * 100_000])
    ),
}


@pytest.mark.parametrize("make", BOMBS.values(), ids=BOMBS)
def test_parquet_that_is_larger_than_it_looks_is_too_large(
    client: httpx.Client, make: Callable[[], bytes]
) -> None:
    body = make()
    assert len(body) < 1_000_000
    assert client.post(INVOKE, content=body, headers={"content-type": PARQUET}).status_code == 413


@pytest.mark.parametrize("more", [b"x", gzip.compress(b"{}", mtime=0)], ids=["rubbish", "another one"])
def test_what_follows_a_compressed_body_is_refused(client: httpx.Client, more: bytes) -> None:
    headers = {"content-type": "application/json", "content-encoding": "gzip"}
    body = gzip.compress(json.dumps({"inputs": mixed_rows(1).to_dicts()[0]}).encode())
    assert client.post(INVOKE, content=body, headers=headers).status_code == 200
    assert client.post(INVOKE, content=body + more, headers=headers).status_code == 400


MANY_NAMES: dict[str, tuple[str, bytes]] = {
    "CSV": ("text/csv", b"," * 900_000),
    "JSON": (
        "application/json",
        json.dumps({"inputs": dict.fromkeys(map("cit{}".format, range(50_000)), 1)}).encode(),
    ),
}


@pytest.mark.parametrize(("content_type", "body"), MANY_NAMES.values(), ids=MANY_NAMES)
def test_many_wrong_names_are_refused_before_the_next_request_is_late(
    client: httpx.Client, content_type: str, body: bytes
) -> None:
    answer = client.post(INVOKE, content=body, headers={"content-type": content_type}, timeout=60)
    assert answer.status_code == 400
    assert answer.elapsed.total_seconds() < 20


READ_PARQUET = """
import io, sys
from mlops_kit.modes.online.protocols.parquet_body import parse_parquet
from tests.modes.online.mixed import SIGNATURE, mixed_rows
buffer = io.BytesIO()
mixed_rows(5).write_parquet(buffer)
assert parse_parquet(buffer.getvalue(), SIGNATURE.columns, 1000000)
assert "pandas" not in sys.modules
"""


def test_reading_parquet_does_not_import_pandas_in_the_middle_of_a_request() -> None:
    subprocess.run([sys.executable, "-c", READ_PARQUET], check=True)
