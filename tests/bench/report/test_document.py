import json
from pathlib import Path
from typing import Any

import pytest

from mlops_kit.bench.report.document import decode_result, encode_result, read_results
from mlops_kit.errors import UsageError
from tests.bench.results import measured, point, result

RESULT = result(
    measured("batch", "offline", 1.0, 2.0, 3.0, stored_bytes_per_row=12.5),
    measured("online-rest", "server", 5.0, points=(point(4, None),), stages_s={"model": 0.1}, errors={"reset": 2}),
)


def test_what_is_written_is_what_is_read() -> None:
    assert decode_result(encode_result(RESULT), "it") == RESULT


def test_a_field_of_a_later_version_does_no_harm() -> None:
    document = json.loads(encode_result(RESULT))
    document["weather"] = document["machine"]["weather"] = "fine"
    assert decode_result(json.dumps(document).encode(), "it") == RESULT


def changed(path: str, value: Any) -> bytes:
    document = json.loads(encode_result(RESULT))
    *parents, last = path.split(".")
    place = document
    for name in parents:
        place = place[int(name) if name.isdigit() else name]
    place[last] = value
    return json.dumps(document).encode()


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("schema", 2),
        ("schema", "1"),
        ("bundle", None),
        ("price_per_hour", "0.1"),
        ("price_per_hour", -1),
        ("machine.cores", 0),
        ("measurements.0.rate", 7),
        ("measurements.0.rate.samples", []),
        ("measurements.0.rate.low", 5),
        ("measurements.0.rate.high", 10**400),
        ("measurements.1.latency.counts", [1]),
        ("measurements.1.latency.edges_s", [0, 1, 2, 3, 4]),
        ("measurements.1.latency.percentiles.p50.value", -1),
        ("measurements.1.points.0.is_within_slo", 1),
    ],
)
def test_a_document_of_another_form_is_refused(path: str, value: Any) -> None:
    with pytest.raises(UsageError, match=r"it: (is no result|cannot be read)"):
        decode_result(changed(path, value), "it")


@pytest.mark.parametrize("data", [b"", b"[]", b"{", b'"\xff"', b"null", b'{"schema": 1}'])
def test_what_is_no_such_document_is_refused(data: bytes) -> None:
    with pytest.raises(UsageError, match="no result of a bench"):
        decode_result(data, "it")


def test_a_folder_has_the_results_of_all_its_files(tmp_path: Path) -> None:
    for name in ("2", "1"):
        (tmp_path / f"{name}.json").write_bytes(encode_result(RESULT))
    assert read_results(str(tmp_path)) == [RESULT, RESULT]


def test_a_folder_without_results_and_a_missing_file_are_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no \*.json"):
        read_results(str(tmp_path))
    with pytest.raises(UsageError, match="cannot be read"):
        read_results(str(tmp_path / "missing.json"))
